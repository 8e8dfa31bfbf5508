//go:build unix && !aix && !solaris

package listen

import "syscall"

// joinGroup enters the process group of another process of the session.
func joinGroup(pid int) {
	if group, err := syscall.Getpgid(pid); err == nil {
		syscall.Setpgid(0, group)
	}
}
