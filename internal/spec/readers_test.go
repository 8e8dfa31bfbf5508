package spec

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"aerys"
)

// TestStuckClients has clients ask for something long, and read nothing of it.
// What is taken of it all the same, by the kernel for the most part, is bounded.
func TestStuckClients(t *testing.T) {
	const size, mostTaken = 64 << 20, 2 << 20
	file, _ := randomFile(t, 0)
	file.Truncate(size)
	type outcome struct {
		taken int64
		err   error
	}
	for name, send := range map[string]func(*aerys.Response) outcome{
		"writes": func(res *aerys.Response) (o outcome) {
			for piece := make([]byte, 16<<10); o.err == nil && o.taken < size; {
				var n int
				n, o.err = res.Write(piece)
				o.taken += int64(n)
			}
			return o
		},
		"a file": func(res *aerys.Response) (o outcome) {
			o.taken, o.err = res.ReadFrom(io.NewSectionReader(file, 0, size))
			return o
		},
	} {
		for _, encrypted := range []bool{false, true} {
			ended := make(chan outcome, 1)
			host := secured(t, at(func(_ *aerys.Request, res *aerys.Response) {
				res.SetHeader("Content-Length", strconv.Itoa(size)).SetHeader("Content-Type", "image/png")
				ended <- send(res)
			}), encrypted)
			s := timed(t, aerys.Options{ConnectionTimeout: time.Second}, host)
			begun(t, s.addresses[0], encrypted)
			for seconds := 0; len(ended) == 0 && seconds < 60; seconds++ {
				s.pass(1)
			}
			select {
			case o := <-ended:
				if !errors.Is(o.err, os.ErrDeadlineExceeded) || runtime.GOOS == "linux" && o.taken > mostTaken {
					t.Errorf("%s, encrypted: %v: %d bytes were taken, then %v", name, encrypted, o.taken, o.err)
				}
				t.Logf("%s, encrypted: %v: %d bytes were taken", name, encrypted, o.taken)
			default:
				t.Fatalf("%s, encrypted: %v: the handler still writes", name, encrypted)
			}
			eventually(t, "the end of the connection", func() bool { return s.open() == 0 })
		}
	}
}

// TestStuckHandlers has handlers who do not care for errors send to clients who
// have stopped to read. What they go on to send does not wait again and again.
func TestStuckHandlers(t *testing.T) {
	t.Parallel()
	const timeout, size = 50 * time.Millisecond, 16 << 20
	file, _ := randomFile(t, 0)
	file.Truncate(size)
	for name, send := range map[string]func(*aerys.Response){
		"files": func(res *aerys.Response) {
			for range 10 {
				res.ReadFrom(io.NewSectionReader(file, 0, size))
			}
		},
		"writes": func(res *aerys.Response) {
			for piece := make([]byte, 1<<20); res.Status() == 200; {
				if _, err := res.Write(piece); err != nil {
					break
				}
			}
			for range 10 {
				res.Write(make([]byte, 10_000))
				res.Flush()
			}
		},
	} {
		for _, encrypted := range []bool{false, true} {
			t.Run(name+", encrypted: "+strconv.FormatBool(encrypted), func(t *testing.T) {
				t.Parallel()
				host := secured(t, at(func(_ *aerys.Request, res *aerys.Response) {
					res.SetHeader("Content-Length", strconv.Itoa(100*size))
					send(res)
				}), encrypted)
				s := run(t, aerys.Options{ConnectionTimeout: timeout}, host)
				begun(t, s.addresses[0], encrypted)
				began := time.Now()
				for s.open() > 0 && time.Since(began) < time.Minute {
					time.Sleep(timeout)
				}
				// 40 times are 2 s, and the rest is for a busy machine.
				if took := time.Since(began); took < waited*timeout || took > 7*time.Second {
					t.Errorf("dropped after %v", took)
				}
			})
		}
	}
}

// begun asks for something, and has read the first byte of the answer. It tries
// again where a busy machine was late with a handshake or a header.
func begun(t *testing.T, address net.Addr, encrypted bool) *bufio.Reader {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		conn := dial(t, address)
		conn.(*net.TCPConn).SetReadBuffer(64 << 10)
		if encrypted {
			conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		}
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		reader := bufio.NewReaderSize(conn, 16)
		if _, err := reader.Peek(1); err == nil {
			return reader
		}
		conn.Close()
	}
	t.Fatal("no answer begins")
	return nil
}

// TestSlowReaders has clients read some of an answer now and then, for longer
// than anybody who takes nothing may stay: they get all of it.
func TestSlowReaders(t *testing.T) {
	t.Parallel()
	const timeout, size = 80 * time.Millisecond, 8 << 20
	file, content := randomFile(t, size)
	for name, send := range map[string]func(*aerys.Response){
		"a file":  func(res *aerys.Response) { res.ReadFrom(io.NewSectionReader(file, 0, size)) },
		"a write": func(res *aerys.Response) { res.Write(content) },
		"writes": func(res *aerys.Response) {
			for rest := content; len(rest) > 0; rest = rest[1<<10:] {
				res.Write(rest[:1<<10])
			}
		},
	} {
		for _, encrypted := range []bool{false, true} {
			t.Run(name+", encrypted: "+strconv.FormatBool(encrypted), func(t *testing.T) {
				t.Parallel()
				host := secured(t, at(func(_ *aerys.Request, res *aerys.Response) {
					res.SetHeader("Content-Length", strconv.Itoa(size)).SetHeader("Content-Type", "image/png")
					if send(res); res.Err() != nil {
						t.Error(res.Err())
					}
				}), encrypted)
				s := run(t, aerys.Options{ConnectionTimeout: timeout}, host)
				response, err := http.ReadResponse(begun(t, s.addresses[0], encrypted), nil)
				if err != nil {
					t.Fatal(err)
				}
				got, some := []byte(nil), make([]byte, 128<<10)
				for end := time.Now().Add(50 * timeout); time.Now().Before(end); time.Sleep(timeout) {
					n, _ := io.ReadFull(response.Body, some)
					got = append(got, some[:n]...)
				}
				rest, err := io.ReadAll(response.Body)
				if got = append(got, rest...); !bytes.Equal(got, content) {
					t.Errorf("%d bytes came: %v", len(got), err)
				}
			})
		}
	}
}
