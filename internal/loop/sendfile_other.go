//go:build !linux

package loop

// MaxPipes is how many descriptors pairs for files a loop uses at most: none here.
func MaxPipes(files int) int { return 0 }

// pipes are nothing here.
type pipes struct{}

// SendFile sends head and a part of a file. The file may be closed meanwhile;
// what was not sent yet is an error then. progress is called whenever the peer
// took some.
func (c *Conn) SendFile(head []byte, p *FilePart, progress func()) (n int64, err error) {
	start := p.Offset
	err = c.copyFile(head, p, progress)
	return p.Offset - start, err
}
