package ws

import (
	"io"
	"log/slog"

	"aerys"
)

// pipe is a connection without a socket: it reads what a test gives it, and keeps
// what is written.
type pipe struct {
	conn
	pieces  [][]byte // what reads bring
	written []byte
	writes  int              // how many there were
	apart   int              // of them, headers that came apart from their payload
	takes   int              // bytes, at most, the next of them, if not 0
	mute    bool             // what is written is not kept
	shut    bool             // nothing more may be written
	watch   func(*turn, int) // called after each read
}

func (p *pipe) read(b []byte, _ int) (int, error) {
	if len(p.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.pieces[0])
	if p.pieces[0] = p.pieces[0][n:]; len(p.pieces[0]) == 0 {
		p.pieces = p.pieces[1:]
	}
	return n, nil
}

func (p *pipe) tryWrite(b []byte) (int, error) {
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

func (p *pipe) tryWriteFrame(header, payload []byte) (int, error) {
	p.apart++
	return p.tryWrite(append(header[:len(header):len(header)], payload...))
}

func (p *pipe) full()       {}
func (p *pipe) closeWrite() { p.shut = true }
func (p *pipe) interrupt()  { p.shut = true }
func (p *pipe) resume()     {}
func (p *pipe) hurry()      {}

// openPipe makes a pipe a client of e, whose handshake is over.
func openPipe(e *Endpoint, p *pipe, deflate deflateParams) *pipe {
	p.transport = p
	e.opened(&p.conn, &arrival{agreement: agreement{deflate: deflate}})
	p.written, p.writes = nil, 0
	return p
}

// run is what an engine does: it reads until nothing comes.
func (p *pipe) run() {
	t := turns.Get().(*turn)
	defer t.release()
	for err := error(nil); err == nil; {
		t.begin(&p.conn)
		if err = ignorePause(t.resume()); err == nil && !t.mustPause() {
			space := t.space()
			var n int
			if n, err = p.read(space, 1); err == nil {
				err = ignorePause(t.received(space[:n]))
			}
			if p.watch != nil {
				p.watch(t, n)
			}
		}
		paused := t.mustPause()
		t.finish()
		if paused {
			p.pause()
			p.sweep(false)
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
