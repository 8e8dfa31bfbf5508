package http1

import (
	"net"
	"net/netip"
	"testing"

	"aerys/internal/loop"
)

// direct is a Transport over a scripted connection, which has all that is to come.
type direct struct{ *scripted }

func (*direct) RemoteAddr() netip.AddrPort  { return netip.MustParseAddrPort("127.0.0.1:1") }
func (*direct) Wait() error                 { return nil }
func (*direct) PeerEnded() bool             { return false }
func (*direct) Soon()                       {}
func (d *direct) Interrupt()                { d.Close() }
func (d *direct) Hijack() (net.Conn, error) { return d.scripted, nil }

func (d *direct) TryRead(p []byte) (int, error) { return d.scripted.Read(p) }

func (d *direct) SendFile(head []byte, p *loop.FilePart, _ func()) (int64, error) {
	if _, err := d.Write(head); err != nil {
		return 0, err
	}
	return p.CopyTo(d.Write)
}

// stepping has nothing to read after each piece, as a loop's connection has.
type stepping struct {
	direct
	read bool
}

func (s *stepping) TryRead(p []byte) (int, error) {
	if s.read = !s.read; !s.read {
		return 0, loop.ErrAgain
	}
	return s.scripted.Read(p)
}

// inSteps serves the pieces as an event loop does.
func (o *oracle) inSteps(pieces [][]byte) account {
	s := newScripted(pieces)
	o.serve(&stepping{direct: direct{s}})
	return accountOf(s)
}

// sameInSteps fails if it matters to us how the bytes come.
func (o *oracle) sameInSteps(t *testing.T, pieces [][]byte, ours account) bool {
	t.Helper()
	d := differenceInTime(o.inSteps(pieces), ours)
	if d != "" {
		t.Errorf("in steps, %q\n%s", pieces, d)
	}
	return d == ""
}

// differenceInTime is the first one between two accounts of ours, of which one
// was given the bytes later. It may matter where it is known earlier or later that
// the rest of a body is malformed, and where the rest is not there when the
// response begins: the connection ends then, and who is refused by it has not
// seen the trailers.
func differenceInTime(late, ours account) string {
	d := difference(late, ours)
	if d == "" || sameButClose(late.tail(0), ours.tail(0)) && len(late.handled) == len(ours.handled) {
		return ""
	}
	if c := (&comparison{theirs: late, ours: ours}); c.closed() || c.did("[47]") {
		return ""
	}
	if c := (&comparison{theirs: ours, ours: late}); c.closed() || c.did("[47]") && c.sameBut(1) {
		return ""
	}
	return d
}
