package aerys_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"aerys"
)

// Each event of a stream of server-sent events is flushed; the stream ends when
// the client leaves.
func ExampleResponse_Flush() {
	clock := func(req *aerys.Request, res *aerys.Response) {
		res.SetHeader("Content-Type", "text/event-stream").SetHeader("Cache-Control", "no-store")
		for req.Context().Err() == nil {
			fmt.Fprintf(res, "data: %s\n\n", time.Now().Format(time.TimeOnly))
			if res.Flush() != nil {
				return
			}
			select {
			case <-time.After(time.Second):
			case <-req.Context().Done():
			}
		}
	}
	new(aerys.Host).Use(aerys.Router().Get("/clock", clock))
}

// shout is middleware that rewrites bodies.
func shout(next aerys.Handler) aerys.Handler { return shouting{next} }

type shouting struct{ next aerys.Handler }

func (s shouting) Serve(req *aerys.Request, res *aerys.Response) {
	res.Filter(func(w io.Writer) io.WriteCloser { return capitals{w} })
	s.next.Serve(req, res)
}

type capitals struct{ io.Writer }

func (c capitals) Write(p []byte) (int, error) { return c.Writer.Write(bytes.ToUpper(p)) }
func (c capitals) Close() error                { return nil }

func ExampleResponse_Filter() {
	host := new(aerys.Host).Use(shout, func(req *aerys.Request, res *aerys.Response) { res.End("hello") })

	answer := httptest.NewRecorder()
	host.ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
	fmt.Println(answer.Body)
	// Output: HELLO
}

// The browser is told of the style sheet before it has seen the page.
func ExampleResponse_Push() {
	host := new(aerys.Host).Use(func(req *aerys.Request, res *aerys.Response) {
		res.Push("/style.css", nil).End("<link rel=stylesheet href=/style.css>")
	})

	answer := httptest.NewRecorder()
	host.ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
	fmt.Println(answer.Header().Get("Link"))
	// Output: </style.css>; rel=preload
}

// A visitor is known by a cookie that scripts cannot read.
func ExampleResponse_SetCookie() {
	host := new(aerys.Host).Use(func(req *aerys.Request, res *aerys.Response) {
		if name := req.CookieValue("name"); name != "" {
			res.End("Welcome back, " + name + "!")
			return
		}
		res.SetCookie(&http.Cookie{Name: "name", Value: "Ann", HttpOnly: true, SameSite: http.SameSiteLaxMode}).End("Welcome!")
	})

	request := httptest.NewRequest("GET", "/", nil)
	first, second := httptest.NewRecorder(), httptest.NewRecorder()
	host.ServeHTTP(first, request)
	request.AddCookie(first.Result().Cookies()[0])
	host.ServeHTTP(second, request)
	fmt.Println(first.Body, second.Body)
	// Output: Welcome! Welcome back, Ann!
}

func ExampleRequest_ParseBody() {
	host := new(aerys.Host).Use(func(req *aerys.Request, res *aerys.Response) {
		form, err := req.ParseBody()
		if err != nil {
			return // 413 if it was too large
		}
		res.End(form.Get("greeting"), ", ", strings.Join(form.All("name"), " and "))
	})

	answer := httptest.NewRecorder()
	request := httptest.NewRequest("POST", "/", strings.NewReader("greeting=Hi&name=Ann&name=Bob"))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	host.ServeHTTP(answer, request)
	fmt.Println(answer.Body)
	// Output: Hi, Ann and Bob
}

// An upload of up to a gigabyte, none of which is held in memory.
func ExampleRequest_Fields() {
	upload := func(req *aerys.Request, res *aerys.Response) {
		for field, err := range req.Fields(1 << 30) {
			if err != nil {
				res.SetStatus(http.StatusBadRequest).End(err.Error())
				return
			}
			size, err := io.Copy(io.Discard, field.Limit(100<<20))
			if err != nil {
				return // 413 if it was more than 100 MiB
			}
			fmt.Fprintln(res, field.Name, field.Filename, size)
		}
	}
	new(aerys.Host).Use(aerys.Router().Post("/upload", upload))
}
