//go:build unix

package aerys

import (
	"fmt"
	"math"
	"os/user"
	"strconv"
	"syscall"
)

// openFilesLimit is the default of MaxConnections: what the limit of open
// files allows, less a tenth, at least 64, for files and connections elsewhere.
func openFilesLimit() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1000
	}
	files := int(min(uint64(limit.Cur), math.MaxInt32))
	return max(1, files-min(max(64, files/10), 512))
}

// changeUser gives the process's privileges up for those of a user.
func changeUser(name string) error {
	if name == "" {
		return nil
	}
	uid, gid, groups, err := lookUpUser(name)
	if err != nil {
		return fmt.Errorf("aerys: Options.User: %w", err)
	}
	if uid == syscall.Getuid() {
		return nil
	}
	if err = syscall.Setgroups(groups); err == nil {
		if err = syscall.Setgid(gid); err == nil {
			err = syscall.Setuid(uid)
		}
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
