package aerys

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"testing"
	"time"
)

// writeTimers is a connection that tells which write deadlines are really set.
type writeTimers struct {
	net.Conn
	set []string
}

func (c *writeTimers) SetWriteDeadline(t time.Time) error {
	switch in := time.Until(t); {
	case t.IsZero():
		c.set = append(c.set, "none")
	case in > time.Hour:
		c.set = append(c.set, "a handler's")
	default:
		c.set = append(c.set, "a timer")
	}
	return nil
}

// TestProgressTimers has in each row what is done with a connection, and which
// write deadlines are set by that.
func TestProgressTimers(t *testing.T) {
	var c *connection
	write := func() { c.progress.expect(c.Conn, time.Minute) }
	late := func() { c.progress.until.Add(-int64(61 * time.Second)); write() }
	handler := func() { c.SetWriteDeadline(time.Now().Add(2 * time.Hour)) }
	back := func() { c.SetWriteDeadline(time.Time{}) }
	hijack := func() { c.SetDeadline(time.Time{}) } // as net/http does
	leave := func() { c.progress.clear(c.Conn) }
	for _, test := range []struct {
		name string
		do   []func()
		set  []string
	}{
		{"one write", []func(){write}, []string{"a timer"}},
		{"writes one after the other", []func(){write, write, write}, []string{"a timer"}},
		{"a write when half of the time is over", []func(){write, late}, []string{"a timer", "a timer"}},
		{"net/http has no deadline", []func(){back, write, back, write}, []string{"a timer"}},
		{"a handler's deadline", []func(){handler, write}, []string{"a handler's"}},
		{"in place of the timer", []func(){write, handler, write}, []string{"a timer", "a handler's"}},
		{"taken back", []func(){handler, write, back, write}, []string{"a handler's", "none", "a timer"}},
		{"hijacked", []func(){write, hijack, write, handler, back, write}, []string{"a timer", "none", "a handler's", "none"}},
		{"another owner", []func(){write, leave}, []string{"a timer", "none"}},
		{"another owner, nothing set", []func(){leave}, nil},
	} {
		conn := new(writeTimers)
		c = &connection{Conn: conn}
		for _, do := range test.do {
			do()
		}
		if !slices.Equal(conn.set, test.set) {
			t.Errorf("%s: set were %q, not %q", test.name, conn.set, test.set)
		}
	}
}

// TestProgress sends in all the ways there are to a client that stops to read, and
// to one that is slow, but not so slow.
func TestProgress(t *testing.T) {
	const size = 2 << 20
	const timeout = 50 * time.Millisecond
	file, content := randomFile(t, size)
	cork := func(c *connection) { c.cork = corks.Get().(*cork) }
	for _, test := range []struct {
		name string
		send func(*connection) (int64, error)
	}{
		{"bytes", func(c *connection) (int64, error) { n, err := c.Write(content); return int64(n), err }},
		{"a reader", func(c *connection) (int64, error) { return c.ReadFrom(io.MultiReader(bytes.NewReader(content))) }},
		{"a file", func(c *connection) (int64, error) {
			plain, err := os.Open(file.Name())
			if err != nil {
				return 0, err
			}
			defer plain.Close()
			return c.ReadFrom(&io.LimitedReader{R: plain, N: size})
		}},
		{"a pipe", func(c *connection) (int64, error) {
			reader, writer, err := os.Pipe()
			if err != nil {
				return 0, err
			}
			defer reader.Close()
			go func() {
				writer.Write(content)
				writer.Close()
			}()
			return c.ReadFrom(reader)
		}},
		{"what was gathered", func(c *connection) (int64, error) {
			cork(c)
			c.Write(content[:1000])
			n, err := c.Write(content[1000:])
			return 1000 + int64(n), err
		}},
		{"a section", func(c *connection) (int64, error) {
			cork(c)
			c.Write(content[:100_000])
			n, err := c.ReadFrom(io.NewSectionReader(file, 100_000, size-100_000))
			return 100_000 + n, err
		}},
		{"a long section", func(c *connection) (int64, error) {
			cork(c)
			return c.ReadFrom(io.NewSectionReader(file, 0, size))
		}},
	} {
		t.Run(test.name+", a client that is stuck", func(t *testing.T) {
			t.Parallel()
			c, _ := narrowPair(t, timeout)
			begun := time.Now()
			n, err := test.send(c)
			took := time.Since(begun)
			if n >= size || !errors.Is(err, os.ErrDeadlineExceeded) || took < patience*timeout {
				t.Errorf("%d bytes were sent in %v: %v", n, took, err)
			}
		})
		t.Run(test.name+", a client that is slow", func(t *testing.T) {
			t.Parallel()
			c, client := narrowPair(t, timeout)
			received := make(chan []byte, 1)
			go func() { received <- readSlowly(client, 6*patience*timeout) }()
			n, err := test.send(c)
			c.Conn.Close()
			if got := <-received; n != size || err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes were sent, %d arrived: %v", n, len(got), err)
			}
		})
	}
}

// narrowPair returns both ends of a connection whose buffers are small.
func narrowPair(t *testing.T, timeout time.Duration) (server *connection, client net.Conn) {
	t.Helper()
	near, far := tcpPair(t)
	near.SetWriteBuffer(1)
	far.SetReadBuffer(128 << 10)
	return &connection{Conn: near, all: newConnections(&Options{ConnectionTimeout: timeout})}, far
}

// tcpPair returns both ends of a connection.
func tcpPair(t *testing.T) (server, client *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client = dial(t, l.Addr()).(*net.TCPConn)
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { accepted.Close() })
	return accepted.(*net.TCPConn), client
}

// readSlowly reads little now and then for a while, and then all that there is.
func readSlowly(r io.Reader, while time.Duration) (all []byte) {
	some := make([]byte, 4<<10)
	for end := time.Now().Add(while); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		n, _ := r.Read(some)
		all = append(all, some[:n]...)
	}
	rest, _ := io.ReadAll(r)
	return append(all, rest...)
}

// TestStuckClients has clients ask for something long, and read nothing of it.
func TestStuckClients(t *testing.T) {
	t.Parallel()
	failed := make(chan error, 1)
	endless := func(_ *Request, res *Response) {
		var err error
		for piece := make([]byte, 64<<10); err == nil; {
			_, err = res.Write(piece)
		}
		failed <- err
	}
	certFile, keyFile := WriteCertificate(t, t.TempDir(), "localhost")
	for _, encrypted := range []bool{false, true} {
		host := new(Host).Expose("127.0.0.1", 0).Use(endless)
		if encrypted {
			host.Encrypt(certFile, keyFile)
		}
		s := runServer(t, Options{ConnectionTimeout: 20 * time.Millisecond}, host)
		conn := dial(t, s.addresses[0])
		if encrypted {
			conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		}
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		select {
		case err := <-failed:
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("encrypted: %v: %v", encrypted, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("encrypted: %v: the handler still writes", encrypted)
		}
		eventually(t, "the end of the connection", func() bool { return s.current.Load().connections.open.Load() == 0 })
	}
}
