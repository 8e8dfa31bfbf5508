package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// files are what is served, by name and size: the beginning of all.
var files = map[string]int{"small": 1 << 10, "medium": 100 << 10, "large": 4 << 20}

var all = newWire(4<<20, false).payload

// writeFiles makes a directory with the files in it.
func writeFiles() (dir string) {
	dir, err := os.MkdirTemp("", "versus")
	must(err)
	for name, size := range files {
		must(os.WriteFile(filepath.Join(dir, name+".bin"), all[:size], 0o600))
	}
	return dir
}

// visitor is a client that speaks HTTP, on a connection.
type visitor struct {
	*net.TCPConn
	*soaking
	*rand.Rand
	reader *bufio.Reader
	ended  bool // the server has said that it was the last answer
}

func (s *soaking) visit(id int, r *rand.Rand) (*visitor, error) {
	from := &net.TCPAddr{IP: net.IPv4(127, 1, byte(1+id/200%200), byte(1+id%200))}
	c, err := (&net.Dialer{LocalAddr: from, Timeout: 30 * time.Second}).Dial("tcp", s.addr)
	s.connections.Add(1)
	if err != nil {
		return nil, err
	}
	return &visitor{c.(*net.TCPConn), s, r, bufio.NewReaderSize(c, 1024), false}, nil
}

func (v *visitor) Read(p []byte) (int, error) { return v.reader.Read(p) }

// leave closes the connection, or resets it.
func (v *visitor) leave() {
	if v.IntN(3) == 0 {
		v.abort()
	}
	v.Close()
}

func (v *visitor) abort() {
	v.aborts.Add(1)
	v.SetLinger(0)
	v.Close()
}

// speakHTTP is one connection of a client of HTTP: of thirty, one follows events,
// one reads slowly, one does not read, two stop in the middle of what they send,
// and the others go from page to page.
func (s *soaking) speakHTTP(id int, r *rand.Rand) error {
	v, err := s.visit(id, r)
	if err != nil {
		return err
	}
	defer v.Close()
	v.SetDeadline(time.Now().Add(10 * time.Minute))
	switch id / 10 % 30 {
	case 0, 1, 2:
		count := 1 + v.IntN(100)
		return v.follow(count, v.IntN(2*count))
	case 3:
		return v.readSlowly()
	case 4:
		return v.readNothing()
	case 5, 6:
		return v.stop()
	}
	return v.browse()
}

// exchange is a request, and what is to be answered.
type exchange struct {
	request string
	status  int
	body    []byte
}

// choose makes a request.
func (v *visitor) choose() exchange {
	switch v.IntN(6) {
	case 0, 1, 2:
		return exchange{"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n", 200, []byte(helloText)}
	case 3:
		name := []string{"small", "medium", "large"}[min(v.IntN(100)/49, 2)]
		from := v.IntN(files[name])
		to := from + 1 + v.IntN(files[name]-from)
		return exchange{fmt.Sprintf("GET /%s.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=%d-%d\r\n\r\n", name, from, to-1), 206, all[from:to]}
	case 4:
		name := []string{"small", "medium"}[v.IntN(2)]
		return exchange{"GET /" + name + ".bin HTTP/1.1\r\nHost: a\r\n\r\n", 200, all[:files[name]]}
	}
	body := all[v.IntN(1000):][:1+v.IntN(1<<v.IntN(17))]
	framed := fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
	if v.IntN(2) == 0 {
		framed = fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	}
	return exchange{"POST /post HTTP/1.1\r\nHost: a\r\n" + framed, 200, body}
}

// browse asks for things, some of them in one go, and wants them all.
func (v *visitor) browse() error {
	for v.living() && !v.ended {
		v.SetDeadline(time.Now().Add(time.Minute))
		due := []exchange{v.choose()}
		for v.IntN(3) == 0 {
			due = append(due, v.choose())
		}
		var requests strings.Builder
		for _, x := range due {
			requests.WriteString(x.request)
		}
		if v.IntN(30) == 0 { // leaves in the middle of it
			io.WriteString(v, requests.String()[:v.IntN(requests.Len())])
			v.abort()
			return nil
		}
		go io.WriteString(v, requests.String()) // a failure shows when reading
		for _, x := range due {
			if err := v.expect(x); err != nil {
				return err
			}
			if v.ended {
				return nil // the server may, and says so; the rest is not answered
			}
		}
		if v.IntN(20) == 0 {
			break
		}
		v.rest(10 * time.Second)
	}
	v.leave()
	return nil
}

// expect reads an answer and compares it with what is due.
func (v *visitor) expect(x exchange) error {
	what, _, _ := strings.Cut(x.request, " HTTP")
	response, err := http.ReadResponse(v.reader, nil)
	if err != nil {
		v.lost.Add(1)
		return fmt.Errorf("%s: no answer: %w", what, err)
	}
	body, err := io.ReadAll(response.Body)
	v.ended = response.Close
	v.answers.Add(1)
	switch {
	case err != nil:
		v.lost.Add(1)
		return fmt.Errorf("%s: %d bytes of %d: %w", what, len(body), len(x.body), err)
	case response.StatusCode != x.status:
		return fmt.Errorf("%s: %s: %.100q", what, response.Status, body)
	case !bytes.Equal(body, x.body):
		return fmt.Errorf("%s: %d other bytes than the %d that are due", what, len(body), len(x.body))
	}
	return nil
}

// follow reads events, which are numbered, until the last, or leaves before one.
func (v *visitor) follow(count, leave int) error {
	fmt.Fprintf(v, "GET /events?count=%d HTTP/1.1\r\nHost: a\r\n\r\n", count)
	response, err := http.ReadResponse(v.reader, nil)
	if err != nil {
		v.lost.Add(1)
		return fmt.Errorf("events: %w", err)
	}
	lines := bufio.NewScanner(response.Body)
	for number := 0; number < count; number++ {
		if number == leave || !v.living() {
			v.abort()
			return nil
		}
		lines.Scan()
		if want := fmt.Sprint("data: ", number); lines.Text() != want {
			v.lost.Add(1)
			return fmt.Errorf("events: %q instead of %q of %d: %v", lines.Text(), want, count, lines.Err())
		}
		lines.Scan() // the empty line
		v.events.Add(1)
	}
	if lines.Scan() || lines.Err() != nil {
		return fmt.Errorf("events: %q behind the last one: %v", lines.Text(), lines.Err())
	}
	v.leave()
	return nil
}

// readSlowly takes a little of a file now and then, and wants all of it.
func (v *visitor) readSlowly() error {
	v.deaf.Add(1)
	v.SetReadBuffer(4096)
	io.WriteString(v, "GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n")
	response, err := http.ReadResponse(v.reader, nil)
	if err != nil {
		v.lost.Add(1)
		return fmt.Errorf("slowly: %w", err)
	}
	for at, some := 0, make([]byte, 64<<10); at < files["large"]; time.Sleep(time.Duration(v.Int64N(int64(time.Second)))) {
		if !v.living() {
			v.abort()
			return nil
		}
		n, err := io.ReadFull(response.Body, some)
		if !bytes.Equal(some[:n], all[at:][:n]) {
			return errors.New("slowly: other bytes")
		}
		if at += n; err != nil {
			v.lost.Add(1)
			return fmt.Errorf("slowly: %d bytes: %w", at, err)
		}
	}
	v.answers.Add(1)
	v.leave()
	return nil
}

// readNothing asks for more than sockets take, and goes away.
func (v *visitor) readNothing() error {
	v.turnDeaf(v)
	for range 8 {
		io.WriteString(v, "GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	v.rest(time.Minute)
	v.abort()
	return nil
}

// stop sends the beginning of a request and then nothing. The server ends that,
// a head in a minute; who sends half of a body has longer, and leaves before.
func (v *visitor) stop() error {
	v.halves.Add(1)
	x := v.choose()
	head := strings.Index(x.request, "\r\n\r\n") + 3
	if v.IntN(2) == 0 {
		io.WriteString(v, x.request[:v.IntN(head)])
		v.SetReadDeadline(time.Now().Add(min(2*time.Minute, time.Until(v.deadline))))
		if _, err := v.reader.ReadByte(); err == nil || os.IsTimeout(err) && v.living() {
			return fmt.Errorf("half a head was answered, or kept for two minutes: %v", err)
		}
		return nil
	}
	io.WriteString(v, x.request[:head+v.IntN(len(x.request)-head)])
	v.rest(time.Minute)
	v.leave()
	return nil
}

// rest does nothing for a while.
func (v *visitor) rest(atMost time.Duration) {
	time.Sleep(max(0, min(time.Until(v.deadline), time.Duration(v.Int64N(int64(atMost))))))
}
