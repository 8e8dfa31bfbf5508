package outlet

import (
	"net/http"
	"testing"
	"time"
)

// deadlines notes what a net/http stream is told.
type deadlines struct {
	http.ResponseWriter
	set []time.Time
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.set = append(d.set, t)
	return nil
}

// TestPace holds what deadline a stream of HTTP/2 has: one or two whiles from
// now while more is written than net/http keeps, and none otherwise.
func TestPace(t *testing.T) {
	const while = time.Hour
	for _, test := range []struct {
		name string
		do   func(p *pace, w http.ResponseWriter)
		set  int // deadlines; the last one
		ends bool
	}{
		{"little", func(p *pace, w http.ResponseWriter) { p.begin(w, 100); p.rest(w) }, 0, false},
		{"more than is kept", func(p *pace, w http.ResponseWriter) { p.begin(w, streamBuffer+1) }, 1, true},
		{"little again and again", func(p *pace, w http.ResponseWriter) {
			for range 100 {
				p.begin(w, 100)
			}
		}, 1, true},
		{"what has left", func(p *pace, w http.ResponseWriter) { p.begin(w, pieceSize); p.rest(w) }, 2, false},
		{"in the middle of something", func(p *pace, w http.ResponseWriter) {
			p.depth++
			p.begin(w, pieceSize)
			p.rest(w)
		}, 1, true},
		{"when half of the time is over", func(p *pace, w http.ResponseWriter) {
			p.begin(w, pieceSize)
			p.until -= while + 1 // as if it were
			p.begin(w, pieceSize)
		}, 2, true},
		{"where a handler decides itself", func(p *pace, w http.ResponseWriter) {
			p.while = 0
			p.begin(w, pieceSize)
			p.rest(w)
		}, 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, p := new(deadlines), &pace{while: while}
			before := time.Now()
			test.do(p, d)
			if len(d.set) != test.set {
				t.Fatalf("set to %v", d.set)
			}
			if test.set == 0 {
				return
			}
			last := d.set[test.set-1]
			if ahead := last.Sub(before); last.IsZero() == test.ends || test.ends && (ahead < while || ahead > 3*while) {
				t.Errorf("the last is %v, now is %v", last, before)
			}
		})
	}
}
