package ws

import (
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"aerys"
	"aerys/internal/loop"
	"aerys/ws/internal/deflate"
)

// pipe is a connection without a socket: it reads what a test gives it, and keeps
// what is written.
type pipe struct {
	conn
	pieces  [][]byte // what reads bring
	stays   bool     // nothing more comes, but not the end
	awaited int      // how many bytes
	written []byte
	writes  int                // how many there were
	apart   int                // of them, headers that came apart from their payload
	takes   int                // bytes, at most, the next of them, if not 0
	mute    bool               // what is written is not kept
	holds   int                // what Held returns
	shut    bool               // nothing more may be written
	resumed atomic.Int32       // how often
	watch   func(*reader, int) // called after each read

	made  sync.Once
	clock *loop.Loop // which carries nothing
}

// Loop implements transport: what it is for is the time.
func (p *pipe) Loop() *loop.Loop {
	p.made.Do(func() { p.clock = loop.New(slog.New(slog.DiscardHandler)) })
	return p.clock
}

// seconds lets some pass.
func (p *pipe) seconds(n int) {
	for range n {
		p.tick(1)
	}
}

// tick lets seconds pass of which only the last is told.
func (p *pipe) tick(seconds int) {
	p.Loop().Sweep(seconds)
	p.Tick(nil, p.Loop().Now())
}

func (p *pipe) TryRead(b []byte) (int, error) {
	if len(p.pieces) == 0 {
		if p.stays {
			return 0, loop.ErrAgain
		}
		return 0, io.EOF
	}
	n := copy(b, p.pieces[0])
	if p.pieces[0] = p.pieces[0][n:]; len(p.pieces[0]) == 0 {
		p.pieces = p.pieces[1:]
	}
	return n, nil
}

func (p *pipe) TryWrite(b []byte) (int, error) {
	if p.takes > 0 {
		b, p.takes = b[:min(len(b), p.takes)], 0
	}
	switch {
	case p.shut:
		return 0, io.ErrClosedPipe
	case !p.mute:
		p.written = append(p.written, b...)
	}
	p.writes++
	return len(b), nil
}

func (p *pipe) TryWriteParts(header, payload []byte) (int, error) {
	p.apart++
	return p.TryWrite(append(header[:len(header):len(header)], payload...))
}

func (p *pipe) CloseWrite() error   { p.shut = true; return nil }
func (p *pipe) Interrupt()          { p.shut = true }
func (p *pipe) Resume()             { p.resumed.Add(1) }
func (p *pipe) Await(least int)     { p.awaited = least }
func (p *pipe) Hurry()              { p.awaited = 1 }
func (p *pipe) Held() int           { return p.holds }
func (p *pipe) Queued() bool        { return false }
func (p *pipe) MayRead() bool       { return false }
func (p *pipe) HungUp() bool        { return false }
func (p *pipe) Wait() error         { return io.EOF }
func (p *pipe) AfterRound(f func()) { f() }

func (p *pipe) TryReadAhead([]byte) (int, error) { return 0, loop.ErrAgain }

func (p *pipe) Soon() {}

// openPipe makes a pipe a client of e, whose handshake is over.
func openPipe(e *Endpoint, p *pipe, terms deflate.Terms) *pipe {
	p.transport, p.endpoint = p, e
	e.opened(&p.conn, &arrival{agreement: agreement{deflate: terms}})
	p.written, p.writes = nil, 0
	return p
}

// run is what an engine does: it reads until nothing comes.
func (p *pipe) run() {
	for err := error(nil); err == nil; {
		r := p.takeReader()
		r.begin(&p.conn)
		if err = ignorePause(r.catchUp()); err == nil && !r.mustPause() {
			space := r.space()
			var n int
			if n, err = p.TryRead(space); err == nil {
				err = ignorePause(r.received(space[:n]))
			}
			if p.watch != nil {
				p.watch(r, n)
			}
		}
		paused := r.mustPause()
		r.finish()
		if paused {
			p.mu.Lock()
			p.pause()
			p.mu.Unlock()
			p.seconds(1)
		}
	}
	p.end()
}

// functions are a Handler.
type functions struct {
	onData  func(ClientID, *Message)
	onClose func(ClientID, Code, string)
}

func (f *functions) OnStart(*Endpoint) error                                     { return nil }
func (f *functions) OnHandshake(*aerys.Request, *aerys.Response) (none struct{}) { return }
func (f *functions) OnOpen(ClientID, struct{})                                   {}
func (f *functions) OnData(id ClientID, m *Message)                              { f.onData(id, m) }
func (f *functions) OnClose(id ClientID, code Code, reason string)               { f.onClose(id, code, reason) }
func (f *functions) OnStop()                                                     {}

// newEndpoint returns an endpoint that no server knows of.
func newEndpoint(f *functions, options Options) *Endpoint {
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	return Websocket(f, options).Endpoint()
}

// endTurn is the end of a turn that a test has pretended to begin.
func (e *Endpoint) endTurn() {
	p := new(pipe)
	p.transport = p
	e.rest(&p.conn)
}
