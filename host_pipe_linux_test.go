package aerys

import (
	"bytes"
	"io"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// connectionsOf returns the connections of the server that got a request.
func connectionsOf(req *Request) *connections {
	return req.Context().Value(connectionKey{}).(*connection).all
}

// TestPipesAreBounded sends through a pipe, and without one when all are taken.
func TestPipesAreBounded(t *testing.T) {
	const size = 2 << 20
	file, content := randomFile(t, size)
	sent := make(chan *connections, 4)
	s := runServer(t, Options{}, new(Host).Expose("127.0.0.1", 0).Use(func(req *Request, res *Response) {
		res.SetHeader("Content-Length", strconv.Itoa(size)).ReadFrom(io.NewSectionReader(file, 0, size))
		sent <- connectionsOf(req)
	}))
	conn := dial(t, s.addresses[0])
	if err := askTwice(conn, "/", content); err != nil {
		t.Fatal("with a pipe:", err)
	}
	<-sent
	all := <-sent
	var taken []*pipe
	for range maxPipes {
		taken = append(taken, all.takePipe())
	}
	if p := all.takePipe(); p != nil || slices.Contains(taken, nil) {
		t.Errorf("not %d pipes were to be had", maxPipes)
	}
	if err := askTwice(conn, "/", content); err != nil {
		t.Error("without a pipe:", err)
	}
	for _, p := range taken {
		all.leavePipe(p)
	}
	if n := all.pipes.Load(); n != 0 {
		t.Errorf("%d pipes are taken in the end", n)
	}
}

// TestPipeIsClosedWithWhatItHolds leaves in the middle of a file: the next
// client must get nothing of it.
func TestPipeIsClosedWithWhatItHolds(t *testing.T) {
	const size = 64 << 20 // more than sockets take
	file, _ := randomFile(t, 0)
	if err := file.Truncate(size); err != nil {
		t.Fatal(err)
	}
	var all *connections
	done := make(chan error)
	s := runServer(t, Options{}, new(Host).Expose("127.0.0.1", 0).Use(func(req *Request, res *Response) {
		all = connectionsOf(req) // seen when done is
		_, err := res.SetHeader("Content-Length", strconv.Itoa(size)).ReadFrom(io.NewSectionReader(file, 0, size))
		done <- err
	}))
	conn := dial(t, s.addresses[0])
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	io.ReadFull(conn, make([]byte, 1<<20))
	conn.Close()
	if err := <-done; err == nil {
		t.Error("all was sent to nobody")
	}
	if n := all.pipes.Load(); n != 0 {
		t.Errorf("%d pipes are taken in the end", n)
	}
	var p *pipe
	for p = all.takePipe(); p != nil && p.held == 0; p = all.takePipe() {
		defer all.leavePipe(p)
		var waiting [1]byte
		syscall.SetNonblock(p.reader, true)
		if n, err := syscall.Read(p.reader, waiting[:]); n > 0 || err != syscall.EAGAIN {
			t.Fatalf("a pipe to be had has something in it: %d, %v", n, err)
		}
		syscall.SetNonblock(p.reader, false)
	}
	if p != nil {
		t.Error("a pipe to be had says that it holds something")
	}
}

// TestPipeThatCannotBe asks for more than the kernel gives anybody.
func TestPipeThatCannotBe(t *testing.T) {
	if p := newPipe(1 << 31); p != nil {
		t.Error("it is said to be there")
	}
}

// TestRestOfAPart sends a part and then what its section still has.
func TestRestOfAPart(t *testing.T) {
	const size = 1<<20 + 100
	file, content := randomFile(t, size)
	s := runServer(t, Options{}, new(Host).Expose("127.0.0.1", 0).Use(func(_ *Request, res *Response) {
		section := io.NewSectionReader(file, 0, size)
		ahead := &io.LimitedReader{R: section, N: size - 1}
		if n, err := res.SetHeader("Content-Length", strconv.Itoa(size)).ReadFrom(ahead); n != size-1 || err != nil || ahead.N != 0 {
			t.Errorf("%d bytes ahead, %v; %d are left of them", n, err, ahead.N)
		}
		if n, err := res.ReadFrom(section); n != 1 || err != nil {
			t.Errorf("%d bytes at the end, %v", n, err)
		}
	}))
	if err := askTwice(dial(t, s.addresses[0]), "/", content); err != nil {
		t.Error(err)
	}
}

// TestEndIsSentAtOnce sends a part through a pipe. What nothing follows must
// not wait: the kernel sends what it was told to hold back 200 ms later, so one
// of several has to come sooner.
func TestEndIsSentAtOnce(t *testing.T) {
	file, content := randomFile(t, 100)
	server, client := tcpPair(t)
	raw, _ := server.SyscallConn()
	p := newPipe(pipeSize)
	defer closePipe([2]int{p.reader, p.writer})
	defer p.cleanup.Stop()
	fastest := time.Hour
	for range 5 {
		began := time.Now()
		raw.Write(func(to uintptr) bool {
			if n, err := p.send(int(to), int(file.Fd()), 0, 100, false); n != 100 || err != nil {
				t.Fatal(n, err)
			}
			return true
		})
		got := make([]byte, 100)
		if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, content) {
			t.Fatalf("%q, %v", got, err)
		}
		fastest = min(fastest, time.Since(began))
	}
	if fastest > 150*time.Millisecond {
		t.Errorf("the fastest of five took %v", fastest)
	}
}
