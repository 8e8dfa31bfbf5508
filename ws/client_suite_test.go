package ws_test

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"aerys/ws"
	"aerys/ws/frame"
)

// What the Autobahn suite's server sends to a client, and wants back.

const (
	greek      = "κόσμε"
	impossible = "\xf4\x90\x80\x80" // is above U+10FFFF
)

// echoes answers every message with the same, as the suite's clients do.
func echoes(c *ws.Conn) {
	for {
		data, binary, err := c.Read(context.Background())
		switch {
		case err != nil:
			return
		case binary:
			c.WriteBinary(context.Background(), data)
		default:
			c.Write(context.Background(), string(data))
		}
	}
}

// waysToSend are how a server may let its frames go.
var waysToSend = map[string]func(*rogue, ...string){
	"in one write":         (*rogue).write,
	"in a write each":      func(r *rogue, frames ...string) { r.writeEach(frames, 1<<20) },
	"in a write each byte": func(r *rogue, frames ...string) { r.writeEach(frames, 1) },
	"in pieces of 3 bytes": func(r *rogue, frames ...string) { r.writeEach([]string{strings.Join(frames, "")}, 3) },
}

// writeEach sends frames in pieces.
func (r *rogue) writeEach(frames []string, size int) {
	for _, f := range frames {
		for len(f) > 0 {
			n := min(size, len(f))
			r.write(f[:n])
			f = f[n:]
			runtime.Gosched()
		}
	}
}

// A ping is answered before the message behind it is, and each of a batch is.
func TestConnAnswersPingsInOrder(t *testing.T) {
	t.Parallel()
	whole := func(opcode frame.Opcode, s string) string { return bare(frame.Header{Fin: true, Opcode: opcode}, s) }
	begin := func(s string) string { return bare(frame.Header{Opcode: frame.Text}, s) }
	more := func(s string) string { return bare(frame.Header{}, s) }
	end := func(s string) string { return bare(frame.Header{Fin: true}, s) }
	ping := func(s string) string { return whole(frame.Ping, s) }
	var batch, answers []string
	for i := range 10 {
		batch = append(batch, ping(fmt.Sprint("payload-", i)))
		answers = append(answers, fmt.Sprint("pong payload-", i))
	}
	for _, test := range []struct {
		cases string
		sends []string
		wants []string
	}{
		{"2.1", []string{ping("")}, []string{"pong "}},
		{"2.9: a pong that nobody asked for, and a ping", []string{whole(frame.Pong, "unsolicited"), ping("payload")}, []string{"pong payload"}},
		{"2.10, 2.11: ten pings", batch, answers},
		{"5.3, 5.4, 5.5: fragments", []string{begin("fragment1"), end("fragment2")}, []string{"text fragment1fragment2"}},
		{"5.6, 5.7, 5.8: a ping among fragments", []string{begin("fragment1"), ping("ping payload"), end("fragment2")},
			[]string{"pong ping payload", "text fragment1fragment2"}},
		{"5.19, 5.20: two of them", []string{begin("fragment1"), more("fragment2"), ping("pongme 1!"), more("fragment3"), more("fragment4"), ping("pongme 2!"), end("fragment5")},
			[]string{"pong pongme 1!", "pong pongme 2!", "text fragment1fragment2fragment3fragment4fragment5"}},
		{"a ping before each of several messages", []string{ping("1"), whole(frame.Text, "a"), ping("2"), whole(frame.Text, "b"), ping("3"), whole(frame.Text, "c")}, nil},
	} {
		for way, send := range waysToSend {
			t.Run(test.cases+" "+way, func(t *testing.T) {
				for range 20 {
					c, r := dialRogue(t, ws.DialOptions{})
					go echoes(c)
					go send(r, test.sends...)
					if test.wants == nil {
						expectPongsFirst(t, r)
					}
					for _, want := range test.wants {
						if h, payload := r.read(); fmt.Sprint(h.Opcode, " ", payload) != want {
							t.Fatalf("got %v %q, want %q", h.Opcode, payload, want)
						}
					}
					r.write(whole(frame.Close, "\x03\xe8"))
					r.expectClose(ws.CodeNormal)
					r.nc.Close()
				}
			})
		}
	}
}

// expectPongsFirst reads three pongs and three messages; none of these comes before
// the pong to the ping that was sent before it.
func expectPongsFirst(t *testing.T, r *rogue) {
	t.Helper()
	pongs, texts := 0, 0
	for pongs < 3 || texts < 3 {
		switch h, payload := r.read(); {
		case h.Opcode == frame.Pong && payload == fmt.Sprint(pongs+1):
			pongs++
		case h.Opcode == frame.Text && payload == string(rune('a'+texts)) && texts < pongs:
			texts++
		default:
			t.Fatalf("got %v %q after %d pongs and %d messages", h.Opcode, payload, pongs, texts)
		}
	}
}

// Text that can no longer become UTF-8 fails the connection, wherever it ends.
func TestConnFailsBadTextAtOnce(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 100)
	header := func(n int) string { // of a frame of which only a part follows
		return bare(frame.Header{Fin: true, Opcode: frame.Text}, strings.Repeat("x", n))[:2]
	}
	for name, sends := range map[string][]string{
		"6.4.1: in a fragment":         {bare(frame.Header{Opcode: frame.Text}, greek), bare(frame.Header{}, impossible)},
		"6.4.2: split among fragments": {bare(frame.Header{Opcode: frame.Text}, greek+"\xf4"), bare(frame.Header{}, "\x90")},
		"6.4.3: within a frame":        {header(100), greek, impossible},
		"6.4.4: split within a frame":  {header(100), greek + "\xf4", "\x90"},
		"in the first fragment":        {bare(frame.Header{Opcode: frame.Text}, "\xff")},
		"a text that ends too early":   {bare(frame.Header{Opcode: frame.Text}, long), bare(frame.Header{Fin: true}, "\xce")},
	} {
		for way, send := range waysToSend {
			t.Run(name+" "+way, func(t *testing.T) {
				c, r := dialRogue(t, ws.DialOptions{})
				go echoes(c)
				send(r, sends...)
				r.expectClose(ws.CodeInvalidPayload)
				r.nc.Close()
				_, _, err := c.Read(patient(t))
				expectCloseError(t, err, ws.CodeInvalidPayload, "UTF-8")
			})
		}
	}
}

// Nothing holds a connection that has ended, however it did.
func TestConnIsLetGo(t *testing.T) {
	t.Parallel()
	whole := func(opcode frame.Opcode, s string) string { return bare(frame.Header{Fin: true, Opcode: opcode}, s) }
	for name, end := range map[string]func(*ws.Conn, *rogue){
		"by Close": func(c *ws.Conn, r *rogue) {
			r.write(whole(frame.Close, "\x03\xe8"))
			r.nc.(*net.TCPConn).CloseWrite()
			c.Close(ws.CodeNormal, "")
		},
		"by the server": func(c *ws.Conn, r *rogue) {
			r.write(whole(frame.Close, "\x03\xe8"))
			r.nc.Close()
			c.Read(context.Background())
		},
		"for what the server sent": func(c *ws.Conn, r *rogue) {
			r.write("nonsense")
			r.nc.Close()
			c.Read(context.Background())
		},
		"lost": func(c *ws.Conn, r *rogue) {
			r.nc.Close()
			c.Read(context.Background())
		},
		"interrupted": func(c *ws.Conn, r *rogue) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			for c.WriteBinary(ctx, make([]byte, 1<<20)) == nil {
			}
		},
	} {
		for _, period := range []time.Duration{time.Hour, -1} {
			t.Run(fmt.Sprint(name, " ", period), func(t *testing.T) {
				gone := make(chan struct{})
				func() {
					c, r := dialRogue(t, ws.DialOptions{ClosePeriod: period})
					runtime.AddCleanup(c, func(struct{}) { close(gone) }, struct{}{})
					go r.reader.WriteTo(discard{}) // until the client closes
					end(c, r)
					r.nc.Close()
				}()
				for deadline := patient(t); ; runtime.GC() {
					select {
					case <-gone:
						return
					case <-deadline.Done():
						t.Fatal("the connection is still held")
					case <-time.After(time.Millisecond):
					}
				}
			})
		}
	}
}

// discard is io.Discard, of which no ReadFrom is used.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
