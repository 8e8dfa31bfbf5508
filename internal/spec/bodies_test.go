package spec

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"aerys"
	"aerys/static"
)

// bodyless are handlers that do not read a body, each by its path.
func bodyless(t *testing.T) []aerys.Action {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), make([]byte, 100<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	actions := map[string]aerys.Action{
		"/small":    says("x"),
		"/large":    says(strings.Repeat("x", 10_000)),
		"/401":      refusing(401, 10),
		"/large401": refusing(401, 100_000),
		"/abort":    func(*aerys.Request, *aerys.Response) { panic(http.ErrAbortHandler) },
		"/panic":    func(*aerys.Request, *aerys.Response) { panic("x") },
		"/flush":    func(_ *aerys.Request, res *aerys.Response) { res.Flush(); res.End("x") },
		"/close": func(w http.ResponseWriter, r *http.Request) {
			defer r.Body.Close()
			http.Error(w, "want JSON", 415)
		},
		"/duplex": func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).EnableFullDuplex()
			io.WriteString(w, "x")
		},
		"/forever": func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).SetReadDeadline(time.Time{})
		},
		"/read": func(req *aerys.Request, res *aerys.Response) {
			_, err := io.Copy(io.Discard, req.Body(-1))
			res.SetStatus(400).End(fmt.Sprint(err))
		},
	}
	router := aerys.Router().Post("/post", says("x")).Put("/401", refusing(401, 10))
	for path, action := range actions {
		for _, method := range []string{"GET", "POST"} {
			router.Route(method, path, action)
		}
	}
	return []aerys.Action{router, static.Root(dir)}
}

func refusing(status, size int) func(*aerys.Request, *aerys.Response) {
	return func(_ *aerys.Request, res *aerys.Response) { res.SetStatus(status).End(strings.Repeat("x", size)) }
}

// TestEarlyAnswers has clients that wait for an answer before they send (more
// of) a body: an error comes at once, and where leave to send was asked for any
// answer; likewise where more than 256 KiB would have to be read. Such an answer
// is the connection's last.
func TestEarlyAnswers(t *testing.T) {
	t.Parallel()
	_, dialers := both(t, run, aerys.Options{ConnectionTimeout: time.Minute}, bodyless(t)...)
	var all sync.WaitGroup
	for _, test := range []struct {
		request, body string
		status        int
	}{
		{"POST /401", "Content-Length: 10", 401},
		{"POST /401", "Transfer-Encoding: chunked", 401},
		{"POST /401", "Content-Length: 50000000", 401},
		{"POST /large401", "Content-Length: 10", 401},
		{"POST /nowhere", "Content-Length: 10", 404},
		{"POST /file", "Content-Length: 10", 405},
		{"PUT /small", "Content-Length: 10", 405},
		{"TRACE /small", "Content-Length: 10", 405},
		{"BREW /small", "Content-Length: 10", 501},
		{"POST http://b/", "Content-Length: 10", 400},
		{"POST /close", "Content-Length: 10", 415},
		{"POST /panic", "Content-Length: 10", 500},
		{"POST /small", "Content-Length: 300000", 200},
		{"POST /large", "Content-Length: 300000", 200},
		{"POST /flush", "Content-Length: 300000", 200},
		{"GET /file", "Content-Length: 300000", 200},
		{"OPTIONS *", "Content-Length: 300000", 200},
		{"POST /small", "Expect: 100-continue\r\nContent-Length: 1", 200},
		{"POST /large", "Expect: 100-continue\r\nContent-Length: 1", 200},
		{"POST /flush", "Expect: 100-continue\r\nContent-Length: 1", 200},
		{"OPTIONS *", "Expect: 100-continue\r\nContent-Length: 1", 200},
		{"POST /401", "Expect: 100-continue\r\nContent-Length: 10", 401},
		{"POST /401", "Expect: 100-continue\r\nTransfer-Encoding: chunked", 401},
		{"POST /401", "Expect: 100-continue\r\nContent-Length: 50000000", 401},
		{"POST /large401", "Expect: 100-continue\r\nContent-Length: 50000000", 401},
		{"POST /nowhere", "Expect: 100-continue\r\nContent-Length: 10", 404},
		{"POST /file", "Expect: 100-continue\r\nContent-Length: 10", 405},
		{"POST /close", "Expect: 100-continue\r\nContent-Length: 10", 415},
		{"POST /small", "Expect: x\r\nContent-Length: 10", 417},
	} {
		for over, dial := range dialers {
			all.Add(1)
			go func() {
				defer all.Done()
				conn := dial()
				defer conn.Close()
				fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n", test.request, test.body)
				answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil || answer.StatusCode != test.status || !answer.Close {
					t.Errorf("%s, %s, %s: %+v, %v", test.request, test.body, over, answer, err)
				}
			}()
		}
	}
	all.Wait()
}

// TestBodiesOnTheirWay: a connection goes on where the rest of a body, which no
// handler reads, comes in time. Who is refused before all of it is there gets the
// answer, and may have to connect again.
func TestBodiesOnTheirWay(t *testing.T) {
	t.Parallel()
	_, dialers := both(t, run, aerys.Options{ConnectionTimeout: time.Minute}, bodyless(t)...)
	for over, dial := range dialers {
		for _, path := range []string{"/small", "/large", "/401", "/large401", "/nowhere", "/close", "/panic", "/file", "/duplex", "/forever"} {
			for _, size := range []int{10, 20_000, 200_000} {
				conn := dial()
				reader := bufio.NewReader(conn)
				for range 2 {
					if conn == nil {
						conn = dial()
						reader.Reset(conn)
					}
					fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", path, size)
					io.WriteString(conn, strings.Repeat("x", size))
					answer, err := http.ReadResponse(reader, nil)
					if err != nil {
						t.Fatalf("%s of %d bytes, %s: %v", path, size, over, err)
					}
					io.Copy(io.Discard, answer.Body)
					if answer.Close && answer.StatusCode < 400 {
						t.Errorf("%s of %d bytes, %s: the connection is closed", path, size, over)
					}
					if answer.Close {
						conn.Close()
						conn = nil
					}
				}
				if conn != nil {
					conn.Close()
				}
			}
		}
	}
}

// TestCurlUploads has curl send 50 MB to who does not want them: it reads the
// answer, and sends no more of the file than fits on the way.
func TestCurlUploads(t *testing.T) {
	curl := tool(t, "curl", "apt-get install curl")
	file := sparseFile(t, 50_000_000)
	s := run(t, aerys.Options{}, at(bodyless(t)...))
	for _, test := range []struct {
		path, header, want string
	}{
		{"/401", "", "401 0"}, {"/nowhere", "", "404 0"}, {"/file", "", "405 0"}, {"/small", "", "405 0"},
		{"/401", "Expect:", "401"}, {"/nowhere", "Expect:", "404"}, {"/file", "Expect:", "405"},
	} {
		var output strings.Builder
		run := command(t, curl, "-s", "-S", "-o", "/dev/null", "-w", "%{http_code} %{size_upload}", "-T", file,
			"-H", test.header, s.url()+test.path)
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
