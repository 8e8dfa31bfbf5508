//go:build aix || solaris

package listen

// joinGroup does nothing: package syscall cannot ask for groups here.
func joinGroup(int) {}
