//go:build !linux

package aerys

import (
	"io"
	"os"
)

type transmission struct{}

// sendFile sends head and what is left of a section of file.
func (*transmission) sendFile(c *connection, head []byte, section *io.SectionReader, _ *os.File) (int64, error) {
	if _, err := c.Conn.Write(head); err != nil {
		return 0, err
	}
	return io.Copy(c.Conn, section)
}
