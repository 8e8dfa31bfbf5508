package static

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"
)

// 100 clients are in the middle of a large file when something happens to it.
// Each gets the old file whole, or notices that it did not.
func TestChangeWhileSending(t *testing.T) {
	const size = 8 << 20
	old, young := strings.Repeat("o", size), strings.Repeat("n", size)
	for _, test := range []struct {
		name   string
		change func(t *testing.T, path string)
		whole  bool
		after  row
	}{
		{"truncated", func(t *testing.T, path string) { os.Truncate(path, 1000) }, false, row{"GET /f", 200, "", old[:1000]}},
		{"written to", func(t *testing.T, path string) { write(t, path, young, changed.Add(hour)) }, false, row{"GET /f", 200, "", young}},
		{"replaced", func(t *testing.T, path string) {
			write(t, path+".new", young, changed)
			os.Rename(path+".new", path)
		}, true, row{"GET /f", 200, "", young}},
		{"deleted", func(t *testing.T, path string) { os.Remove(path) }, true, row{"GET /f", 404, "", "next"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := tree(t, map[string]string{"f": old})
			address := serve(t, Root(dir, Options{CacheEntryTTL: always}), next)
			var begun, done sync.WaitGroup
			happened := make(chan struct{})
			for range 100 {
				begun.Add(1)
				done.Add(1)
				go func() {
					defer done.Done()
					if n, err := slowly(address, &begun, happened); test.whole && (err != nil || n != size) {
						t.Errorf("got %d old bytes, %v", n, err)
					} else if !test.whole && err == nil {
						t.Errorf("took %d old bytes for the file", n)
					}
				}()
			}
			begun.Wait()
			test.change(t, dir+"/f")
			close(happened)
			done.Wait()
			check(t, address, []row{test.after})
		})
	}
}

// slowly asks for /f, reads the body only when something has happened, and
// returns how many bytes of the old file it got.
func slowly(address string, begun *sync.WaitGroup, happened <-chan struct{}) (n int, err error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		begun.Done()
		return 0, err
	}
	defer conn.Close()
	conn.(*net.TCPConn).SetReadBuffer(32 << 10) // so that the server has to wait
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	io.WriteString(conn, "GET /f HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	begun.Done()
	if err != nil {
		return 0, err
	}
	<-happened
	conn.(*net.TCPConn).SetReadBuffer(1 << 20)
	for buffer := make([]byte, 64<<10); err == nil; {
		var k int
		k, err = response.Body.Read(buffer)
		n += bytes.Count(buffer[:k], []byte("o"))
	}
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// Readers meet a writer who changes the tree all the time. No answer is a
// mixture, and an entity tag never stands for two contents.
func TestConcurrent(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := tree(t, map[string]string{"small.txt": "aaaa", "large.txt": "aaaa", "sometimes/index.html": "aaaa"})
	files := Root(dir, Options{CacheEntryTTL: always, CacheEntryMaxCount: 5, BufferedFileMaxCount: 2, Listing: true})
	address := serve(t, files, next)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	var tags sync.Map
	for range 8 {
		readers.Add(1)
		go func() {
			defer readers.Done()
			read(t, address, stop, &tags)
		}()
	}
	for version := range 40 {
		for name, size := range map[string]int{"small.txt": 2000, "large.txt": 600 << 10, "sometimes/index.html": 900} {
			content := strings.Repeat(string('a'+rune(version%26)), size+random.IntN(size))
			os.Mkdir(dir+"/sometimes", 0o755)
			write(t, dir+"/new", content, changed.Add(time.Duration(version)*time.Minute))
			os.Rename(dir+"/new", dir+"/"+name)
		}
		if random.IntN(3) == 0 {
			os.RemoveAll(dir + "/sometimes")
		}
	}
	close(stop)
	readers.Wait()
}

// read asks for all files until stopped.
func read(t *testing.T, address string, stop <-chan struct{}, tags *sync.Map) {
	client := &http.Client{Transport: &http.Transport{}, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	defer client.CloseIdleConnections()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		target := []string{"/small.txt", "/large.txt", "/sometimes/", "/sometimes", "/", fmt.Sprint("/missing", i)}[i%6]
		response, err := client.Get("http://" + address + target)
		if err != nil {
			t.Error(err)
			return
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			t.Errorf("%s: %v", target, err)
			return
		}
		if !strings.HasSuffix(target, ".txt") || response.StatusCode != 200 {
			continue
		}
		content := string(body)
		if content != strings.Repeat(content[:1], len(content)) {
			t.Errorf("%s is a mixture of %d bytes", target, len(content))
		}
		if before, known := tags.LoadOrStore(response.Header.Get("Etag"), content[:1]+fmt.Sprint(len(content))); known &&
			before != content[:1]+fmt.Sprint(len(content)) && !response.Uncompressed {
			t.Errorf("%s: %s stands for two contents", target, response.Header.Get("Etag"))
		}
	}
}

// meddler is a directory in which something happens when a file is read.
type meddler struct {
	fs.FS
	happens func()
}

type meddled struct {
	fs.File
	happens func()
}

func (m meddler) Open(name string) (fs.File, error) {
	file, err := m.FS.Open(name)
	return meddled{file, m.happens}, err
}

func (m meddled) Read(p []byte) (int, error) {
	m.happens()
	return m.File.Read(p)
}

// A small file that changes while it is read into memory is read again, and if
// it never rests it is not served at all.
func TestChangeWhileReading(t *testing.T) {
	for _, content := range []string{"young", "short", "x", "longer", ""} {
		dir := tree(t, map[string]string{"f": "older"})
		times := 0
		files := FS(meddler{os.DirFS(dir), func() {
			if times++; times <= 2 {
				write(t, dir+"/f", content, changed.Add(time.Duration(times)*time.Second))
			}
		}})
		check(t, serve(t, files), []row{{"GET /f", 200, "", content}})
		if n := files.Monitor().(Figures).BufferedFiles; n != 1 {
			t.Errorf("%q: %d files are kept", content, n)
		}
	}
	dir := tree(t, map[string]string{"f": "older"})
	restless := FS(meddler{os.DirFS(dir), func() { write(t, dir+"/f", "young", time.Unix(rand.Int64N(1e9), 0)) }})
	check(t, serve(t, restless, next), []row{{"GET /f", 503, "Retry-After: 1\nEtag:", "*"}})
	if n := restless.Monitor().(Figures).BufferedFiles; n != 0 {
		t.Errorf("%d files are kept", n)
	}
}

// The same for one whose time is not known: its content is compared.
func TestChangeWithoutTime(t *testing.T) {
	file := &fstest.MapFile{Data: []byte("older")}
	opened := 0
	files := FS(meddler{fstest.MapFS{"f": file}, func() {
		if opened++; opened == 3 { // to make the tag, to its end, to keep it
			copy(file.Data, "young")
		}
	}})
	got := ask(t, serve(t, files), "GET /f")
	if got.body != "young" || got.Header.Get("Etag") != contentTag([]byte("young")) {
		t.Errorf("%s for %q", got.Header.Get("Etag"), got.body)
	}
}
