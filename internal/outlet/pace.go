package outlet

import (
	"net/http"
	"time"
)

const (
	// pieceSize is how much of a response over HTTP/2 a client has to take in
	// time, at once.
	pieceSize = 64 << 10
	// streamBuffer is how much net/http keeps of what is written to a stream.
	streamBuffer = 4 << 10
)

// pace has net/http end a stream of HTTP/2 whose client takes nothing for a
// while: its window may be closed though it answers pings. The deadline is
// there only for what is being written, for the next piece may be long in coming.
type pace struct {
	while   time.Duration // 0 where a handler decides itself, and over HTTP/1
	until   time.Duration // the deadline, since epoch; 0 is none
	pending int           // bytes that net/http may still have to write
	depth   int           // of what is being gathered
}

// epoch is what deadlines are measured from: time.Since needs only the monotonic
// clock, time.Now reads two.
var epoch = time.Now()

// begin readies the stream for a write.
func (p *pace) begin(w http.ResponseWriter, size int) {
	p.pending = min(p.pending+size, streamBuffer+1)
	if p.pending > streamBuffer {
		p.expect(w)
	}
}

// expect sets the deadline to twice the while, if less than half of it is left.
func (p *pace) expect(w http.ResponseWriter) {
	now := time.Since(epoch)
	if p.while > 0 && p.until-now < p.while {
		p.until = now + 2*p.while
		http.NewResponseController(w).SetWriteDeadline(epoch.Add(p.until))
	}
}

// rest takes the deadline away, if nothing follows at once.
func (p *pace) rest(w http.ResponseWriter) {
	if p.while > 0 && p.until > 0 && p.depth <= 0 {
		p.until = 0
		http.NewResponseController(w).SetWriteDeadline(time.Time{})
	}
}
