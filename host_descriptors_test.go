//go:build unix

package aerys

import (
	"bufio"
	"errors"
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
)

// TestFewFilesProgram is no test but the program that those below start: it may
// have few files open, and opens one for each request.
func TestFewFilesProgram(t *testing.T) {
	files, err := strconv.ParseUint(os.Getenv("TEST_FEW_FILES"), 10, 32)
	if err != nil {
		return
	}
	limit := few(files)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	name := os.Getenv("TEST_FILM")
	err = Run(new(Host).Expose("127.0.0.1", 0).Use(func(_ *Request, res *Response) {
		file, err := os.Open(name)
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
	}))
	t.Fatal(err)
}

// few returns a limit, whose fields are not of one type on all systems.
func few(files uint64) (limit syscall.Rlimit) {
	fields := reflect.ValueOf(&limit).Elem()
	for i := range fields.NumField() {
		fields.Field(i).Set(reflect.ValueOf(files).Convert(fields.Field(i).Type()))
	}
	return limit
}

// startFewFiles starts that program, and returns its address and what it logs.
func startFewFiles(t *testing.T, files int, filmSize int64) (address string, log *safeBuffer) {
	t.Helper()
	film, _ := randomFile(t, 0)
	if err := film.Truncate(filmSize); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(os.Args[0], "-test.run=^TestFewFilesProgram$")
	command.Env = append(os.Environ(), "TEST_FEW_FILES="+strconv.Itoa(files), "TEST_FILM="+film.Name())
	log = new(safeBuffer)
	command.Stderr = log
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		command.Process.Kill()
		command.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(line, "localhost:")
	return "127.0.0.1:" + strings.Trim(port, "/\n"), log
}

// TestDownloadsUnderALowLimit has more clients at once ask for a file than may
// be open: those that the server takes get all of it, and the others know at
// once that they do not.
func TestDownloadsUnderALowLimit(t *testing.T) {
	const clients, least, filmSize = 200, 60, 5 << 20 // more than sockets take
	address, log := startFewFiles(t, 256, filmSize)
	download(t, clients, least, log, func() (*http.Response, error) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { conn.Close() })
		conn.(*net.TCPConn).SetReadBuffer(64 << 10)
		conn.SetDeadline(time.Now().Add(time.Minute))
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		return http.ReadResponse(bufio.NewReader(conn), nil)
	})
}

// download has clients ask, and read when each is served or refused. At least
// so many are to be served, and not all.
func download(t *testing.T, clients, least int64, log *safeBuffer, ask func() (*http.Response, error)) {
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
	address, log := startFewFiles(t, 256, filmSize)
	transport := &http.Transport{Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10}}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	if first, err := client.Get("http://" + address); err != nil { // for one connection to be there
		t.Fatal(err)
	} else {
		io.Copy(io.Discard, first.Body)
	}
	download(t, clients, least, log, func() (*http.Response, error) { return client.Get("http://" + address) })
}

// TestConnectionFiles has in each row a limit of open files, and how many
// connections there can be by default, before and after they are upgraded.
func TestConnectionFiles(t *testing.T) {
	for _, test := range []struct{ files, plain, upgraded int }{
		{0, 10000, 20000},
		{64, 1, 2},
		{256, 96, 192},
		{1024, 429, 858},
		{20_000, 9712, 19_424},
		{1 << 20, 524_000, 1_048_000},
	} {
		c := &connections{each: filesEach, limit: connectionFiles(test.files), options: &Options{}}
		plain, upgraded := 0, 0
		for c.room(c.each) {
			plain++
		}
		for c.weight.Store(0); c.room(c.each); upgraded++ {
			c.weight.Add(1 - c.each)
		}
		if plain != test.plain || upgraded < test.upgraded-1 || upgraded > test.upgraded {
			t.Errorf("%d files: %d connections, %d upgraded", test.files, plain, upgraded)
		}
	}
}
