//go:build !linux

package aerys

import (
	"io"
	"os"
)

type transmission struct{}

// sendFile sends head and the next length bytes of a section.
func (*transmission) sendFile(c *connection, head []byte, section *io.SectionReader, _ *os.File, length int64) (int64, error) {
	if _, err := c.write(head); err != nil {
		return 0, err
	}
	return c.copy(&io.LimitedReader{R: section, N: length})
}
