package ws_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"aerys/internal/loop"
	"aerys/ws"
	"aerys/ws/frame"
)

// One session in which everything is used, played over and over while something
// fails, each time one step further on. However it ends, OnClose is called once
// for each OnOpen and nothing is left behind; serve sees to the latter.

// script is the session behind its handshake and the greeting.
var script = []struct {
	send []byte
	want []answer
}{
	{text("hello"), []answer{gotText("hello")}},
	{join(first(frame.Text, "frag"), ping("p"), last("ment")), []answer{gotPong("p"), gotText("fragment")}},
	{text("publish"), []answer{gotText("news")}},
	{binary(filler(40)), []answer{gotText("40 bytes")}},
	{closing(ws.CodeNormal, ""), nil},
}

// scripted serves the script.
type scripted struct {
	*server
	opened, closed atomic.Int64
}

func serveScript(t *testing.T, at setting) *scripted {
	s, r := new(scripted), new(recorder)
	r.onOpen = func(id ws.ClientID) {
		s.opened.Add(1)
		r.endpoint.Subscribe(id, fmt.Sprint(id))
		r.endpoint.Send("welcome", id)
	}
	r.onData = func(id ws.ClientID, m *ws.Message) {
		if m.Binary() { // a long one, read in pieces
			if body, err := readPieces(m, 10); err == nil {
				r.endpoint.Send(fmt.Sprint(len(body), " bytes"), id)
			}
		} else if body, _ := m.Text(); body == "publish" {
			r.endpoint.Publish(fmt.Sprint(id), "news")
		} else {
			r.endpoint.Send(body, id)
		}
	}
	r.onClose = func(ws.ClientID, ws.Code, string) { s.closed.Add(1) }
	t.Cleanup(func() { // behind that of serve
		if opened, closed := s.opened.Load(), s.closed.Load(); opened != closed || opened == 0 {
			t.Errorf("OnOpen was called %d times, OnClose %d times", opened, closed)
		}
		if topics := s.gateway.Monitor().(ws.State).Topics; topics != 0 {
			t.Errorf("%d topics are left", topics)
		}
	})
	options := unlimited
	options.AutoFrameSize, options.ClosePeriod, options.WriteTimeout = 16, time.Second, time.Second
	s.server = serve(t, at, r, options)
	return s
}

// play is the client's part. What comes has to be right, as far as it comes.
func (p *peer) play(send func([]byte)) error {
	p.write([]byte(p.handshake()))
	res, err := http.ReadResponse(p.reader, nil)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		return errors.New(res.Status)
	}
	p.sent = 0
	if err := p.compare([]answer{gotText("welcome")}); err != nil {
		return err
	}
	for _, step := range script {
		send(step.send)
		if err := p.compare(step.want); err != nil {
			return err
		}
	}
	if _, err := p.read(); err != nil { // the close frame
		return err
	}
	if _, err := p.read(); err != io.EOF {
		return err
	}
	return nil
}

// compare reads these frames.
func (p *peer) compare(want []answer) error {
	for _, want := range want {
		got, err := p.read()
		if err != nil {
			return err
		}
		if got.Opcode == frame.Close {
			return io.EOF
		}
		if got.Opcode != want.opcode || got.payload != want.payload {
			p.t.Errorf("got %v instead of %v", got, want)
			return errors.New("something else came")
		}
	}
	return nil
}

// fault is what goes wrong with a connection: its read or write number at, from 0.
type fault struct {
	kind  string
	at    int64
	count atomic.Int64
}

func (f *fault) here() bool {
	n := f.count.Add(1)
	return n == f.at+1 || n > f.at && f.kind == "breaks"
}

func (f *fault) reached() bool { return f.count.Load() > f.at }

// faultyListener accepts connections that have these faults, one by one.
type faultyListener struct {
	net.Listener
	faults chan *fault
}

func (l faultyListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	silent, _ := net.Pipe()
	return faultyConn{nc, <-l.faults, silent}, nil
}

// faultyConn is a connection with a fault.
type faultyConn struct {
	net.Conn
	*fault
	silent net.Conn // nothing ever comes from there, and nothing is taken
}

var errFault = errors.New("injected fault")

func (c faultyConn) Read(p []byte) (int, error) {
	if !c.here() {
		return c.Conn.Read(p)
	}
	switch c.kind {
	case "stalls":
		return c.silent.Read(p)
	case "splits":
		return c.Conn.Read(p[:1])
	}
	return 0, errFault
}

func (c faultyConn) Write(p []byte) (int, error) {
	if !c.here() {
		return c.Conn.Write(p)
	}
	switch c.kind {
	case "stalls":
		return c.silent.Write(p)
	case "splits":
		c.Conn.Write(p[:1])
		n, err := c.Conn.Write(p[1:])
		return n + 1, err
	case "fails behind a byte":
		n, _ := c.Conn.Write(p[:1])
		return n, errFault
	}
	return 0, errFault
}

func (c faultyConn) SetDeadline(t time.Time) error {
	c.silent.SetDeadline(t)
	return c.Conn.SetDeadline(t)
}

func (c faultyConn) SetReadDeadline(t time.Time) error {
	c.silent.SetReadDeadline(t)
	return c.Conn.SetReadDeadline(t)
}

func (c faultyConn) SetWriteDeadline(t time.Time) error {
	c.silent.SetWriteDeadline(t)
	return c.Conn.SetWriteDeadline(t)
}

func (c faultyConn) Close() error {
	c.silent.Close()
	return c.Conn.Close()
}

func (c faultyConn) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }

// Any read and any write of the server may fail, go on for ever, or do less than
// it was asked to.
func TestFaultyConnection(t *testing.T) {
	settings := []setting{
		{name: "portable", engine: ws.EnginePortable, network: "tcp"},
		{name: "TLS", engine: ws.EngineAuto, network: "tcp", tls: true},
	}
	for _, at := range settings {
		faults := make(chan *fault, 1000)
		at.wrap = func(l net.Listener) net.Listener {
			return faultyListener{l, faults}
		}
		kinds := []string{"splits", "fails", "fails behind a byte", "breaks"}
		if at.tls {
			kinds = kinds[:2] // a client that TLS leaves without a last word waits for a sweep
		}
		for _, kind := range kinds {
			t.Run(at.name+" "+kind, func(t *testing.T) {
				s := serveScript(t, at)
				for k, reached := int64(0), true; reached; k++ {
					f := &fault{kind: kind, at: k}
					faults <- f
					err := s.playOnce(t)
					if reached = f.reached(); err != nil && (kind == "splits" || !reached) {
						t.Errorf("read or write %d: %v", k, err)
					}
				}
			})
		}
		t.Run(at.name+" stalls", func(t *testing.T) {
			s := serveScript(t, at)
			s.stallEverywhere(t, faults)
		})
	}
}

// playOnce connects and plays the session.
func (s *scripted) playOnce(t *testing.T) error {
	p := s.lazyPeer(t)
	defer p.nc.Close()
	return p.play(p.write)
}

// lazyPeer connects, but leaves the TLS handshake to the first write, which may fail.
func (s *scripted) lazyPeer(t *testing.T) *peer {
	nc, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Error(err)
	}
	nc.SetDeadline(time.Now().Add(patience))
	if s.at.tls {
		nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
	}
	return &peer{t: t, server: s.server, nc: nc, reader: bufio.NewReader(nc)}
}

// stallEverywhere plays sessions that stall one step after the other, until one
// comes to its end, and stops the server with all of them under way.
func (s *scripted) stallEverywhere(t *testing.T, faults chan *fault) {
	var group sync.WaitGroup
	over := make(chan bool, 1)
	for k := int64(0); len(over) == 0; k++ {
		f := &fault{kind: "stalls", at: k}
		faults <- f
		group.Add(1)
		go func() {
			defer group.Done()
			if s.playOnce(t) == nil && !f.reached() {
				over <- true
			}
		}()
		for !f.reached() && len(over) == 0 {
			time.Sleep(pollPeriod)
		}
	}
	s.stopSoon(t)
	group.Wait()
}

// stopSoon stops the server and lets time pass until it has stopped.
func (s *scripted) stopSoon(t *testing.T) {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.stop(t)
	}()
	passUntil(loop.Shared(), stopped)
}
