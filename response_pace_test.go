package aerys

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The window of a stream (RFC 9113 §6.5.2, §6.9), and more types of frames.
const (
	windowFrame = 8
	pingFrame   = 6
	dataFrame   = 0
	ack         = 1

	closedWindow = "\x00\x04\x00\x00\x00\x00" // SETTINGS_INITIAL_WINDOW_SIZE is 0
)

// streamClient is a client of HTTP/2 that has asked for something, takes none of
// the body until it opens the window, and answers pings.
type streamClient struct {
	net.Conn
	received int
	pings    int
	begun    bool // the header has come
	reset    bool // by the server
	ended    bool
}

// askForStream returns such a client, which has got the header. It tries again
// where a busy machine was late with a handshake or a request.
func askForStream(t *testing.T, address net.Addr, encrypted bool) *streamClient {
	t.Helper()
	begin, _, _ := strings.Cut(preface, "\x00")
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		c := &streamClient{Conn: dial(t, address)}
		if encrypted {
			c.Conn = tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		}
		c.SetDeadline(time.Now().Add(time.Minute))
		io.WriteString(c, begin+frame(settingsFrame, 0, 0, closedWindow)+frame(headersFrame, endStream|endHeaders, 1, getRoot))
		if c.next(func() bool { return c.begun }) == nil && c.begun {
			return c
		}
		c.Close()
	}
	t.Fatal("no answer begins")
	return nil
}

// open lets the server send that much more.
func (c *streamClient) open(size uint32) {
	for _, stream := range []uint32{0, 1} {
		io.WriteString(c, frame(windowFrame, 0, stream, string(binary.BigEndian.AppendUint32(nil, size))))
	}
}

// read reads frames until enough is true, or the stream is over.
func (c *streamClient) read(t *testing.T, enough func() bool) {
	t.Helper()
	if err := c.next(enough); err != nil {
		t.Errorf("after %d bytes and %d pings: %v", c.received, c.pings, err)
	}
}

func (c *streamClient) next(enough func() bool) error {
	for !enough() && !c.reset && !c.ended {
		kind, stream, flags, payload, err := readFlaggedFrame(c)
		switch {
		case err != nil:
			return err
		case kind == pingFrame && flags&ack == 0:
			c.pings++
			io.WriteString(c, frame(pingFrame, ack, 0, string(payload)))
		case kind == settingsFrame && flags&ack == 0:
			io.WriteString(c, frame(settingsFrame, ack, 0, ""))
		case kind == headersFrame && stream == 1:
			c.begun = true
		case kind == dataFrame && stream == 1:
			c.received += len(payload)
		case kind == resetFrame && stream == 1:
			c.reset = true
		}
		c.ended = c.ended || stream == 1 && kind <= headersFrame && flags&endStream != 0
	}
	return nil
}

func readFlaggedFrame(r io.Reader) (kind byte, stream uint32, flags byte, payload []byte, err error) {
	var header [9]byte
	if _, err = io.ReadFull(r, header[:]); err != nil {
		return 0, 0, 0, nil, err
	}
	payload = make([]byte, int(header[0])<<16|int(header[1])<<8|int(header[2]))
	_, err = io.ReadFull(r, payload)
	return header[3], binary.BigEndian.Uint32(header[5:]), header[4], payload, err
}

// TestClosedWindow has clients of HTTP/2 whose window is closed, and who answer
// pings: their streams end, whatever is being sent, and nobody waits for ever.
func TestClosedWindow(t *testing.T) {
	const timeout = 20 * time.Millisecond
	file, _ := randomFile(t, 100_000)
	certFile, keyFile := WriteCertificate(t, t.TempDir(), "localhost")
	for name, answer := range map[string]func(*Request, *Response){
		"little, as the handler returns": func(_ *Request, res *Response) { res.WriteString("x") },
		"little, by End":                 func(_ *Request, res *Response) { res.End("x") },
		"much, as the handler returns":   func(_ *Request, res *Response) { res.WriteString(strings.Repeat("x", 8000)) },
		"much, by End":                   func(_ *Request, res *Response) { res.End(strings.Repeat("x", 100_000)) },
		"an error page":                  func(*Request, *Response) {},
		"a stream": func(_ *Request, res *Response) {
			for res.Err() == nil {
				res.WriteString("some ")
			}
		},
		"what is flushed": func(_ *Request, res *Response) {
			res.WriteString("x")
			res.Flush()
		},
		"a file": func(_ *Request, res *Response) {
			res.ReadFrom(io.NewSectionReader(file, 0, 100_000))
		},
		"what is compressed": func(req *Request, res *Response) {
			req.Header.Set("Accept-Encoding", "gzip")
			res.End(strings.Repeat("x", 1<<20))
		},
		"by net/http's handler": func(req *Request, res *Response) {
			http.ServeContent(res, req.Request, "a", time.Time{}, io.NewSectionReader(file, 0, 100_000))
		},
	} {
		for _, encrypted := range []bool{false, true} {
			protocol := map[bool]string{false: "in clear text", true: "over TLS"}[encrypted]
			t.Run(name+", "+protocol, func(t *testing.T) {
				t.Parallel()
				host := new(Host).Expose("127.0.0.1", 0).Use(answer)
				if encrypted {
					host.Encrypt(certFile, keyFile)
				}
				s := runServer(t, Options{ConnectionTimeout: timeout}, host)
				c := askForStream(t, s.addresses[0], encrypted)
				c.read(t, func() bool { return false })
				if !c.reset || c.received > 0 {
					t.Errorf("reset: %t, ended: %t, %d bytes", c.reset, c.ended, c.received)
				}
				eventually(t, "the end of the request", func() bool { return s.current.Load().underWay() == 0 })
			})
		}
	}
}

// TestPatientStreams has clients and handlers who are slow, but not too slow, or
// have said so: their streams do not end before the time.
func TestPatientStreams(t *testing.T) {
	const timeout = 20 * time.Millisecond
	const long = 50 * timeout // a stuck client is dropped sooner
	pause := func() { time.Sleep(long) }
	for name, test := range map[string]struct {
		answer func(*Request, *Response)
		take   func(*testing.T, *streamClient)
		want   int
	}{
		"events that are far between": {func(_ *Request, res *Response) {
			for range 3 {
				res.WriteString("event")
				res.Flush()
				pause()
			}
		}, func(t *testing.T, c *streamClient) { c.open(1000) }, 15},
		"a handler that thinks, after a stream has begun": {func(_ *Request, res *Response) {
			res.WriteString(strings.Repeat("x", 100_000))
			pause()
			res.WriteString("end")
		}, func(t *testing.T, c *streamClient) { c.open(200_000) }, 100_003},
		"a client that takes a piece now and then": {func(_ *Request, res *Response) {
			res.End(strings.Repeat("x", 20*(64<<10)))
		}, func(t *testing.T, c *streamClient) {
			for received := 0; received < 20*(64<<10); {
				c.open((64 << 10))
				received += (64 << 10)
				c.read(t, func() bool { return c.received >= received })
				time.Sleep(patience * timeout / 4)
			}
		}, 20 * (64 << 10)},
		"a handler's own deadline": {func(_ *Request, res *Response) {
			http.NewResponseController(res).SetWriteDeadline(time.Now().Add(time.Hour))
			res.Write(make([]byte, 100_000))
		}, func(t *testing.T, c *streamClient) { pause(); c.open(200_000) }, 100_000},
		"a handler that wants none": {func(_ *Request, res *Response) {
			http.NewResponseController(res).SetWriteDeadline(time.Time{})
			res.WriteString("x")
		}, func(t *testing.T, c *streamClient) { pause(); c.open(200_000) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := runServer(t, Options{ConnectionTimeout: timeout, DisableCompression: true},
				new(Host).Expose("127.0.0.1", 0).Use(test.answer))
			c := askForStream(t, s.addresses[0], false)
			test.take(t, c)
			c.read(t, func() bool { return false })
			if !c.ended || c.received != test.want {
				t.Errorf("reset: %t, %d bytes of %d", c.reset, c.received, test.want)
			}
		})
	}
}
