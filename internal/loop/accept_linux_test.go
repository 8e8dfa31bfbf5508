package loop

import (
	"context"
	"log/slog"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// told is a log that tells of its records.
type told struct {
	slog.Handler
	records chan string
}

func (l told) Handle(_ context.Context, r slog.Record) error {
	l.records <- r.Message
	return nil
}

// A listener that finds no descriptor left rests until the next sweep.
func TestNoDescriptorLeft(t *testing.T) {
	log := told{slog.Default().Handler(), make(chan string, 100)}
	l := New(slog.New(log))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Listen(ln, nil, func(*Conn) Owner { return &owner{serve: echo} }); err != nil {
		t.Fatal(err)
	}
	defer l.Close(10 * time.Second)
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	allow := forbidDescriptors(t)
	address := ln.Addr().(*net.TCPAddr)
	err = syscall.Connect(fd, &syscall.SockaddrInet4{Port: address.Port, Addr: [4]byte{127, 0, 0, 1}})
	if err == nil {
		<-log.records
	}
	allow()
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "client")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	l.Sweep(1)
	exchange(t, conn, []byte("hello"))
}

// forbidDescriptors sees to it that no file can be opened.
func forbidDescriptors(t *testing.T) (allow func()) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	next, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = uint64(next.Fd())
	next.Close()
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	}
}
