package main

import (
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// TestMain lets start run the test's program as a server.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		serve(os.Args[2:])
	}
	os.Exit(m.Run())
}

func TestServersPass(t *testing.T) {
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			for _, test := range cases {
				plain := !strings.HasSuffix(s.name, encrypted) // the load knows TLS only when idle
				if idle := strings.HasPrefix(test.name, "idle"); test.only != "" || !plain && !idle {
					continue
				}
				test.conns = min(test.conns, 20)
				if err := passes(s.name, comparison{duration: 10 * time.Millisecond}, test); err != nil {
					t.Errorf("%s: %v", test.name, err)
				}
			}
		})
	}
}

// passes runs a case, with others' servers up to three times: nbio drops a
// connection now and then instead of answering its close frame.
func passes(name string, c comparison, test testCase) (err error) {
	for tries := 0; tries < 3; tries++ {
		if _, err = c.once(test, name); err == nil || strings.HasPrefix(name, "aerys") {
			break
		}
	}
	return err
}

func TestHTTPServersPass(t *testing.T) {
	for _, s := range httpServers {
		for _, test := range httpCases {
			c := comparison{duration: 100 * time.Millisecond}
			if _, err := c.once(test, s.name); err != nil {
				t.Errorf("%s, %s: %v", s.name, test.name, err)
			}
		}
	}
}

// TestFaultsAreFound has a server that spoils the tenth message.
func TestFaultsAreFound(t *testing.T) {
	for name, spoil := range map[string]func(b []byte) [][]byte{
		"lost":      func(b []byte) [][]byte { return nil },
		"doubled":   func(b []byte) [][]byte { return [][]byte{b, b} },
		"shortened": func(b []byte) [][]byte { return [][]byte{b[:len(b)-1]} },
		"changed":   func(b []byte) [][]byte { return [][]byte{append(b[:len(b)-1:len(b)-1], b[len(b)-1]^1)} },
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := new(websocket.Upgrader).Upgrade(w, r, nil)
			for number := 1; err == nil; number++ {
				var b []byte
				_, b, err = c.ReadMessage()
				replies := [][]byte{b}
				if number == 10 {
					replies = spoil(b)
				}
				for _, reply := range replies {
					c.WriteMessage(websocket.BinaryMessage, reply)
				}
			}
		}))
		err := func() (err error) {
			defer catch(&err)
			p := &process{pid: os.Getpid(), addr: server.Listener.Addr().String()}
			l := newLoad(testCase{path: "/", conns: 1, size: 16, inFlight: 4}, p, 50*time.Millisecond)
			defer l.close()
			l.echo()
			return nil
		}()
		if err == nil || !strings.Contains(err.Error(), "client 0: message ") {
			t.Errorf("%s: found %v", name, err)
		}
		server.Close()
	}
}

func TestOrderAndContentAreChecked(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := new(websocket.Upgrader).Upgrade(w, r, nil); err == nil {
			for _, number := range []int{1, 2, 5, 4} {
				c.WriteMessage(websocket.BinaryMessage, message(7, number))
			}
			c.WriteMessage(websocket.BinaryMessage, message(7, 5)[1:])
		}
	}))
	defer server.Close()
	s := &soaking{process: &process{addr: server.Listener.Addr().String()}}
	m, err := s.join("/", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for range 4 {
		if _, _, err := m.next(); err != nil {
			t.Fatal(err)
		}
	}
	if s.lost.Load() != 2 || s.reordered.Load() != 1 {
		t.Errorf("lost %d, reordered %d; want 2 and 1", s.lost.Load(), s.reordered.Load())
	}
	if _, _, err := m.next(); err == nil {
		t.Error("no fault in a message that nobody sent")
	}
}

// TestAnswersAreChecked has a server that answers a page and events, well or badly.
func TestAnswersAreChecked(t *testing.T) {
	for name, test := range map[string]struct {
		answer string
		fault  bool
	}{
		"right":                {"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, World!", false},
		"another byte":         {"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, world!", true},
		"not all":              {"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello", true},
		"more":                 {"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nHello, World!!", true},
		"another status":       {"HTTP/1.1 203 OK\r\nContent-Length: 13\r\n\r\nHello, World!", true},
		"none":                 {"", true},
		"events":               {"HTTP/1.1 200 OK\r\n\r\ndata: 0\n\ndata: 1\n\n", false},
		"events, one lost":     {"HTTP/1.1 200 OK\r\n\r\ndata: 1\n\n", true},
		"events, the end lost": {"HTTP/1.1 200 OK\r\n\r\ndata: 0\n\n", true},
		"events, more of them": {"HTTP/1.1 200 OK\r\n\r\ndata: 0\n\ndata: 1\n\ndata: 2\n\n", true},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				conn.Write([]byte(test.answer))
				conn.Close()
			}
		}))
		s := &soaking{process: &process{addr: server.Listener.Addr().String()}, deadline: time.Now().Add(time.Minute)}
		v, err := s.visit(1, rand.New(rand.NewPCG(1, 1)))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(name, "events") {
			err = v.follow(2, 3)
		} else {
			io.WriteString(v, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			err = v.expect(exchange{"GET /", 200, []byte("Hello, World!")})
		}
		if (err != nil) != test.fault {
			t.Errorf("%s: found %v", name, err)
		}
		v.Close()
		server.Close()
	}
}
