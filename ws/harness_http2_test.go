package ws_test

import (
	"bufio"
	"context"
	"crypto/tls"
	order "encoding/binary"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	_ "aerys/ws/xconnect"
)

// Frames of HTTP/2, and their flags (RFC 9113 §6).
const (
	http2Data, http2Headers, http2Reset, http2Settings, http2Ping, http2GoAway, http2Window = 0, 1, 3, 4, 6, 7, 8

	http2Ack, http2EndStream, http2EndHeaders = 1, 1, 4
)

// http2Preface is what a client begins with (RFC 9113 §3.4).
const http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// http2Client is a connection of HTTP/2, by hand: net/http's client sends no
// extended CONNECT.
type http2Client struct {
	t       testing.TB
	conn    net.Conn
	writing sync.Mutex

	mu          sync.Mutex
	changed     sync.Cond // something below, or of a stream
	tunnels     bool      // the server takes an extended CONNECT
	streamLimit int       // how many streams it takes at once
	greeted     bool      // its settings have come
	goesAway    bool
	lost        error
	window      int // what may be sent
	initial     int // of a new stream
	last        uint32
	streams     map[uint32]*stream
}

// dialHTTP2 opens one.
func (s *server) dialHTTP2(t testing.TB) *http2Client {
	t.Helper()
	c := &http2Client{t: t, window: 65535, initial: 65535, streams: make(map[uint32]*stream), last: ^uint32(0)}
	c.changed.L = &c.mu
	var err error
	if s.at.tls {
		c.conn, err = tls.Dial(s.at.network, s.address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	} else {
		c.conn, err = net.Dial(s.at.network, s.address)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.conn.Close() })
	io.WriteString(c.conn, http2Preface)
	const room = 4 << 20                           // about what sockets take of what is not read
	settings := "\x00\x01\x00\x00\x00\x00\x00\x04" // a header table of no size, and the window of a stream
	c.send(http2Settings, 0, 0, string(order.BigEndian.AppendUint32([]byte(settings), room)))
	c.grant(0, 1<<30)
	go c.receive()
	c.await(func() bool { return c.greeted })
	return c
}

// send writes a frame.
func (c *http2Client) send(kind, flags byte, stream uint32, payload string) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	header := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	_, err := c.conn.Write(append(order.BigEndian.AppendUint32(header, stream), payload...))
	return err
}

// grant lets the server send more.
func (c *http2Client) grant(stream uint32, n int) {
	c.send(http2Window, 0, stream, string(order.BigEndian.AppendUint32(nil, uint32(n))))
}

// await waits for something that c.mu guards.
func (c *http2Client) await(is func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !is() && c.lost == nil {
		c.changed.Wait()
	}
}

// receive deals with frames until the connection ends.
func (c *http2Client) receive() {
	reader := bufio.NewReader(c.conn)
	for {
		kind, flags, id, payload, err := readHTTP2(reader)
		c.mu.Lock()
		if c.lost = err; err == nil {
			c.frame(kind, flags, id, payload)
		}
		c.changed.Broadcast()
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// readHTTP2 reads a frame.
func readHTTP2(r io.Reader) (kind, flags byte, id uint32, payload []byte, err error) {
	var header [9]byte
	if _, err = io.ReadFull(r, header[:]); err != nil {
		return 0, 0, 0, nil, err
	}
	payload = make([]byte, order.BigEndian.Uint32(header[:])>>8)
	_, err = io.ReadFull(r, payload)
	return header[3], header[4], order.BigEndian.Uint32(header[5:]), payload, err
}

// frame deals with a frame. c.mu is held.
func (c *http2Client) frame(kind, flags byte, id uint32, payload []byte) {
	s := c.streams[id]
	switch {
	case kind == http2Settings && flags&http2Ack == 0:
		c.settings(payload)
		go c.send(http2Settings, http2Ack, 0, "")
	case kind == http2Ping && flags&http2Ack == 0:
		go c.send(http2Ping, http2Ack, 0, string(payload))
	case kind == http2GoAway:
		c.goesAway = true
	case kind == http2Window && id == 0:
		c.window += int(order.BigEndian.Uint32(payload))
	case s == nil:
	case kind == http2Window:
		s.window += int(order.BigEndian.Uint32(payload))
	case kind == http2Reset && s.err == nil:
		s.err = fmt.Errorf("the stream was reset with %d", order.BigEndian.Uint32(payload))
	case kind == http2Headers:
		s.answer(string(payload))
	case kind == http2Data:
		s.came = append(s.came, payload...)
	}
	if s != nil && (kind == http2Headers || kind == http2Data) && flags&http2EndStream != 0 {
		s.err = io.EOF
	}
}

func (c *http2Client) settings(payload []byte) {
	c.greeted = true
	for ; len(payload) >= 6; payload = payload[6:] {
		value := int(order.BigEndian.Uint32(payload[2:]))
		switch order.BigEndian.Uint16(payload) {
		case 4:
			for _, s := range c.streams {
				s.window += value - c.initial
			}
			c.initial = value
		case 3:
			c.streamLimit = value
		case 8:
			c.tunnels = value == 1
		}
	}
}

// stream is a stream of HTTP/2 that looks to a test like a connection of HTTP/1: a
// handshake that is written goes out as an extended CONNECT (RFC 8441 §5), and a 200 is
// read as the 101 that it stands for.
type stream struct {
	*http2Client
	id     uint32
	alone  bool   // the connection has no other
	upload bool   // its request has a body
	tunnel bool   // its request is an extended CONNECT
	head   []byte // of a request that is not complete

	// Guarded by http2Client.mu.
	window   int
	came     []byte
	err      error // behind that
	closed   bool
	deadline time.Time
}

// stream opens a stream of this connection, once its request is written.
func (c *http2Client) stream() *stream { return &stream{http2Client: c} }

// Write sends a request that is complete, and what belongs to its stream behind it.
func (s *stream) Write(p []byte) (int, error) {
	if s.id != 0 {
		return len(p), s.data(p)
	}
	s.head = append(s.head, p...)
	head, rest, complete := strings.Cut(string(s.head), "\r\n\r\n")
	if !complete {
		return len(p), nil
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head + "\r\n\r\n")))
	if err != nil {
		return 0, err
	}
	s.head = nil
	s.request(r)
	return len(p), s.data([]byte(rest))
}

// request sends the header of a request: none of it is Huffman-coded or indexed
// (RFC 7541 §6.2.2).
func (s *stream) request(r *http.Request) {
	var block strings.Builder
	field := func(name, value string) {
		block.WriteByte(0)
		for _, text := range []string{name, value} {
			if len(text) < 127 {
				block.WriteByte(byte(len(text)))
			} else {
				block.Write(order.AppendUvarint([]byte{127}, uint64(len(text)-127)))
			}
			block.WriteString(text)
		}
	}
	flags := byte(http2EndHeaders | http2EndStream)
	if r.Header.Get("Upgrade") == "websocket" {
		r.Method, s.tunnel, flags = http.MethodConnect, true, http2EndHeaders
	} else if s.upload {
		flags = http2EndHeaders
	}
	field(":method", r.Method)
	if r.Method == http.MethodConnect {
		field(":protocol", "websocket")
	}
	field(":scheme", "https")
	field(":path", r.URL.RequestURI())
	field(":authority", r.Host)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, value := range r.Header[name] {
			if name != "Upgrade" && name != "Connection" && name != "Sec-Websocket-Key" {
				field(strings.ToLower(name), value)
			}
		}
	}
	s.open(flags, block.String())
}

// open sends the HEADERS that open a stream: their order is that of their numbers.
func (s *stream) open(flags byte, block string) {
	c := s.http2Client
	c.writing.Lock()
	c.mu.Lock()
	c.last += 2
	s.id, s.window = c.last, c.initial
	c.streams[s.id] = s
	c.mu.Unlock()
	header := []byte{byte(len(block) >> 16), byte(len(block) >> 8), byte(len(block)), http2Headers, flags}
	c.conn.Write(append(order.BigEndian.AppendUint32(header, s.id), block...))
	c.writing.Unlock()
}

// data sends DATA frames as the windows allow.
func (s *stream) data(p []byte) error {
	for len(p) > 0 {
		n, err := s.mayWrite(len(p))
		if err == io.EOF {
			return nil // HTTP/2 has no half of a stream that is not read
		}
		if err != nil {
			return err
		}
		if err := s.send(http2Data, 0, s.id, string(p[:n])); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// mayWrite waits for the windows, and returns how much of n bytes they allow.
func (s *stream) mayWrite(n int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if err := s.failure(); err != nil {
			return 0, err
		}
		if some := min(n, s.window, s.http2Client.window, 16384); some > 0 {
			s.window -= some
			s.http2Client.window -= some
			return some, nil
		}
		s.changed.Wait()
	}
}

// failure is why nothing more comes, and nothing can be sent. http2Client.mu is held.
func (s *stream) failure() error {
	switch {
	case s.closed:
		return net.ErrClosed
	case s.err != nil:
		return s.err
	case s.lost != nil:
		return s.lost
	case !s.deadline.IsZero() && time.Now().After(s.deadline):
		return os.ErrDeadlineExceeded
	}
	return nil
}

// Read implements net.Conn.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.take(p)
	if n > 0 {
		s.grant(s.id, n) // a few too many for the header
	}
	return n, err
}

func (s *stream) take(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.came) == 0 {
		if err := s.failure(); err != nil {
			return 0, err
		}
		s.changed.Wait()
	}
	n := copy(p, s.came)
	if s.came = s.came[n:]; len(s.came) == 0 {
		s.came = nil
	}
	return n, nil
}

// CloseWrite ends the client's direction of the stream.
func (s *stream) CloseWrite() error { return s.send(http2Data, http2EndStream, s.id, "") }

// Close resets the stream, if it is not over.
func (s *stream) Close() error {
	s.mu.Lock()
	over := s.closed || s.err != nil || s.id == 0
	s.closed = true
	s.changed.Broadcast()
	s.mu.Unlock()
	if !over {
		s.send(http2Reset, 0, s.id, "\x00\x00\x00\x08") // CANCEL
	}
	if s.alone {
		s.conn.Close()
	}
	return nil
}

// SetDeadline implements net.Conn.
func (s *stream) SetDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	time.AfterFunc(time.Until(t)+time.Millisecond, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.changed.Broadcast()
	})
	return nil
}

// SetReadDeadline and SetWriteDeadline implement net.Conn.
func (s *stream) SetReadDeadline(t time.Time) error  { return s.SetDeadline(t) }
func (s *stream) SetWriteDeadline(t time.Time) error { return s.SetDeadline(t) }

// LocalAddr and RemoteAddr implement net.Conn.
func (s *stream) LocalAddr() net.Addr  { return s.conn.LocalAddr() }
func (s *stream) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

// answer puts the header of a response, as HTTP/1 has it, before what else comes.
// http2Client.mu is held.
func (s *stream) answer(block string) {
	response, err := decodeHeader(block)
	if err != nil {
		s.err = err
		return
	}
	var head strings.Builder
	if response.StatusCode == http.StatusOK && s.tunnel {
		fmt.Fprintf(&head, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n", sampleAccept)
	} else {
		fmt.Fprintf(&head, "HTTP/1.1 %s\r\n", response.Status)
	}
	response.Header.Write(&head)
	s.came = append(s.came, head.String()+"\r\n"...)
}

// decodeHeader has net/http's client read the header of a response.
func decodeHeader(block string) (*http.Response, error) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	transport := &http.Transport{Protocols: new(http.Protocols), DialContext: func(context.Context, string, string) (net.Conn, error) { return theirs, nil }}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	go func() {
		c := &http2Client{conn: ours}
		reader := bufio.NewReader(ours)
		reader.Discard(len(http2Preface))
		for {
			switch kind, _, id, _, err := readHTTP2(reader); {
			case err != nil:
				return
			case kind == http2Headers:
				go func() { // a pipe holds nothing
					c.send(http2Settings, 0, 0, "")
					c.send(http2Headers, http2EndHeaders|http2EndStream, id, block)
				}()
			}
		}
	}()
	r, err := http.NewRequest(http.MethodGet, "http://x/", nil)
	if err != nil {
		return nil, err
	}
	return transport.RoundTrip(r)
}
