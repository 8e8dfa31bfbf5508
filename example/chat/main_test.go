package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"aerys/ws"
)

// visitor is a browser without a page.
type visitor struct {
	*testing.T
	*http.Client
	server string
}

func serve(t *testing.T) (c *chat, visitors func() visitor) {
	c = newChat("a secret", "lobby", "kitchen")
	server := httptest.NewServer(c.host())
	t.Cleanup(server.Close)
	return c, func() visitor {
		jar, _ := cookiejar.New(nil)
		return visitor{t, &http.Client{Jar: jar}, server.URL}
	}
}

// named begins a session.
func (v visitor) named(name string) visitor {
	v.Helper()
	reply, err := v.PostForm(v.server+"/session", url.Values{"name": {name}})
	if err != nil || reply.StatusCode != http.StatusNoContent {
		v.Fatal(name, reply, err)
	}
	return v
}

// window is a WebSocket of a visitor.
type window struct {
	*testing.T
	*ws.Conn
	context.Context
}

func (v visitor) enters(room string) window {
	v.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	v.Cleanup(cancel)
	conn, _, err := ws.Dial(ctx, v.server+"/rooms/"+room, ws.DialOptions{Client: v.Client})
	if err != nil {
		v.Fatal(err)
	}
	v.Cleanup(func() { conn.Close(ws.CodeNormal, "") })
	return window{v.T, conn, ctx}
}

func (w window) says(text string) { w.Write(w.Context, text) }

// sees waits for an event that a test looks for.
func (w window) sees(what string, holds func(event) bool) {
	w.Helper()
	for {
		text, _, err := w.Read(w.Context)
		if err != nil {
			w.Fatalf("%s: %v", what, err)
		}
		var e event
		if json.Unmarshal(text, &e); holds(e) {
			return
		}
	}
}

func (w window) hears(texts ...string) {
	w.Helper()
	w.sees(strings.Join(texts, ", "), func(e event) bool {
		return slices.EqualFunc(e.Messages, texts, func(m message, text string) bool { return m.Name+": "+m.Text == text })
	})
}

func (w window) meets(names ...string) {
	w.Helper()
	w.sees(strings.Join(names, ", "), func(e event) bool { return slices.Equal(e.People, names) })
}

func TestRooms(t *testing.T) {
	_, visitors := serve(t)
	ann, bob := visitors().named("Ann"), visitors().named("Bob")
	first := ann.enters("lobby")
	first.meets("Ann")
	first.says("Anybody?")
	first.hears("Ann: Anybody?")
	second, elsewhere := bob.enters("lobby"), bob.enters("kitchen")
	second.hears("Ann: Anybody?") // what was said before he came
	first.meets("Ann", "Bob")
	elsewhere.meets("Bob")
	second.says("Me!")
	first.hears("Bob: Me!")
	second.Close(ws.CodeNormal, "")
	first.meets("Ann")
}

func TestPace(t *testing.T) {
	_, visitors := serve(t)
	window := visitors().named("Ann").enters("lobby")
	for range 6 {
		window.says("and")
	}
	window.sees("a notice", func(e event) bool { return strings.Contains(e.Notice, "Not so fast") })
}

func TestNoMoreIsRememberedThanIsShown(t *testing.T) {
	r := new(room)
	for range remembered + 10 {
		r.say("Ann", "and")
	}
	if n := len(r.said); n != remembered || !slices.IsSortedFunc(r.said, func(a, b message) int { return int(a.ID - b.ID) }) {
		t.Errorf("%d are remembered", n)
	}
}

func TestSessions(t *testing.T) {
	c, visitors := serve(t)
	for _, test := range []struct {
		name, cookie string
		status       int
	}{
		{"a stranger", "", 403},
		{"forged", "QW5u", 403},
		{"somebody else's", (&chat{secret: []byte("guessed")}).cookieOf("Ann"), 403},
		{"a visitor", c.cookieOf("Ann"), 101},
	} {
		v := visitors()
		_, reply, err := ws.Dial(t.Context(), v.server+"/rooms/lobby", ws.DialOptions{Header: http.Header{"Cookie": {"session=" + test.cookie}}})
		if reply == nil || reply.StatusCode != test.status {
			t.Errorf("%s: %v, %v", test.name, reply, err)
		}
	}
	for name, status := range map[string]int{"": 400, " \t": 400, strings.Repeat("é", 20): 204, strings.Repeat("é", 21): 400, strings.Repeat("x", 2000): 400} {
		v := visitors()
		reply, err := v.PostForm(v.server+"/session", url.Values{"name": {name}})
		if err != nil || reply.StatusCode != status {
			t.Errorf("%q: %v, %v", name, reply, err)
		}
	}
	v := visitors().named("Ann")
	request, _ := http.NewRequest("DELETE", v.server+"/session", nil)
	v.Do(request)
	reply, _ := v.Get(v.server + "/session")
	if text, _ := io.ReadAll(reply.Body); !strings.Contains(string(text), `"Name":""`) {
		t.Errorf("who left is %s", text)
	}
}

func (c *chat) cookieOf(name string) string { return encoded(c.signed(name)) }
