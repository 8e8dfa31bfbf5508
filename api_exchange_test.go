package aerys_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"aerys"
)

// exchangeChecks are about requests and responses.
var exchangeChecks = map[string]func(*testing.T){
	"`getMethod()`, `getUri()`, `getHeader()`, …": func(t *testing.T) {
		got := answer(asked("PUT", "/a?b=c", "", "X", "y"), func(req *aerys.Request, res *aerys.Response) {
			var r *http.Request = req.Request
			fmt.Fprint(res, r.Method, req.Method, " ", req.URL, " ", req.Header.Get("X"), " ", req.RemoteAddr)
		})
		is(t, got.Body, "PUTPUT /a?b=c y 192.0.2.1:1234")
	},
	"`getParam()`, `getParamArray()`, `getAllParams()`": func(t *testing.T) {
		got := answer(asked("GET", "/?a=1&a=2&b=%26", ""), func(req *aerys.Request, res *aerys.Response) {
			fmt.Fprint(res, req.Param("a"), req.Params("a"), req.AllParams(), req.Param("missing"))
		})
		is(t, got.Body, "1[1 2] map[a:[1 2] b:[&]]")
	},
	"`getBody($size)`": func(t *testing.T) {
		for size, want := range map[int64]string{3: "200 abc", 2: "413 too large"} {
			got := answer(asked("POST", "/", "abc"), func(req *aerys.Request, res *aerys.Response) {
				var body io.Reader = req.Body(size)
				if all, err := io.ReadAll(body); errors.Is(err, aerys.ErrBodyTooLarge) {
					res.End("too large")
				} else {
					res.End(string(all))
				}
			})
			is(t, fmt.Sprint(got.Code, " ", got.Body), want)
		}
	},
	"`parseBody($req, $size)`": func(t *testing.T) {
		form := func() *http.Request {
			return asked("POST", "/", "a=1&a=2&b=3", "Content-Type", "application/x-www-form-urlencoded")
		}
		got := answer(form(), func(req *aerys.Request, res *aerys.Response) {
			body, err := req.ParseBody(20)
			fmt.Fprint(res, body.Get("a"), body.All("a"), body.Names(), err)
		})
		is(t, got.Body, "1[1 2] [a b] <nil>")
		got = answer(form(), func(req *aerys.Request, res *aerys.Response) {
			for field, err := range req.Fields(20) {
				value, _ := io.ReadAll(field)
				fmt.Fprintf(res, "%s=%s %v;", field.Name, value, err)
			}
		})
		is(t, got.Body, "a=1 <nil>;a=2 <nil>;b=3 <nil>;")
	},
	"`getCookie()`, `getConnectionInfo()`": func(t *testing.T) {
		got := answer(asked("GET", "/", "", "Cookie", "a=b"), func(req *aerys.Request, res *aerys.Response) {
			fmt.Fprint(res, req.CookieValue("a"), " ", req.Info().Client, " ", req.Info().Encrypted)
		})
		is(t, got.Body, "b 192.0.2.1:1234 false")
	},
	"`getLocalVar()`, `setLocalVar()`": func(t *testing.T) {
		type user struct{}
		got := answer(asked("GET", "/", ""),
			func(req *aerys.Request, res *aerys.Response) { req.SetLocal(user{}, "Ann") },
			func(req *aerys.Request, res *aerys.Response) { fmt.Fprint(res, req.Local(user{})) })
		is(t, got.Body, "Ann")
	},
	"`setStatus()`, `setHeader()`, `addHeader()`, `setCookie()`": func(t *testing.T) {
		got := answer(asked("GET", "/", ""), func(req *aerys.Request, res *aerys.Response) {
			res.SetStatus(201).SetHeader("X", "0").SetHeader("X", "1").AddHeader("X", "2").SetCookie(&http.Cookie{Name: "a", Value: "b"}).End()
		})
		is(t, fmt.Sprint(got.Code, got.Header()["X"], got.Header().Get("Set-Cookie")), "201 [1 2]a=b")
	},
	"`write()`, `flush()`, `end()`": func(t *testing.T) {
		got := answer(asked("GET", "/", ""), func(req *aerys.Request, res *aerys.Response) {
			res.Write([]byte("a"))
			is(t, res.Flush(), "<nil>")
			res.WriteString("b")
			res.End("c")
		})
		is(t, fmt.Sprint(got.Body, got.Flushed), "abc true")
	},
	"`push()`, `state()`": func(t *testing.T) {
		got := answer(asked("GET", "/", ""), func(req *aerys.Request, res *aerys.Response) {
			is(t, res.Push("/style.css", nil).State() == aerys.None, "true")
			res.End()
			is(t, res.State() == aerys.Ended, "true")
		})
		is(t, got.Header().Get("Link"), "</style.css>; rel=preload")
	},
	"`Middleware::do()`, filters": func(t *testing.T) {
		var loud aerys.Middleware = func(next aerys.Handler) aerys.Handler {
			return aerys.HandlerFunc(func(req *aerys.Request, res *aerys.Response) {
				res.Filter(func(w io.Writer) io.WriteCloser { return louder{w} })
				next.Serve(req, res)
			})
		}
		is(t, answer(asked("GET", "/", ""), loud, says("hello")).Body, "HELLO")
	},
	"`redirect($uri, $code)`": func(t *testing.T) {
		got := answer(asked("GET", "/old", ""), http.RedirectHandler("/new", 308))
		is(t, fmt.Sprint(got.Code, got.Header().Get("Location")), "308/new")
	},
	"`router()`": func(t *testing.T) {
		is(t, answer(asked("GET", "/", ""), aerys.Router().Get("/", says("home"))).Body, "home")
		is(t, answer(asked("GET", "/else", ""), aerys.Router().Get("/", says("home")), says("next")).Body, "next")
	},
	"`->route($method, $uri, ...$actions)`, `->get()`, …": func(t *testing.T) {
		router := aerys.Router().Route("ZANZIBAR", "/", says("Zanzibar")).Get("/", says("Get")).Head("/", says("")).
			Post("/", says("Post")).Put("/", says("Put")).Patch("/", says("Patch")).Delete("/", says("Delete")).Options("/", says("Options"))
		for _, name := range []string{"Get", "Post", "Put", "Patch", "Delete", "Options", "Zanzibar"} {
			is(t, answer(asked(strings.ToUpper(name), "/", ""), router).Body, name)
		}
		is(t, answer(asked("HEAD", "/", ""), router).Code, "200")
	},
	"`/{id}`, `/{id:\\d+}`, `/a[/{b}]`, `/a/?`": func(t *testing.T) {
		router := aerys.Router()
		for _, pattern := range []string{"/{id}", `/{id:\d+}`, "/a[/{b}]", "/c/?"} {
			router.Get(pattern, says(pattern))
		}
		for path, want := range map[string]string{"/x": "/{id}", "/42": `/{id:\d+}`, "/a": "/a[/{b}]", "/a/x": "/a[/{b}]", "/c": "/c/?"} {
			is(t, answer(asked("GET", path, ""), router).Body, want)
		}
		is(t, answer(asked("GET", "/c/?q", ""), router).Header().Get("Location"), "/c?q")
	},
	"`$routeArgs[\"id\"]`": func(t *testing.T) {
		router := aerys.Router().Get("/users/{id}", func(req *aerys.Request, res *aerys.Response) { res.End(req.PathValue("id")) })
		is(t, answer(asked("GET", "/users/a%2Fb%20c", ""), router).Body, "a/b c")
	},
	"`->prefix($prefix)`, `->monitor()`": func(t *testing.T) {
		router := aerys.Router().Get("/b", says("b")).Prefix("/a")
		is(t, answer(asked("GET", "/a/b", ""), router).Body, "b")
		is(t, router.Monitor(), "map[GET:map[/a/b:[]]]")
	},
	"`->use($action)`": func(t *testing.T) {
		idle := func(*aerys.Request, *aerys.Response) {}
		host := new(aerys.Host).Use(idle).Use(says("first"), says("second"))
		recorder := httptest.NewRecorder()
		host.ServeHTTP(recorder, asked("GET", "/", ""))
		is(t, recorder.Body, "first")
	},
	"callable, `Middleware`": func(t *testing.T) {
		wrapping := func(name string) aerys.Middleware {
			return func(next aerys.Handler) aerys.Handler {
				return aerys.HandlerFunc(func(req *aerys.Request, res *aerys.Response) {
					res.AddHeader("By", name)
					next.Serve(req, res)
				})
			}
		}
		standard := func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Add("By", "net/http's")
				next.ServeHTTP(w, r)
			})
		}
		for _, action := range []aerys.Action{
			says("answer"),
			aerys.Handler(aerys.HandlerFunc(says("answer"))),
			func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "answer") },
			http.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "answer") })),
			func(*aerys.Request, *aerys.Response) {},
		} {
			got := answer(asked("GET", "/", ""), wrapping("ours"), standard, action, says("answer"))
			is(t, fmt.Sprint(got.Header()["By"], got.Body), "[ours net/http's] answer")
		}
	},
}

// louder is a filter.
type louder struct{ io.Writer }

func (l louder) Write(p []byte) (int, error) { return l.Writer.Write(bytes.ToUpper(p)) }

func (louder) Close() error { return nil }
