package aerys

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestNothingIsHeldBack reads whole answers, of sizes around net/http's
// buffers, while their handler has not returned.
func TestNothingIsHeldBack(t *testing.T) {
	read := make(chan struct{})
	s := runServer(t, Options{DisableCompression: true}, new(Host).Expose("127.0.0.1", 0).Use(func(req *Request, res *Response) {
		size, _ := strconv.Atoi(req.Param("size"))
		body := strings.Repeat("x", size)
		if req.Param("by") != "End" {
			res.SetHeader("Content-Length", strconv.Itoa(size))
		}
		switch req.Param("by") {
		case "End":
			res.End(body)
		case "Write":
			res.Write([]byte(body))
		case "WriteString":
			res.WriteString(body)
		case "ReadFrom":
			io.Copy(res, strings.NewReader(body))
		}
		res.Flush() // which End needs not above this size
		if size > computed {
			<-read
		}
	}))
	conn := dial(t, s.addresses[0])
	reader := bufio.NewReader(conn)
	for _, by := range []string{"End", "Write", "WriteString", "ReadFrom"} {
		for _, size := range []int{0, 1, 2047, 2048, 2049, 3900, 4000, 4096, 8000, 8192, 12288, 16384, 20000, 100_000} {
			io.WriteString(conn, "GET /?by="+by+"&size="+strconv.Itoa(size)+" HTTP/1.1\r\nHost: a\r\n\r\n")
			response, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatal(by, size, err)
			}
			body, err := io.ReadAll(response.Body)
			if len(body) != size || err != nil {
				t.Fatalf("%s: %d bytes of %d: %v", by, len(body), size, err)
			}
			if size > computed {
				read <- struct{}{}
			}
		}
	}
}

// writes is a connection that keeps what is written, write by write.
type writes struct {
	net.Conn
	list []string
	fail error
}

func (w *writes) Write(p []byte) (int, error) {
	w.list = append(w.list, string(p))
	return len(p), w.fail
}

func (w *writes) Close() error { return nil }

func (w *writes) SetWriteDeadline(time.Time) error { return nil }

func TestCorkGathers(t *testing.T) {
	for _, test := range []struct {
		pieces []int
		want   []int // sizes of the writes
	}{
		{nil, nil},
		{[]int{10}, []int{10}},
		{[]int{4096, 5000}, []int{9096}},
		{[]int{4096, 4096, 4096, 4096}, []int{16384}},
		{[]int{4096, 4096, 4096, 4096, 1}, []int{16384, 1}},
		{[]int{4096, 50000, 4096}, []int{4096, 50000, 4096}}, // the first two by writev
		{[]int{50000}, []int{0, 50000}},
	} {
		all := newConnections(&Options{})
		wire := new(writes)
		c := &connection{Conn: wire, all: all}
		c.cork = corks.Get().(*cork)
		var sent bytes.Buffer
		for i, size := range test.pieces {
			piece := bytes.Repeat([]byte{byte('a' + i)}, size)
			sent.Write(piece)
			if n, err := c.Write(piece); n != size || err != nil {
				t.Errorf("%v: Write returned %d, %v", test.pieces, n, err)
			}
			clear(piece) // as net/http uses its buffer again
		}
		var err error
		c.uncork(&err)
		var got []int
		for _, p := range wire.list {
			got = append(got, len(p))
		}
		if len(got) != len(test.want) || strings.Join(wire.list, "") != sent.String() || err != nil || all.sent.Load() != int64(sent.Len()) {
			t.Errorf("%v: writes of %v, want %v", test.pieces, got, test.want)
		}
	}
}

func TestFailedUncorkEndsTheConnection(t *testing.T) {
	broken := errors.New("broken")
	all := newConnections(&Options{MaxConnections: 1})
	c, _ := all.enter(&nowhere{writes{fail: broken}})
	c.cork = corks.Get().(*cork)
	if _, err := c.Write([]byte("held")); err != nil {
		t.Error(err)
	}
	var err error
	if c.uncork(&err); err != broken || all.open.Load() != 0 {
		t.Errorf("%v, %d connections open", err, all.open.Load())
	}
}

// nowhere is a connection from nowhere.
type nowhere struct{ writes }

func (*nowhere) RemoteAddr() net.Addr            { return &net.UnixAddr{} }
func (*nowhere) SetReadDeadline(time.Time) error { return nil }
