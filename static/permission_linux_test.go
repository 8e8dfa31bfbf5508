package static

import (
	"log/slog"
	"net/http/httptest"
	"os"
	"runtime"
	"syscall"
	"testing"
)

// What the user that the process runs as may not read, through os.Root: each
// directory on the way has to be readable and searchable, but for the first,
// which is open.
func TestPermissions(t *testing.T) {
	dir := tree(t, map[string]string{"file": "x", "closed": "x", "both/a": "x", "search/a": "x", "read/a": "x", "a.css": "plain", "a.css.gz": "gzip"})
	files := Root(dir, Options{Listing: true, Logger: slog.New(slog.DiscardHandler)})
	for name, mode := range map[string]os.FileMode{"closed": 0, "search": 0o111, "read": 0o444, "both": 0o555, "a.css.gz": 0o200} {
		if err := os.Chmod(dir+"/"+name, mode); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(dir+"/"+name, 0o755)
	}
	asNobody(func() {
		for path, status := range map[string]int{"/file": 200, "/closed": 403, "/both/": 200, "/both/a": 200, "/both/b": 404, "/search/": 403,
			"/search/a": 403, "/read/a": 403, "/read/b": 403, "/a.css": 200, "/": 200} {
			request, recorder := httptest.NewRequest("GET", path, nil), httptest.NewRecorder()
			request.Header.Set("Accept-Encoding", "gzip")
			if files.ServeHTTP(recorder, request); recorder.Code != status || path == "/a.css" && recorder.Body.String() != "plain" {
				t.Errorf("%s: %d, want %d: %s", path, recorder.Code, status, recorder.Body)
			}
		}
	})
}

// asNobody runs f as a user who owns nothing, if it is root's turn: on a thread
// that ends with it.
func asNobody(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if os.Geteuid() == 0 {
			syscall.Setfsuid(65534)
		}
		f()
	}()
	<-done
}
