//go:build unix || js || wasip1

package static

import (
	"io/fs"
	"syscall"
)

// inode returns the file's number, or 0 where there is none: in an fs.FS that
// is not the system's.
func inode(info fs.FileInfo) uint64 {
	if status, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(status.Ino)
	}
	return 0
}
