package static

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"aerys"
)

// changed is when files of a tree were changed: long ago, as it seems, so that
// they are kept in memory; and not on the second.
var changed = time.Date(2024, 3, 1, 12, 0, 0, 500_000_000, time.UTC)

// tree makes a directory with files; a name with a slash at the end is that of
// a directory.
func tree(t testing.TB, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "/") {
			os.MkdirAll(path, 0o755)
			continue
		}
		write(t, path, content, changed)
	}
	return dir
}

// write replaces a file in place.
func write(t testing.TB, path, content string, modified time.Time) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, modified, modified); err != nil {
		t.Fatal(err)
	}
}

// serve runs a server with the actions and returns its address.
func serve(t testing.TB, actions ...aerys.Action) (address string) {
	t.Helper()
	ready, done := make(chan string, 1), make(chan error, 1)
	ctx, stop := context.WithCancel(context.Background())
	server := &aerys.Server{
		Options: aerys.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), MaxHeaderSize: 2 << 20},
		Hosts:   []*aerys.Host{new(aerys.Host).Expose("127.0.0.1", 0).Use(actions...)},
		Ready:   func(addresses []net.Addr) { ready <- addresses[0].String() },
	}
	go func() { done <- server.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		<-done
	})
	select {
	case address = <-ready:
	case err := <-done:
		done <- err
		t.Fatal(err)
	}
	return address
}

// reply is a response with its whole body.
type reply struct {
	*http.Response
	body string
	err  error // of reading the body
}

// ask sends a request, its first line and fields separated by "\n", as it is.
func ask(t testing.TB, address, request string) reply {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(2 * time.Minute))
	first, fields, _ := strings.Cut(request, "\n")
	if !strings.Contains(first, "HTTP/") {
		first += " HTTP/1.1"
	}
	lines := first + "\r\nHost: localhost\r\nConnection: close\r\n"
	if fields != "" {
		lines += strings.ReplaceAll(fields, "\n", "\r\n") + "\r\n"
	}
	if _, err := io.WriteString(conn, lines+"\r\n"); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(first, " ")
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return reply{Response: new(http.Response), err: err}
	}
	var body bytes.Buffer
	_, err = body.ReadFrom(response.Body)
	return reply{response, body.String(), err}
}

// row is a request and what must be answered: a status, fields ("Name: value",
// or "Name:" for one that must be absent), and a body where it is not "*".
type row struct {
	request string
	status  int
	fields  string
	body    string
}

// check asks for every row. {etag} and the like are replaced first.
func check(t *testing.T, address string, rows []row, replacements ...string) {
	t.Helper()
	replace := strings.NewReplacer(replacements...).Replace
	for _, row := range rows {
		got := ask(t, address, replace(row.request))
		if got.err != nil {
			t.Errorf("%s: %v", row.request, got.err)
			continue
		}
		if got.StatusCode != row.status {
			t.Errorf("%s: status %d, want %d", row.request, got.StatusCode, row.status)
		}
		if want := replace(row.body); row.body != "*" && got.body != want {
			t.Errorf("%s: body %.200q, want %.200q", row.request, got.body, want)
		}
		for line := range strings.Lines(row.fields) {
			name, want, _ := strings.Cut(strings.TrimSpace(line), ":")
			if value := strings.Join(got.Header.Values(name), ", "); value != replace(strings.TrimSpace(want)) {
				t.Errorf("%s: %s is %q, want %q", row.request, name, value, replace(strings.TrimSpace(want)))
			}
		}
	}
}

// next answers what falls through.
func next(_ *aerys.Request, res *aerys.Response) { res.SetStatus(404).End("next") }

// broken is a file system that fails.
type broken struct {
	fs.FS
	err error
}

func (b *broken) Open(name string) (fs.File, error) {
	if b.err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: b.err}
	}
	return b.FS.Open(name)
}

// guarded is a file system in which some files and directories may not be read,
// and others not be searched.
type guarded struct {
	fs.FS
	unreadable, unsearchable string // as lists, with a space around each
}

func (g *guarded) denies(list, name string) error {
	if !strings.Contains(list, " "+name+" ") {
		return nil
	}
	return &fs.PathError{Op: "open", Path: name, Err: syscall.EACCES}
}

func (g *guarded) Open(name string) (fs.File, error) {
	if err := g.denies(g.unreadable+g.unsearchable, name); err != nil {
		return nil, err
	}
	return g.FS.Open(name)
}

func (g *guarded) Stat(name string) (fs.FileInfo, error) {
	if err := g.denies(g.unsearchable, name); err != nil {
		return nil, err
	}
	return fs.Stat(g.FS, name)
}

// journal is a log that is read while others may write to it.
type journal struct {
	mutex sync.Mutex
	text  strings.Builder
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

func (j *journal) Write(p []byte) (int, error) {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mutex.Lock()
	defer j.mutex.Unlock()
	return j.text.String()
}
