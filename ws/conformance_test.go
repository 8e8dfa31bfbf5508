package ws_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"aerys/ws"
	"aerys/ws/frame"
)

// RFC 6455 as a table: what a client sends, and what a server that echoes has
// to answer. Each row runs on every engine, sent whole, behind the handshake
// in one write, and in pieces that the server reads one by one.

// row is one case. Its section is where RFC 6455 wants it so; a server that
// closes has to cite it as its reason.
type row struct {
	section string
	name    string
	send    []byte
	want    []answer // the messages in this order, the last pong, and nothing else
	code    ws.Code  // that the connection ends with; 0 if it goes on
	blames  bool     // it ends since the client broke a rule, not by its close frame
	reason  string   // of the client's close frame
	fields  []string // more of the handshake
}

// answer is a frame that the server sends.
type answer struct {
	opcode  frame.Opcode
	payload string
}

func gotText(s string) answer   { return answer{frame.Text, s} }
func gotBinary(s string) answer { return answer{frame.Binary, s} }
func gotPong(s string) answer   { return answer{frame.Pong, s} }

// answers is a row after which the connection goes on.
func answers(section, name string, send []byte, want ...answer) row {
	return row{section: section, name: name, send: send, want: want}
}

// fails is a row in which the client breaks a rule.
func fails(section, name string, code ws.Code, send []byte, want ...answer) row {
	return row{section: section, name: name, send: send, want: want, code: code, blames: true}
}

// closes is a row in which the client closes, with this code and reason.
func closes(section, name string, code ws.Code, reason string, send []byte, want ...answer) row {
	return row{section: section, name: name, send: send, want: want, code: code, reason: reason}
}

// The ways in which a row is sent: in pieces of so many bytes, or one of these.
const (
	whole           = 0
	behindHandshake = -1
)

// ways returns in which ways a row is sent. Long ones are cut less finely.
func (r *row) ways() []int {
	switch n := len(r.send); {
	case n <= 400:
		return []int{whole, behindHandshake, 1}
	case n <= 1<<20:
		return []int{whole, behindHandshake, 997 * (1 + n/100_000)}
	}
	return []int{whole}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	var rows []row
	for _, table := range [][]row{
		lengthRows(), headerRows(), maskRows(), opcodeRows(), controlRows(), fragmentRows(),
		textRows(), invalidTextRows(), closeRows(), batchRows(), sizeRows(),
	} {
		rows = append(rows, table...)
	}
	names := make(map[string]bool)
	for _, r := range rows {
		if names[r.title(whole)] {
			t.Errorf("two rows are called %q", r.title(whole))
		}
		names[r.title(whole)] = true
	}
	engines(t, func(t *testing.T, at setting) {
		t.Parallel()
		options := unlimited
		options.MaxFrameSize, options.MaxMessageSize = largestMessage, largestMessage
		s := serve(t, at, &recorder{}, options)
		beside(8, rows, func(r row) {
			for _, pieces := range r.ways() {
				t.Run(r.title(pieces), func(t *testing.T) { r.run(t, s, pieces) })
			}
		})
	})
}

// beside calls do for each row, n at a time: they mostly wait.
func beside(n int, rows []row, do func(row)) {
	queue := make(chan row)
	var all sync.WaitGroup
	for range n {
		all.Add(1)
		go func() {
			defer all.Done()
			for r := range queue {
				do(r)
			}
		}()
	}
	for _, r := range rows {
		queue <- r
	}
	close(queue)
	all.Wait()
}

// title names the row in one way of sending.
func (r *row) title(pieces int) string {
	title := r.section + " " + r.name
	switch pieces {
	case whole:
		return title
	case behindHandshake:
		return title + ", behind the handshake"
	}
	return fmt.Sprintf("%s, in pieces of %d", title, pieces)
}

func (r *row) run(t *testing.T, s *server, pieces int) {
	p, sent := r.begin(t, s, pieces)
	defer p.nc.Close()
	r.finish(p, sent)
}

// finish reads what begin has brought about.
func (r *row) finish(p *peer, sent func()) {
	p.t.Helper()
	var data, pongs []answer
	for _, want := range r.want {
		if want.opcode == frame.Pong {
			pongs = append(pongs, want)
		} else {
			data = append(data, want)
		}
	}
	for seen := 0; len(data) > 0 || seen < len(pongs); {
		got, err := p.read()
		switch at := r.awaited(pongs, got); {
		case err != nil:
			p.t.Fatalf("%v, and %d messages and %d pongs have not come", err, len(data), len(pongs)-seen)
		case at >= 0:
			seen = max(seen, at+1)
		case len(data) == 0 || got.Opcode != data[0].opcode || got.payload != data[0].payload || !got.Fin || got.Rsv != 0:
			p.t.Fatalf("got %s, and wait for %d messages and %d pongs", brief(got.Opcode, got.payload), len(data), len(pongs)-seen)
		default:
			data = data[1:]
		}
	}
	sent()
	r.end(p)
}

// awaited returns which of the pongs has come, or -1. On a machine that stands still
// pongs overtake messages and each other, and the latest one answers for those
// before it (RFC 6455 §5.5.3).
func (r *row) awaited(pongs []answer, got received) int {
	if got.Opcode != frame.Pong {
		return -1
	}
	return slices.IndexFunc(pongs, func(a answer) bool { return a.payload == got.payload })
}

// begin opens a connection and sends the row. Whatever is sent at once is sent
// beside the test, which is to read the answers and then to wait with sent.
func (r *row) begin(t *testing.T, s *server, pieces int) (p *peer, sent func()) {
	p = s.connect(t)
	wires := [][]byte{[]byte(p.handshake(r.fields...)), r.send}
	switch {
	case pieces == behindHandshake:
		wires = [][]byte{join(wires...)}
	case pieces > 0:
		wires = wires[:1]
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, wire := range wires {
			p.nc.Write(wire)
		}
	}()
	p.expectSwitch()
	if pieces > 0 {
		p.trickle(r.send, pieces)
	}
	return p, func() { <-done }
}

// end sees how the connection ends, and that the handler was told.
func (r *row) end(p *peer) {
	p.t.Helper()
	if r.code == 0 {
		p.leave()
		p.expectHistory(r.messages(), ws.CodeNormal, "bye")
		return
	}
	reason := p.expectClose(r.code)
	p.expectEOF()
	p.nc.Close()
	switch {
	case !r.blames:
		reason = r.reason
	case !strings.Contains(reason, r.section):
		p.t.Errorf("the reason %q does not cite %s", reason, r.section)
	}
	p.expectHistory(r.messages(), r.code, reason)
}

// messages counts those that the handler gets.
func (r *row) messages() (n int) {
	for _, a := range r.want {
		if !a.opcode.Control() {
			n++
		}
	}
	return n
}

// expectHistory waits for OnClose and checks all calls that led to it.
func (p *peer) expectHistory(messages int, code ws.Code, reason string) {
	p.t.Helper()
	p.awaitOnClose()
	want := []string{"OnOpen"}
	for range messages {
		want = append(want, "OnData")
	}
	p.expectCalls(append(want, strings.TrimSpace(fmt.Sprintf("OnClose %d %s", code, reason)))...)
	if n := len(p.visit.calls); n > 0 {
		p.t.Errorf("%d calls too many, first %q", n, <-p.visit.calls)
	}
}
