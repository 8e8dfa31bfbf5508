//go:build unix

package listen

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// OpenFiles is how many files the process may have open.
func OpenFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	return int(min(uint64(limit.Cur), math.MaxInt32))
}

// nobodyListens reports whether nobody listens where err comes from.
func nobodyListens(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// IsSetID reports whether somebody else than the process's user started it, by
// a set-user-id or set-group-id program, and chose its arguments, environment
// and descriptors.
func IsSetID() bool {
	return syscall.Getuid() != syscall.Geteuid() || syscall.Getgid() != syscall.Getegid()
}

// ChangeUser gives the process's privileges up for those of a user, for good,
// and the files to that user.
func ChangeUser(name string, files []string) error {
	if name == "" {
		return nil
	}
	uid, gid, groups, err := lookUpUser(name)
	if err != nil {
		return fmt.Errorf("aerys: Options.User: %w", err)
	}
	if syscall.Getuid() == uid && syscall.Geteuid() == uid { // as after a hand-over
		gid = syscall.Getgid()
	} else {
		for _, file := range files {
			if err := os.Lchown(file, uid, gid); err != nil {
				return fmt.Errorf("aerys: Options.User: cannot give the Unix socket to %s: %w", name, err)
			}
		}
		err = syscall.Setgroups(groups)
	}
	// Other than Setgid and Setuid these never leave an id that could be taken
	// back, as a set-user-id program has it.
	if err == nil {
		err = syscall.Setregid(gid, gid)
	}
	if err == nil {
		err = syscall.Setreuid(uid, uid)
	}
	if err != nil {
		return fmt.Errorf("aerys: Options.User: cannot become %s, start as root or as that user: %w", name, err)
	}
	return nil
}

// lookUpUser returns the numbers of a user and its groups.
func lookUpUser(name string) (uid, gid int, groups []int, err error) {
	account, err := user.Lookup(name)
	if err != nil {
		return 0, 0, nil, err
	}
	ids, err := account.GroupIds()
	if err != nil {
		return 0, 0, nil, err
	}
	for _, id := range append(ids, account.Gid, account.Uid) {
		n, err := strconv.Atoi(id)
		if err != nil {
			return 0, 0, nil, err
		}
		groups = append(groups, n)
	}
	last := len(groups) - 1
	return groups[last], groups[last-1], groups[:last], nil
}
