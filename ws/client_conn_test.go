package ws_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"aerys/ws"
	"aerys/ws/frame"
)

// Nobody can know a masking key beforehand, so none comes twice (RFC 6455 §5.3).
func TestConnMasks(t *testing.T) {
	t.Parallel()
	c, r := dialRogue(t, ws.DialOptions{})
	go func() {
		for range 100 {
			c.Write(context.Background(), "hello")
		}
	}()
	keys := map[[4]byte]bool{}
	for range 100 {
		h, payload := r.read()
		if keys[h.Key] || payload != "hello" || h.Rsv != 0 {
			t.Fatalf("frame %+v %q", h, payload)
		}
		keys[h.Key] = true
	}
}

func TestConnAnswersPings(t *testing.T) {
	t.Parallel()
	c, r := dialRogue(t, ws.DialOptions{})
	ping := func(s string) string { return bare(frame.Header{Fin: true, Opcode: frame.Ping}, s) }
	read := make(chan string)
	go func() {
		defer close(read)
		for {
			data, _, err := c.Read(context.Background())
			if err != nil {
				return
			}
			read <- string(data)
		}
	}()
	r.write(ping(""))
	r.expect(frame.Pong, "")
	long := strings.Repeat("x", 125)
	r.write(bare(frame.Header{Opcode: frame.Text}, "hel"), ping(long), bare(frame.Header{Fin: true, Opcode: frame.Pong}, "unasked"))
	r.expect(frame.Pong, long)
	r.write(bare(frame.Header{Fin: true}, "lo"))
	if got := <-read; got != "hello" {
		t.Errorf("read %q", got)
	}
	r.write(bare(frame.Header{Fin: true, Opcode: frame.Close}, ""))
	r.expect(frame.Close, "")
	r.nc.Close()
	<-read
}

// While a message waits for a server that does not read, pings do not stop the
// reader: it goes on, and the last of them is answered.
func TestConnReadsWhileWriting(t *testing.T) {
	t.Parallel()
	c, r := dialRogue(t, ws.DialOptions{})
	message := make([]byte, 8<<20)
	written := make(chan error, 1)
	go func() { written <- c.WriteBinary(context.Background(), message) }()
	go func() {
		for i := range 1000 {
			r.write(bare(frame.Header{Fin: true, Opcode: frame.Ping}, fmt.Sprint(i)))
		}
		r.write(bare(frame.Header{Fin: true, Opcode: frame.Text}, "hello"))
	}()
	r.reader.Peek(1) // the message is under way
	expectMessage(t, c, false, "hello")
	for {
		h, payload := r.read()
		if h.Opcode == frame.Pong && payload == "999" {
			break
		}
		if h.Opcode == frame.Binary && payload != string(message) || h.Opcode == frame.Text {
			t.Fatalf("got %s", brief(h.Opcode, payload))
		}
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// A Read whose context is done loses nothing.
func TestConnReadInPieces(t *testing.T) {
	t.Parallel()
	c, r := dialRogue(t, ws.DialOptions{})
	wire := bare(frame.Header{Opcode: frame.Text}, "hello, ") + bare(frame.Header{Fin: true, Opcode: frame.Ping}, "still there?") +
		bare(frame.Header{Fin: true}, strings.Repeat("x", 200))
	for i := range wire {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		_, _, err := c.Read(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("after %d bytes: %v", i, err)
		}
		r.write(wire[i : i+1])
	}
	expectMessage(t, c, false, "hello, "+strings.Repeat("x", 200))
	r.expect(frame.Pong, "still there?")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := c.Read(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Read with a context that is done: %v", err)
	}
	if err := c.Write(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("Write with a context that is done: %v", err)
	}
	if err := c.Write(patient(t), "alive"); err != nil {
		t.Error(err)
	}
	r.expect(frame.Text, "alive")
}

// A Write whose context is done has sent a part of its message: that is the end.
func TestConnWriteInterrupted(t *testing.T) {
	t.Parallel()
	c, r := dialRogue(t, ws.DialOptions{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	results := make(chan error)
	for range 2 { // one writes, the other waits for its turn
		go func() { results <- c.WriteBinary(ctx, make([]byte, 8<<20)) }()
	}
	r.reader.Peek(1) // a message is under way
	cancel()
	for range 2 {
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Errorf("Write: %v", err)
		}
	}
	_, _, err := c.Read(patient(t))
	expectCloseError(t, err, ws.CodeAbnormal, "canceled")
	expectCloseError(t, c.Close(ws.CodeNormal, ""), ws.CodeAbnormal, "canceled")
}

// The client closes while another goroutine reads: both see the end.
func TestConnClosesWhileReading(t *testing.T) {
	t.Parallel()
	c, r := dialRogue(t, ws.DialOptions{})
	result := make(chan error)
	go func() {
		for {
			if _, _, err := c.Read(patient(t)); err != nil {
				result <- err
				return
			}
		}
	}()
	go func() {
		r.expectClose(4002)
		r.write(bare(frame.Header{Fin: true, Opcode: frame.Text}, "last words"), bare(frame.Header{Fin: true, Opcode: frame.Close}, "\x0f\xa2"))
		r.nc.Close()
	}()
	if err := c.Close(4002, "that is all"); err != nil {
		t.Error(err)
	}
	expectCloseError(t, <-result, 4002, "that is all")
}

// A server that does not answer a close frame, or does not close the connection
// then, is waited for no longer than the options say.
func TestConnClosePeriod(t *testing.T) {
	t.Parallel()
	const period = 20 * time.Millisecond
	c, deaf := dialRogue(t, ws.DialOptions{ClosePeriod: period})
	go func() {
		for err := error(nil); err == nil; { // what does not help
			_, err = io.WriteString(deaf.nc, bare(frame.Header{Fin: true, Opcode: frame.Text}, "anything else?"))
		}
	}()
	if err := c.Close(ws.CodeNormal, ""); err == nil || !strings.Contains(err.Error(), "DialOptions.ClosePeriod") {
		t.Errorf("Close: %v", err)
	}
	c, r := dialRogue(t, ws.DialOptions{ClosePeriod: period})
	r.write(bare(frame.Header{Fin: true, Opcode: frame.Close}, "\x03\xe8"))
	if err := c.Close(ws.CodeNormal, ""); err != nil {
		t.Errorf("Close: %v", err)
	}
	c, r = dialRogue(t, ws.DialOptions{ClosePeriod: period})
	r.write(bare(frame.Header{Fin: true, Opcode: frame.Close}, "\x03\xe9going"))
	_, _, err := c.Read(patient(t))
	expectCloseError(t, err, ws.CodeGoingAway, "going")
}

func TestConnLost(t *testing.T) {
	t.Parallel()
	c, r := dialRogue(t, ws.DialOptions{})
	r.write(bare(frame.Header{Fin: true, Opcode: frame.Binary}, "cut off")[:5])
	r.nc.Close()
	_, _, err := c.Read(patient(t))
	expectCloseError(t, err, ws.CodeAbnormal, "connection lost: ")
	expectCloseError(t, c.Write(patient(t), ""), ws.CodeAbnormal, "connection lost: ")
}

// A connection that is lost while something is written says so, but keeps what
// came before: the server's reason, perhaps.
func TestConnLostWhileWriting(t *testing.T) {
	t.Parallel()
	c, r := dialRogue(t, ws.DialOptions{})
	r.write(bare(frame.Header{Fin: true, Opcode: frame.Close}, "\x03\xf1too much"))
	r.nc.(*net.TCPConn).CloseWrite()
	r.nc.(*net.TCPConn).SetLinger(0)
	var err error
	for once := sync.OnceFunc(func() { r.nc.Close() }); err == nil; once() {
		err = c.WriteBinary(patient(t), make([]byte, 1<<20))
	}
	expectCloseError(t, err, ws.CodeAbnormal, "connection lost: ")
}

func TestConnWritesTextOnly(t *testing.T) {
	t.Parallel()
	c, _ := dialRogue(t, ws.DialOptions{})
	if err := c.Write(patient(t), "\xff"); !errors.Is(err, ws.ErrInvalidText) {
		t.Errorf("Write: %v", err)
	}
}
