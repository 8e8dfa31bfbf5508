package aerys_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"aerys"
)

// TestDrippingClientsAreClosed: who sends what no handler reads a byte at a time
// is not waited for without end.
func TestDrippingClientsAreClosed(t *testing.T) {
	t.Parallel()
	const timeout = 100 * time.Millisecond
	var all sync.WaitGroup
	for over, dial := range both(t, aerys.Options{ConnectionTimeout: timeout}, bodyless(t)...) {
		for _, request := range []string{
			"POST /small", "POST /large", "POST /401", "POST /flush", "POST /close", "POST /duplex", "POST /forever",
			"POST /abort", "POST /panic", "POST /nowhere", "OPTIONS *", "POST http://b/", "GET /file",
		} {
			for _, header := range []string{"Content-Length: 100000", "Content-Length: 100000\r\nExpect: x",
				"Content-Length: 100000\r\nExpect: 100-continue", "Content-Length: 100000\r\nConnection: close"} {
				all.Add(1)
				go func() {
					defer all.Done()
					conn := dial()
					fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", request, header)
					go func() {
						for {
							if _, err := conn.Write([]byte("x")); err != nil {
								return
							}
							time.Sleep(timeout / 4) // the attack itself
						}
					}()
					if _, err := io.Copy(io.Discard, conn); isTimeout(err) {
						t.Errorf("%s, %s, %s: not closed", request, header, over)
					}
				}()
			}
		}
	}
	all.Wait()
}

func isTimeout(err error) bool {
	var failure net.Error
	return errors.As(err, &failure) && failure.Timeout()
}

// TestSlowClientsAreWaitedFor: those that make progress are, at the edge of what
// the options promise: what a handler reads may come in parts that take nearly
// ten times ConnectionTimeout together, and what nobody reads in parts that take
// nearly one each.
func TestSlowClientsAreWaitedFor(t *testing.T) {
	const timeout = 10 // seconds
	server, dialers := bothOf(t, aerys.Options{ConnectionTimeout: timeout * time.Second}, aerys.Router().
		Post("/read", func(req *aerys.Request, res *aerys.Response) {
			n, err := io.Copy(io.Discard, req.Body())
			res.End(fmt.Sprint(n, " ", err))
		}).
		Post("/ignore", says("4 <nil>")))
	for _, test := range []struct {
		path   string
		parts  int
		pause  int // seconds
		header string
	}{
		{"/read", 2, 4 * timeout, "Content-Length: 4"},
		{"/read", 2, 4 * timeout, "Content-Length: 4\r\nExpect: 100-continue"},
		{"/ignore", 4, timeout - 2, "Content-Length: 4"},
	} {
		for over, dial := range dialers {
			conn := dial()
			fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", test.path, test.header)
			for range test.parts {
				aerys.Pass(server, test.pause)
				io.WriteString(conn, strings.Repeat("x", 4/test.parts))
			}
			answer, err := final(bufio.NewReader(conn))
			if err != nil || answer.Close || bodyOf(answer) != "4 <nil>" {
				t.Errorf("%s, %s, %s: %+v, %v", test.path, test.header, over, answer, err)
			}
		}
	}
}

// TestUploadsOverHTTP2: no limit of HTTP/1's is there for what is sent over HTTP/2.
func TestUploadsOverHTTP2(t *testing.T) {
	t.Parallel()
	const timeout = 100 * time.Millisecond
	_, addresses := serve(t, aerys.Options{ConnectionTimeout: timeout}, new(aerys.Host).Expose("127.0.0.1", 0).
		Use(func(req *aerys.Request, res *aerys.Response) {
			n, err := io.Copy(io.Discard, req.Body())
			res.End(fmt.Sprint(req.Proto, " ", n, " ", err))
		}))
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	body, writer := io.Pipe()
	go func() {
		for range 3 {
			time.Sleep(5 * timeout)
			io.WriteString(writer, "x")
		}
		writer.Close()
	}()
	response, err := (&http.Client{Transport: transport}).Post("http://"+addresses[0].String(), "", body)
	if err != nil {
		t.Fatal(err)
	}
	is(t, bodyOf(response), "HTTP/2.0 3 <nil>")
}

// TestHoldersMakeRoom: as many as there may be connections do not keep others
// out for longer than ConnectionTimeout lets them.
func TestHoldersMakeRoom(t *testing.T) {
	t.Parallel()
	const most = 500
	const timeout = 500 * time.Millisecond
	_, addresses := serve(t, aerys.Options{MaxConnections: most, ConnectionTimeout: timeout},
		new(aerys.Host).Name("a").Expose("127.0.0.1", 0).Use(bodyless(t)...))
	for n := range most {
		conn, err := net.Dial("tcp", addresses[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		ways := []string{"GET /large", "GET /flush", "GET /file", "OPTIONS *", "POST http://b/", "POST /abort", "POST /close"}
		fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n", ways[n%len(ways)])
	}
	for end := time.Now().Add(30 * timeout); !getsIn(addresses[0], end); time.Sleep(timeout / 10) {
		if time.Now().After(end) {
			t.Fatal("nobody else gets in")
		}
	}
}

func getsIn(address net.Addr, end time.Time) bool {
	conn, err := net.Dial("tcp", address.String())
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(end)
	io.WriteString(conn, "GET /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	_, err = http.ReadResponse(bufio.NewReader(conn), nil)
	return err == nil
}

// TestOptionsOfTheServer: "OPTIONS *" is a request like any other (RFC 9110 §9.3.7).
func TestOptionsOfTheServer(t *testing.T) {
	t.Parallel()
	for over, dial := range both(t, aerys.Options{MaxRequestsPerConnection: 3}, says("x")) {
		conn := dial()
		reader := bufio.NewReader(conn)
		for n := 1; n <= 3; n++ {
			io.WriteString(conn, "OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
			answer, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatal(over, err)
			}
			if answer.StatusCode != 200 || answer.ContentLength != 0 || answer.Close != (n == 3) {
				t.Errorf("%s: %+v", over, answer)
			}
		}
		if n, err := reader.Read(make([]byte, 1)); err != io.EOF && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %d, %v", over, n, err)
		}
	}
}

// TestCurlUploads has curl send 50 MB to who does not want them: it reads the
// answer, and sends no more of the file than fits on the way.
func TestCurlUploads(t *testing.T) {
	curl := tool(t, "curl", "apt-get install curl")
	file := sparseFile(t, 50_000_000)
	_, addresses := serve(t, aerys.Options{}, new(aerys.Host).Expose("127.0.0.1", 0).Use(bodyless(t)...))
	for _, test := range []struct {
		path, header, want string
	}{
		{"/401", "", "401 0"}, {"/nowhere", "", "404 0"}, {"/file", "", "405 0"}, {"/small", "", "405 0"},
		{"/401", "Expect:", "401"}, {"/nowhere", "Expect:", "404"}, {"/file", "Expect:", "405"},
	} {
		var output strings.Builder
		run := command(t, curl, "-s", "-S", "-o", "/dev/null", "-w", "%{http_code} %{size_upload}", "-T", file,
			"-H", test.header, "http://"+addresses[0].String()+test.path)
		run.Stdout, run.Stderr = &output, &output
		err := run.Run()
		var failed *exec.ExitError
		if errors.As(err, &failed) && failed.ExitCode() == 55 && test.header != "" {
			continue // it could not send all, and says that: the answer comes last, and it may not have looked
		}
		if err != nil || !strings.HasPrefix(output.String(), test.want) || strings.HasSuffix(output.String(), "50000000") {
			t.Errorf("%s %s: %v, %q", test.path, test.header, err, output.String())
		}
	}
}

// sparseFile makes a file of zeros.
func sparseFile(t *testing.T, size int64) (name string) {
	name = filepath.Join(t.TempDir(), "zeros")
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := file.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return name
}
