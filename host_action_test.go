package aerys

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

type (
	declaredFunc       func(*Request, *Response)
	declaredMiddleware func(Handler) Handler
	declaredStandard   func(http.ResponseWriter, *http.Request)
	uncomparable       struct{ texts []string }
	both               struct{}
)

func (u uncomparable) Serve(_ *Request, res *Response) { res.End(u.texts[0]) }

func (both) Serve(_ *Request, res *Response)                  { res.End("aerys") }
func (both) ServeHTTP(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "net/http") }

// answerStandard is answer for net/http.
func answerStandard(text string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) }
}

// status returns an action that starts no response.
func status(code int) func(*Request, *Response) {
	return func(_ *Request, res *Response) { res.SetStatus(code) }
}

// before returns middleware of net/http that writes text first.
func before(text string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Add("Before", text)
			next.ServeHTTP(w, r)
		})
	}
}

func TestActions(t *testing.T) {
	pass := func(*Request, *Response) {}
	silent := func(http.ResponseWriter, *http.Request) {}
	prefix := func(text string) Middleware {
		return func(next Handler) Handler {
			return HandlerFunc(func(req *Request, res *Response) {
				res.WriteString(text)
				next.Serve(req, res)
			})
		}
	}
	before418 := func(next Handler) Handler {
		return HandlerFunc(func(req *Request, res *Response) { next.Serve(req, res.SetStatus(418)) })
	}
	block := func(Handler) Handler { return HandlerFunc(pass) }
	blockStandard := func(http.Handler) http.Handler { return http.HandlerFunc(silent) }
	mux := http.NewServeMux()
	mux.HandleFunc("/known", answerStandard("mux"))
	for _, test := range []struct {
		about   string
		actions []Action
		answer  string
	}{
		{"none", nil, "-"},
		{"a func", []Action{answer("a")}, "a"},
		{"a func of a type of its own", []Action{declaredFunc(answer("a"))}, "a"},
		{"a Handler", []Action{uncomparable{[]string{"a"}}}, "a"},
		{"a func of net/http", []Action{answerStandard("a")}, "a"},
		{"a func of net/http of a type of its own", []Action{declaredStandard(answerStandard("a"))}, "a"},
		{"a handler of net/http", []Action{http.HandlerFunc(answerStandard("a"))}, "a"},
		{"what is both is a Handler", []Action{both{}}, "aerys"},
		{"a router", []Action{Router().Get("/path", answer("a"))}, "a"},
		{"a router that does not know the path", []Action{Router().Get("/other", answer("a")), answer("b")}, "b"},

		{"the first to start the response is the last", []Action{pass, answer("a"), answer("b")}, "a"},
		{"a status alone ends the list from 300 on", []Action{status(300), answer("a")}, "300"},
		{"with an error, too", []Action{status(403), answer("a")}, "403"},
		{"below it starts nothing", []Action{status(299), answer("a")}, "299"},
		{"one from before ends nothing", []Action{before418, pass, answer("a")}, "418"},
		{"none starts the response", []Action{pass, status(200), pass}, "-"},
		{"a handler of net/http has answered when it returns", []Action{silent, answer("a")}, ""},
		{"with the status that was set", []Action{status(218), silent, answer("a")}, "218"},
		{"so has ServeMux", []Action{mux, answer("a")}, "404"},
		{"WriteHeader starts the response", []Action{func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, answer("a")}, "403"},

		{"middleware wraps what follows", []Action{pass, prefix("1"), prefix("2"), answer("a"), answer("b")}, "12a"},
		{"not what precedes", []Action{answer("a"), prefix("1")}, "a"},
		{"it may be alone", []Action{prefix("1")}, "1"},
		{"of a type of its own", []Action{declaredMiddleware(prefix("1")), answer("a")}, "1a"},
		{"it may leave out what follows", []Action{block, answer("a")}, "-"},
		{"middleware of net/http wraps what follows", []Action{before("1"), pass, before("2"), answer("a"), answer("b")}, "a"},
		{"among ours", []Action{prefix("1"), before("1"), prefix("2"), answerStandard("a")}, "12a"},
		{"it falls through with what follows", []Action{before("1"), pass}, "-"},
		{"also twice", []Action{before("1"), pass, before("2"), Router().Get("/other", answer("a"))}, "-"},
		{"it has answered when it leaves out what follows", []Action{blockStandard, answer("a")}, ""},
		{"also behind another", []Action{before("1"), blockStandard, answer("a")}, ""},
	} {
		if got := ask("GET /path", test.actions...); got != test.answer {
			t.Errorf("%s: %q, want %q", test.about, got, test.answer)
		}
	}
}

func TestActionPanics(t *testing.T) {
	var (
		nilFunc       func(*Request, *Response)
		nilStandard   http.HandlerFunc
		nilMiddleware Middleware
		nilRouter     *Routes
	)
	for _, test := range []struct {
		action Action
		names  string
	}{
		{nil, "nil"},
		{nilFunc, "nil"},
		{nilStandard, "nil"},
		{nilMiddleware, "nil"},
		{nilRouter, "nil"},
		{"x", "of type string"},
		{func() {}, "of type func()"},
		{[]Action{answer("a")}, "of type []aerys.Action"},
		{func(*Response, *Request) {}, "of type func(*aerys.Response, *aerys.Request)"},
		{new(any), "of type *interface {}"},
	} {
		message := panicOf(func() { checkActions("Host.Use", []Action{answer("a"), test.action}) })
		if want := "aerys: Host.Use: action 2 of 2 is " + test.names + "; it has to be"; !strings.HasPrefix(message, want) {
			t.Errorf("%T: %s, want %s", test.action, message, want)
		}
	}
	for _, middleware := range []Action{
		func(Handler) Handler { return nil },
		func(http.Handler) http.Handler { return nil },
	} {
		if message := panicOf(func() { compile([]Action{middleware}) }); !strings.Contains(message, "returned nil") {
			t.Errorf("%T: %s", middleware, message)
		}
	}
}

func panicOf(call func()) (message string) {
	defer func() { message = fmt.Sprint(recover()) }()
	call()
	return
}

type key struct{}

// What middleware of net/http does to the request holds for what follows it,
// and no longer. (Path values, once handed to it, do stay.)
func TestStandardMiddlewareReplacesTheRequest(t *testing.T) {
	var seen []string
	look := func(req *Request, res *Response) {
		seen = append(seen, fmt.Sprint(req.Context().Value(key{}), " ", req.URL.Path, " ", req.Param("q"), " ", req.PathValue("x"), " ", req.Local("l")))
		req.SetLocal("l", req.URL.Path)
	}
	with := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r = r.WithContext(context.WithValue(r.Context(), key{}, "value"))
			next.ServeHTTP(w, r)
		})
	}
	rewrite := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r = r.Clone(r.Context())
			r.URL.RawQuery = "q=2"
			http.StripPrefix("/a", next).ServeHTTP(w, r)
		})
	}
	ask("GET /a/b?q=1", Router().Get("/a/{x}", look, with, look, rewrite, look, Router().Get("/{x}", look), look), look)
	want := []string{"<nil> /a/b 1 b <nil>", "value /a/b 1 b /a/b", "value /b 2 b /a/b", "value /b 2 b /b", "value /b 2 b /b", "<nil> /a/b 1 b /b"}
	if !slices.Equal(seen, want) {
		t.Errorf("seen %q\nwant %q", seen, want)
	}
}

// wrapper is a writer as middleware of net/http puts one in front of another.
type wrapper struct {
	http.ResponseWriter
	written bytes.Buffer
}

func (w *wrapper) Write(p []byte) (int, error) {
	w.written.Write(p)
	return w.ResponseWriter.Write(bytes.ToUpper(p))
}

// unwrapper is one as http.ResponseController likes it.
type unwrapper struct{ wrapper }

func (w *unwrapper) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Behind a writer that middleware of net/http wrapped around the Response, all
// is as without, and what is written goes through that writer.
func TestStandardMiddlewareWrapsTheWriter(t *testing.T) {
	var w *unwrapper
	wrap := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(outer http.ResponseWriter, r *http.Request) {
			w = &unwrapper{wrapper{ResponseWriter: outer}}
			next.ServeHTTP(w, r)
		})
	}
	unwrap := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for {
				inner, ok := w.(interface{ Unwrap() http.ResponseWriter })
				if _, response := w.(*Response); response || !ok {
					break
				}
				w = inner.Unwrap()
			}
			next.ServeHTTP(w, r)
		})
	}
	pass := func(*Request, *Response) {}
	locals := func(req *Request, res *Response) {
		res.WriteString(fmt.Sprint(req.PathValue("x"), req.Local("1")))
		req.SetLocal("2", "two")
	}
	for _, test := range []struct {
		about           string
		actions         []Action
		answer, written string
	}{
		{"what follows writes through it", []Action{wrap, answer("text")}, "TEXT", "text"},
		{"so do handlers of net/http", []Action{wrap, answerStandard("text")}, "TEXT", "text"},
		{"it may be handed the Response itself", []Action{unwrap, answer("text")}, "text", ""},
		{"twice", []Action{wrap, wrap, before("1"), answer("text")}, "TEXT", "text"},
		{"it falls through", []Action{wrap, pass, status(203)}, "-", ""},
		{"a status from before counts", []Action{status(218), wrap, answerStandard("text")}, "218", "text"},
		{"one from behind as well", []Action{wrap, status(218), wrap, answer("text")}, "218", "text"},
		{"values and local variables are there", []Action{
			func(req *Request, _ *Response) { req.SetLocal("1", "one") }, wrap, wrap, locals,
		}, "PATHONE", "pathone"},
		{"an invalid header is a 500", []Action{wrap, func(_ *Request, res *Response) { res.SetHeader("A", "\n").End("text") }}, "500", ""},
	} {
		got := ask("GET /path", Router().Get("/{x}", test.actions...))
		if got != test.answer || test.written != "" && w.written.String() != test.written {
			t.Errorf("%s: %q by way of %q, want %q by way of %q", test.about, got, w.written.String(), test.answer, test.written)
		}
	}
	got := ask("GET /path", Router().Get("/{x}", wrap, func(req *Request, _ *Response) { req.SetLocal("2", "two") }),
		func(req *Request, res *Response) { res.End(req.Local("2").(string)) })
	if got != "two" {
		t.Errorf("what was set behind a wrapper: %q, want two", got)
	}
}

// Behind a writer that hides what it wraps there are values, but no local
// variables, and nothing falls through: it may be another goroutine.
func TestStandardMiddlewareHidesTheWriter(t *testing.T) {
	hide := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&wrapper{ResponseWriter: w}, r)
		})
	}
	timeout := func(next http.Handler) http.Handler { return http.TimeoutHandler(next, time.Minute, "late") }
	set := func(req *Request, _ *Response) { req.SetLocal("1", "one") }
	look := func(req *Request, res *Response) { res.End(fmt.Sprint(req.PathValue("x"), req.Local("1"))) }
	for _, test := range []struct {
		actions []Action
		answer  string
	}{
		{[]Action{set, timeout, look}, "path<nil>"},
		{[]Action{set, hide, look}, "PATH<NIL>"},
		{[]Action{timeout, func(*Request, *Response) {}}, "404"},
	} {
		if got := ask("GET /path", Router().Get("/{x}", test.actions...), answer("fell through")); got != test.answer {
			t.Errorf("%q, want %q", got, test.answer)
		}
	}
}

// A handler behind http.TimeoutHandler may go on when its request is long over.
func TestTimeoutHandler(t *testing.T) {
	late, done := make(chan bool), make(chan error, 1)
	router := Router().Get("/{x}", func(next http.Handler) http.Handler {
		return http.TimeoutHandler(next, time.Nanosecond, "late")
	}, func(req *Request, res *Response) {
		<-late
		if x := req.PathValue("x"); x != "slow" {
			done <- fmt.Errorf("path value %q", x)
		}
		res.End("text")
		done <- res.Err()
	})
	if got := ask("GET /slow", router); got != "503" {
		t.Errorf("%q, want 503", got)
	}
	for range 10 {
		ask("GET /fast/", Router().Get("/{x}/", answer("")))
	}
	close(late)
	if err := <-done; err != nil && err != http.ErrHandlerTimeout {
		t.Error(err)
	}
}

func TestPathValuesOfNetHTTP(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.PathValue("x")+r.PathValue("y")) }
	if got := ask("GET /a%2Fb/c", Router().Get("/{x}/{y}", before("1"), handler)); got != "a/bc" {
		t.Errorf("%q, want a/bc", got)
	}
}

func TestWalk(t *testing.T) {
	shared, other := &monitored{"shared"}, &monitored{"other"}
	plural := uncomparable{[]string{"plural"}}
	inner := Router().Use(shared).Get("/a", other, plural)
	merged := Router().Post("/b", shared, monitored{"value"})
	outer := Router().Get("/c", monitored{"value"}).Use(merged).Get("/d", inner, shared)
	var visited []string
	walk([]Action{shared, outer, answer("func"), inner, both{}, both{}, shared, plural}, func(action any) {
		visited = append(visited, strings.TrimPrefix(fmt.Sprintf("%T", action), "*aerys."))
	})
	want := "monitored Routes aerys.monitored Routes monitored aerys.uncomparable func(*aerys.Request, *aerys.Response) aerys.both aerys.uncomparable"
	if got := strings.Join(visited, " "); got != want {
		t.Errorf("visited %s\nwant    %s", got, want)
	}
}

// Running actions costs no memory, nor does the first of net/http's that is
// around others; those within that are around others do.
func TestActionAllocations(t *testing.T) {
	pass := func(*Request, *Response) {}
	middleware := func(next Handler) Handler { return next }
	handler := compile([]Action{pass, middleware, before("1"), Router().Get("/path", pass, middleware, pass), before("2"), pass})
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/path", nil)
	w.Header()["Before"] = make([]string, 0, 1000)
	x := newExchange(w, r, Options{}.withDefaults())
	if n := testing.AllocsPerRun(100, func() { handler.Serve(&x.request, &x.response) }); n != 1 {
		t.Errorf("%v allocations", n)
	}
}
