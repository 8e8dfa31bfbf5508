package static

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// letters returns random text of that size.
func letters(size int) string {
	text := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(text)
	for i, c := range text {
		text[i] = 'a' + c%26
	}
	return string(text)
}

// Bodies about the size from which the kernel sends them, whole and in parts.
func TestKept(t *testing.T) {
	for _, size := range []int{fileFrom - 1, fileFrom, fileFrom + 1, 500 << 10} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			content := letters(size)
			files := Root(tree(t, map[string]string{"f.bin": content, "f.txt": content}))
			address := serve(t, files)
			for _, name := range []string{"/f.bin", "/f.txt"} {
				for range 2 {
					check(t, address, []row{
						{"GET " + name, 200, fmt.Sprintf("Content-Length: %d", size), content},
						{"HEAD " + name, 200, fmt.Sprintf("Content-Length: %d", size), ""},
						{"GET " + name + "\nRange: bytes=1-20000", 206, "Content-Length: 20000", content[1:20001]},
						{"GET " + name + "\nRange: bytes=5-", 206, "", content[5:]},
						{"GET " + name + "\nRange: bytes=-30000", 206, "", content[size-30000:]},
					})
				}
			}
			if body := unzip(t, ask(t, address, "GET /f.txt\nAccept-Encoding: gzip")); body != content {
				t.Errorf("gzip: %d bytes", len(body))
			}
			kept := files.cache.get("/f.bin").representations[0].kept.Load()
			if hasFile := kept.file != nil; hasFile != (size >= fileFrom && runtime.GOOS == "linux") {
				t.Errorf("has a file: %v", hasFile)
			}
		})
	}
}

// A body that is given up while it is being sent is sent to its end, and its
// file closed then. Whoever asks later gets the new one.
func TestKeptGivenUp(t *testing.T) {
	content := strings.Repeat(letters(1<<10), 6<<10) // more than a socket takes
	for name, giveUp := range map[string]func(*testing.T, *Files, string){
		"replaced": func(t *testing.T, _ *Files, path string) {
			write(t, path+".new", "new", changed)
			os.Rename(path+".new", path)
		},
		"written to": func(t *testing.T, _ *Files, path string) { write(t, path, "new", changed.Add(hour)) },
		"deleted":    func(t *testing.T, _ *Files, path string) { os.Remove(path) },
		"stopped":    func(t *testing.T, f *Files, _ string) { f.Stop(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := tree(t, map[string]string{"f": content})
			files := Root(dir, Options{CacheEntryTTL: always, BufferedFileMaxSize: 6 << 20, DisableCompression: true})
			address := serve(t, files)
			check(t, address, []row{{"GET /f\nRange: bytes=0-2", 206, "", content[:3]}})
			kept := files.cache.get("/f").representations[0].kept.Load()
			var begun, done sync.WaitGroup
			happened := make(chan struct{})
			for range 3 {
				begun.Add(1)
				done.Add(1)
				go func() {
					defer done.Done()
					if err := halted(address, &begun, happened, content); err != nil {
						t.Error(err)
					}
				}()
			}
			begun.Wait()
			if users := kept.users.Load(); kept.file != nil && users != 4 {
				t.Errorf("%d users", users)
			}
			giveUp(t, files, dir+"/f")
			ask(t, address, "GET /f\nRange: bytes=0-2")
			close(happened)
			done.Wait()
			if kept.file == nil {
				return
			}
			for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
				if _, err := kept.file.Stat(); errors.Is(err, os.ErrClosed) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("the file is open, with %d users", kept.users.Load())
				}
			}
		})
	}
}

// halted asks for /f and reads on only when something has happened.
func halted(address string, begun *sync.WaitGroup, happened <-chan struct{}, want string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		begun.Done()
		return err
	}
	defer conn.Close()
	conn.(*net.TCPConn).SetReadBuffer(32 << 10)
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	io.WriteString(conn, "GET /f HTTP/1.1\r\nHost: localhost\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	begun.Done()
	if err != nil {
		return err
	}
	<-happened
	conn.(*net.TCPConn).SetReadBuffer(1 << 20)
	for part := make([]byte, 64<<10); ; {
		n, err := response.Body.Read(part)
		if !strings.HasPrefix(want, string(part[:n])) {
			return errors.New("something else came")
		}
		if want = want[n:]; err == io.EOF && want == "" {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%d bytes are missing: %w", len(want), err)
		}
	}
}

// Without a place for nameless files, the bytes in memory are sent.
func TestKeptWithoutFile(t *testing.T) {
	content := strings.Repeat("0123456789", 10000)
	files := Root(tree(t, map[string]string{"f": content}))
	t.Setenv("TMPDIR", "/nowhere")
	check(t, serve(t, files), []row{{"GET /f", 200, "", content}})
	if kept := files.cache.get("/f").representations[0].kept.Load(); kept.file != nil && runtime.GOOS == "linux" {
		t.Error("there is a file")
	}
}
