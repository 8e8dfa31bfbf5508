//go:build unix

package spec

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"aerys"
)

// few returns a limit, whose fields are not of one type on all systems.
func few(files uint64) (limit syscall.Rlimit) {
	fields := reflect.ValueOf(&limit).Elem()
	for i := range fields.NumField() {
		fields.Field(i).Set(reflect.ValueOf(files).Convert(fields.Field(i).Type()))
	}
	return limit
}

// startFewFiles starts a program that may have few files open, and opens one for
// each request for /film. It returns where it listens, and its log.
func startFewFiles(t *testing.T, files int, filmSize int64) (port int, log *buffer) {
	t.Helper()
	film, _ := randomFile(t, 0)
	if err := film.Truncate(filmSize); err != nil {
		t.Fatal(err)
	}
	port, log = freePort(t), new(buffer)
	command := exec.Command(os.Args[0], "-test.run=^TestProgram$")
	command.Env = append(os.Environ(), fmt.Sprint("TEST_PROGRAM_ADDRESS=", port), fmt.Sprint("TEST_PROGRAM_FILES=", files), "TEST_PROGRAM_FILM="+film.Name())
	command.Stderr = log
	startedProgram(t, command)
	return port, log
}

// sendFilm answers with the file that the environment names.
func sendFilm(_ *aerys.Request, res *aerys.Response) {
	file, err := os.Open(os.Getenv("TEST_PROGRAM_FILM"))
	if err != nil {
		panic(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		panic(err)
	}
	res.SetHeader("Content-Length", strconv.FormatInt(info.Size(), 10)).SetHeader("Content-Type", "image/png")
	res.ReadFrom(io.NewSectionReader(file, 0, info.Size()))
}

// TestDownloadsUnderALowLimit has more clients at once ask for a file than may
// be open: those that the server takes get all of it, and the others know at
// once that they do not.
func TestDownloadsUnderALowLimit(t *testing.T) {
	const clients, least, filmSize = 200, 60, 5 << 20 // more than sockets take
	port, log := startFewFiles(t, 256, filmSize)
	download(t, clients, least, log, func() (*http.Response, error) {
		conn, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { conn.Close() })
		conn.(*net.TCPConn).SetReadBuffer(64 << 10)
		conn.SetDeadline(time.Now().Add(time.Minute))
		io.WriteString(conn, "GET /film HTTP/1.1\r\nHost: a\r\n\r\n")
		return http.ReadResponse(bufio.NewReader(conn), nil)
	})
}

// download has clients ask, and read when each is served or refused. At least
// so many are to be served, and not all.
func download(t *testing.T, clients, least int64, log *buffer, ask func() (*http.Response, error)) {
	t.Helper()
	var asked, read sync.WaitGroup
	var served, refused atomic.Int64
	asked.Add(int(clients))
	for range clients {
		read.Add(1)
		go func() {
			defer read.Done()
			response, err := ask()
			asked.Done()
			asked.Wait()
			if err != nil || response.StatusCode == 503 {
				if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("neither served nor refused")
				}
				refused.Add(1)
				return
			}
			if n, err := io.Copy(io.Discard, response.Body); n != response.ContentLength || response.StatusCode != 200 || err != nil {
				t.Errorf("%d, %d bytes, %v", response.StatusCode, n, err)
			}
			served.Add(1)
		}()
	}
	read.Wait()
	if served.Load() < least || refused.Load() == 0 || strings.Contains(log.String(), "too many open files") {
		t.Errorf("%d were served and %d refused; the log: %.2000s", served.Load(), refused.Load(), log)
	}
}

// TestStreamsUnderALowLimit is the same with streams of HTTP/2.
func TestStreamsUnderALowLimit(t *testing.T) {
	const clients, least, filmSize = 200, 60, 200 << 10 // more than a stream's window
	port, log := startFewFiles(t, 256, filmSize)
	client, url := client(t, "HTTP/2"), fmt.Sprintf("http://127.0.0.1:%d/film", port)
	client.Transport.(*http.Transport).HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10}
	if first, err := client.Get(url); err != nil { // for one connection to be there
		t.Fatal(err)
	} else {
		io.Copy(io.Discard, first.Body)
	}
	download(t, clients, least, log, func() (*http.Response, error) { return client.Get(url) })
}
