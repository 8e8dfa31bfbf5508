package aerys

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// routerOf returns a router whose routes, given as "GET /pattern", answer with
// their pattern and the values of its variables.
func routerOf(routes ...string) *Routes {
	router := Router()
	for _, route := range routes {
		method, pattern, _ := strings.Cut(route, " ")
		router.Route(method, pattern, func(req *Request, res *Response) {
			text := pattern
			for _, name := range req.params.names {
				text += fmt.Sprintf(" %s=%q", name, req.PathValue(name))
			}
			res.End(text)
		})
	}
	return router
}

// ask puts a request, given as "GET /target", to the actions and returns the
// body of a 200, "-" when they fell through, and else the status with what
// matters of the header.
func ask(request string, actions ...Action) string {
	method, target, _ := strings.Cut(request, " ")
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return err.Error()
	}
	r := &http.Request{Method: method, URL: u, Header: http.Header{}}
	w := httptest.NewRecorder()
	x := newExchange(w, r, Options{DisableCompression: true, Logger: slog.New(slog.DiscardHandler)}.withDefaults())
	defer x.close()
	compile(actions).Serve(&x.request, &x.response)
	switch x.response.State() {
	case None:
		return "-"
	case Started:
		x.response.End()
	}
	if w.Code == http.StatusOK {
		return w.Body.String()
	}
	return strings.TrimSpace(fmt.Sprint(w.Code, " ", w.Header().Get("Location"), w.Header().Get("Allow")))
}

func TestRouter(t *testing.T) {
	type exchange struct{ request, answer string }
	for _, test := range []struct {
		about     string
		routes    []string
		exchanges []exchange
	}{
		{"a literal matches itself, in decoded form", []string{"GET /", "GET /a", "GET /b", "GET /a/b/", "GET /caf%C3%A9 x", "GET /%7Bid%7D"}, []exchange{
			{"GET /", "/"},
			{"GET /a", "/a"},
			{"GET /b", "/b"},
			{"GET /a/", "-"},
			{"GET /a/b", "-"},
			{"GET /a/b/", "/a/b/"},
			{"GET /A", "-"},
			{"GET /%61", "/a"},
			{"GET //a", "-"},
			{"GET /caf%c3%a9%20x", "/caf%C3%A9 x"},
			{"GET /{id}", "/%7Bid%7D"},
			{"OPTIONS *", "-"},
		}},
		{"a variable is one segment, and not empty", []string{"GET /u/{id}", "GET /u/{id}/{part}"}, []exchange{
			{"GET /u/7", `/u/{id} id="7"`},
			{"GET /u/", "-"},
			{"GET /u", "-"},
			{"GET /u/7/", "-"},
			{"GET /u/7/x", `/u/{id}/{part} id="7" part="x"`},
			{"GET /u//x", "-"},
			{"GET /u/7/x/y", "-"},
		}},
		{"a value is percent-decoded after matching", []string{"GET /u/{id}", "GET /u/{id}/x", "GET /s%2Fx", "GET /s/x", "GET /r/{x:\\w+}", "GET /r/{x:.+}"}, []exchange{
			{"GET /u/a%20b+c", `/u/{id} id="a b+c"`},
			{"GET /u/a%2Fx", `/u/{id} id="a/x"`},
			{"GET /u/a%2fx", `/u/{id} id="a/x"`},
			{"GET /u/a%2Fb/x", `/u/{id}/x id="a/b"`},
			{"GET /u/%252F", `/u/{id} id="%2F"`},
			{"GET /u/%252F%2F", `/u/{id} id="%2F/"`},
			{"GET /u/%2E%2E%2Fx", `/u/{id} id="../x"`},
			{"GET /u/%FF%00%2F", `/u/{id} id="\xff\x00/"`},
			{"GET /u/%EF%B7%90", `/u/{id} id="\ufdd0"`},
			{"GET /u/%EF%B7%90%2F", `/u/{id} id="\ufdd0/"`},
			{"GET /u%2Fx", "-"},
			{"GET /s%2fx", "/s%2Fx"},
			{"GET /s/x", "/s/x"},
			{"GET /r/a%2Fb", `/r/{x:.+} x="a/b"`},
			{"GET /r/%61b", `/r/{x:\w+} x="ab"`},
		}},
		{"a variable may be a part of a segment", []string{"GET /file-{id}.html", "GET /{y:\\d{4}}-{m:(0|1)\\d}.{ext:html|json}", "GET /{a}-{b}"}, []exchange{
			{"GET /file-7.html", `/file-{id}.html id="7"`},
			{"GET /file-.html", `/{a}-{b} a="file" b=".html"`},
			{"GET /file-7.html.html", `/file-{id}.html id="7.html"`},
			{"GET /x-y-z", `/{a}-{b} a="x-y" b="z"`},
			{"GET /x-", "-"},
			{"GET /2026-12.json", `/{y:\d{4}}-{m:(0|1)\d}.{ext:html|json} y="2026" m="12" ext="json"`},
			{"GET /2026-22.json", `/{a}-{b} a="2026" b="22.json"`},
		}},
		{"a regexp is for the whole of a value", []string{`GET /d/{x:\d+}`, `GET /d/{x:[a-f]+}`, `GET /e/{x:a|bc}`, `GET /f/{x:\d*}`, `GET /g/{x:(?i)ok}`, `GET /h/{x:[^./]+}`, `GET /i/{x:[^/]*}/end`, `GET /m/{x:\Qa.b}`, `GET /j/{x:[é]+}`, `GET /l/{x:[à-é]+}`, `GET /k/{x:\d{2,3}}`}, []exchange{
			{"GET /d/12", `/d/{x:\d+} x="12"`},
			{"GET /d/cafe", `/d/{x:[a-f]+} x="cafe"`},
			{"GET /d/1a", "-"},
			{"GET /d/", "-"},
			{"GET /e/bc", `/e/{x:a|bc} x="bc"`},
			{"GET /e/ac", "-"},
			{"GET /e/abc", "-"},
			{"GET /f/", `/f/{x:\d*} x=""`},
			{"GET /f", "-"},
			{"GET /g/OK", `/g/{x:(?i)ok} x="OK"`},
			{"GET /h/%C3%A9", `/h/{x:[^./]+} x="é"`},
			{"GET /h/a.b", "-"},
			{"GET /i/a/b/end", "-"},
			{"GET /i/a/end", `/i/{x:[^/]*}/end x="a"`},
			{"GET /i//end", `/i/{x:[^/]*}/end x=""`},
			{"GET /i/a%2Fb/end", "-"},
			{"GET /m/a.b", `/m/{x:\Qa.b} x="a.b"`},
			{"GET /m/a-b", "-"},
			{"GET /j/%C3%A9%C3%A9", `/j/{x:[é]+} x="éé"`},
			{"GET /j/%C3", "-"},
			{"GET /l/%C3%A9%C3%A0", `/l/{x:[à-é]+} x="éà"`},
			{"GET /l/%C3%AB", "-"},
			{"GET /k/1", "-"},
			{"GET /k/123", `/k/{x:\d{2,3}} x="123"`},
		}},
		{"the most specific wins, whatever the order", []string{`GET /{x}`, `GET /{x}.html`, `GET /{x:\d+}`, `GET /new`, `GET /new/{x}/edit`, `GET /{x}/{y}/show`, `GET /{x}/all/{y}`}, []exchange{
			{"GET /new", "/new"},
			{"GET /news", `/{x} x="news"`},
			{"GET /7", `/{x:\d+} x="7"`},
			{"GET /7.html", `/{x}.html x="7"`},
			{"GET /ne", `/{x} x="ne"`},
			{"GET /new/7/edit", `/new/{x}/edit x="7"`},
			{"GET /new/7/show", `/{x}/{y}/show x="new" y="7"`},
			{"GET /new/all/7", `/{x}/all/{y} x="new" y="7"`},
			{"GET /new/all/show", `/{x}/all/{y} x="new" y="show"`},
			{"GET /new/all/edit", `/new/{x}/edit x="all"`},
			{"GET /new/7/else", "-"},
		}},
		{"what the order decides", []string{`GET /{x:[a-m]+}`, `GET /{x:[g-z]+}`}, []exchange{
			{"GET /hi", `/{x:[a-m]+} x="hi"`},
			{"GET /hm", `/{x:[a-m]+} x="hm"`},
			{"GET /hy", `/{x:[g-z]+} x="hy"`},
			{"GET /you", `/{x:[g-z]+} x="you"`},
		}},
		{"optional parts", []string{"GET /a[/{b}[/{c}]]", "GET /file[.html]", "GET /s/{x}[.{ext:[a-z]+}]", "GET /t[/]"}, []exchange{
			{"GET /a", "/a[/{b}[/{c}]]"},
			{"GET /a/1", `/a[/{b}[/{c}]] b="1"`},
			{"GET /a/1/2", `/a[/{b}[/{c}]] b="1" c="2"`},
			{"GET /a/", "-"},
			{"GET /a/1/2/3", "-"},
			{"GET /file", "/file[.html]"},
			{"GET /file.html", "/file[.html]"},
			{"GET /file.htm", "-"},
			{"GET /s/a.b.gz", `/s/{x}[.{ext:[a-z]+}] x="a.b" ext="gz"`},
			{"GET /s/a.7", `/s/{x}[.{ext:[a-z]+}] x="a.7"`},
			{"GET /t/", "/t[/]"},
		}},
		{"the form with a slash is redirected to the canonical one", []string{"GET /?", "GET /about/?", "GET /u/{id}/?", "POST /u/{id}", "GET /log[/{year}]/?"}, []exchange{
			{"GET /", "/?"},
			{"GET /about", "/about/?"},
			{"GET /about/", "302 /about"},
			{"HEAD /about/", "302 /about"},
			{"GET /about/?q=1&r=/", "302 /about?q=1&r=/"},
			{"GET /about//", "-"},
			{"POST /about/", "405 GET, HEAD, OPTIONS"},
			{"GET /u/a%2Fb%20%3F/", "302 /u/a%2Fb%20%3F"},
			{"GET /u/%5C%0d%0aX:%09/", "302 /u/%5C%0d%0aX:%09"},
			{"GET /log", "/log[/{year}]/?"},
			{"GET /log/", "302 /log"},
			{"GET /log/7/", "302 /log/7"},
		}},
		{"and never off the site", []string{"GET /{x:[^/]*}/?", "GET /{x}/?", "GET /{x:[^/]*}/{y}/?", "GET /{x:[^/]*}/{y:[^/]*}/{z}/?"}, []exchange{
			{"GET //", "302 /"},
			{"GET //evil.com/", "302 /evil.com"},
			{"GET ///evil.com/", "302 /evil.com"},
			{`GET /\evil.com/`, "302 /%5Cevil.com"},
			{`GET /\/evil.com/`, "302 /%5C/evil.com"},
			{`GET //\evil.com/`, "302 /%5Cevil.com"},
			{"GET /%5Cevil.com/", "302 /%5Cevil.com"},
			{"GET /%2Fevil.com/", "302 /%2Fevil.com"},
			{"GET /%09/evil.com/", "302 /%09/evil.com"},
			{"GET http://evil.com/a/", "302 /a"},
		}},
		{"methods", []string{"GET /a", "POST /a", "ZANZIBAR /a", "HEAD /b", "GET /b", "OPTIONS /b", "POST /c/new", "GET /c/{id}", "PUT /c/{id}", "HEAD /c/new"}, []exchange{
			{"ZANZIBAR /a", "/a"},
			{"HEAD /a", "/a"},
			{"zanzibar /a", "405 GET, HEAD, OPTIONS, POST, ZANZIBAR"},
			{"PUT /a", "405 GET, HEAD, OPTIONS, POST, ZANZIBAR"},
			{"OPTIONS /a", "204 GET, HEAD, OPTIONS, POST, ZANZIBAR"},
			{"OPTIONS /b", "/b"},
			{"PUT /b", "405 GET, HEAD, OPTIONS"},
			{"GET /c/new", `/c/{id} id="new"`},
			{"HEAD /c/new", "/c/new"},
			{"DELETE /c/new", "405 GET, HEAD, OPTIONS, POST, PUT"},
			{"DELETE /c/7", "405 GET, HEAD, OPTIONS, PUT"},
			{"CONNECT /a", "405 GET, HEAD, OPTIONS, POST, ZANZIBAR"},
			{"DELETE /d", "-"},
			{"OPTIONS /d", "-"},
		}},
	} {
		router := routerOf(test.routes...)
		for _, e := range test.exchanges {
			if answer := ask(e.request, router); answer != e.answer {
				t.Errorf("%s: %s\n%s: %s, want %s", test.about, test.routes, e.request, answer, e.answer)
			}
		}
	}
}

func TestRouterAnswersEveryRouteOfGitHub(t *testing.T) {
	var routes []string
	for _, route := range githubRoutes {
		routes = append(routes, route[0]+" "+route[1])
	}
	router := routerOf(routes...)
	for _, route := range githubRoutes {
		path, names := route[1], ""
		for _, segment := range strings.Split(path, "/") {
			if name := strings.Trim(segment, "{}"); name != segment {
				path = strings.Replace(path, segment, "its-"+name, 1)
				names += fmt.Sprintf(" %s=%q", name, "its-"+name)
			}
		}
		if answer, want := ask(route[0]+" "+path, router), route[1]+names; answer != want {
			t.Errorf("%s %s: %s, want %s", route[0], path, answer, want)
		}
	}
}

// note returns an action that adds text to the header Ran.
func note(text string) Action {
	return func(_ *Request, res *Response) { res.AddHeader("Ran", text) }
}

func TestRouterComposition(t *testing.T) {
	end := func(_ *Request, res *Response) { res.End(strings.Join(res.Header()["Ran"], " ")) }
	pass := func(*Request, *Response) {}
	around := func(next Handler) Handler {
		return HandlerFunc(func(req *Request, res *Response) {
			res.AddHeader("Ran", "<")
			next.Serve(req, res)
		})
	}
	for _, test := range []struct {
		about   string
		router  *Routes
		request string
		answer  string
	}{
		{"the actions of a route run in order", Router().Get("/a", note("1"), note("2"), end), "GET /a", "1 2"},
		{"a route falls through when none starts the response", Router().Get("/a", note("1")), "GET /a", "-"},
		{"it does not to another route", Router().Get("/a", pass).Get("/{x}", end), "GET /a", "-"},
		{"Use runs before the routes added later", Router().Use(note("u"), note("v")).Get("/a", note("1"), end), "GET /a", "u v 1"},
		{"and after those added earlier, as a fallback", Router().Get("/a", note("1")).Use(note("u"), end), "GET /a", "1 u"},
		{"not after one that answered", Router().Get("/a", note("1"), end).Use(note("u"), end), "GET /a", "1"},
		{"each route has its part of it", Router().Use(note("u")).Get("/a", note("1")).Use(note("v")).Get("/b", end).Use(end), "GET /a", "u 1 v"},
		{"and the other has its", Router().Use(note("u")).Get("/a", note("1")).Use(note("v")).Get("/b", end).Use(end), "GET /b", "u v"},
		{"middleware wraps what follows", Router().Use(note("u"), around).Get("/a", note("1"), around, end), "GET /a", "u < 1 <"},
		{"a router is merged behind what was used so far",
			Router().Use(note("u")).Use(Router().Use(note("i")).Get("/a", note("1"), end)).Get("/b", end), "GET /a", "u i 1"},
		{"what it used does not concern the other routes",
			Router().Use(note("u")).Use(Router().Use(note("i")).Get("/a", note("1"), end)).Get("/b", end), "GET /b", "u"},
		{"what is used later is a fallback for the merged routes too",
			Router().Use(Router().Get("/a", note("1"))).Use(note("u"), end), "GET /a", "1 u"},
		{"merged routes are as good as others", Router().Get("/{x}", pass).Use(Router().Get("/a", end, end)), "GET /a", ""},
		{"405 counts them as well", Router().Get("/a", end).Use(Router().Post("/a", end)), "PUT /a", "405 GET, HEAD, OPTIONS, POST"},
		{"Prefix is for the routes so far", Router().Get("/a", end).Prefix("v1").Get("/b", end), "GET /v1/a", ""},
		{"no longer without it", Router().Get("/a", end).Prefix("v1").Get("/b", end), "GET /a", "-"},
		{"not for later ones", Router().Get("/a", end).Prefix("v1").Get("/b", end), "GET /b", ""},
		{"it may be repeated", Router().Get("/a", end).Prefix("/v1/").Prefix("/api/"), "GET /api/v1/a", ""},
		{"and empty", Router().Get("/a", end).Prefix("/"), "GET /a", ""},
		{"it stands in front of /?", Router().Get("/?", end).Prefix("/v1"), "GET /v1/", "302 /v1"},
		{"and of /", Router().Get("/", end).Prefix("/v1"), "GET /v1/", ""},
		{"what was used stays", Router().Use(note("u")).Get("/a", end).Prefix("/v1").Get("/b", end), "GET /b", "u"},
		{"a prefixed router is merged as such", Router().Get("/a", note("outer"), end).Use(Router().Get("/a", end).Prefix("/v1")), "GET /v1/a", ""},
		{"a missing slash is added", Router().Get("a/{b}", end), "GET /a/b", ""},
		{"a redirect runs no action", Router().Use(note("u"), end).Get("/a/?", end), "GET /a/", "302 /a"},
		{"nor does 405", Router().Use(note("u"), end).Get("/a", end), "POST /a", "405 GET, HEAD, OPTIONS"},
		{"each method has its own", Router().Get("/a", pass).Head("/a", end), "HEAD /a", ""},
		{"an empty router falls through", Router(), "GET /", "-"},
	} {
		if answer := ask(test.request, test.router); answer != test.answer {
			t.Errorf("%s: %s: %q, want %q", test.about, test.request, answer, test.answer)
		}
	}
}

// A router among the actions of a route has its own values, and the outer ones as far
// as their names are others; these are there again once it fell through.
func TestRouterWithinRouter(t *testing.T) {
	var seen []string
	look := func(req *Request, res *Response) {
		seen = append(seen, fmt.Sprintf("x=%s y=%s z=%s", req.PathValue("x"), req.PathValue("y"), req.PathValue("z")))
	}
	inner := Router().Get("/{z}/{y}/{x}", look)
	some := Router().Get("/{z}/2/3", look)
	other := Router().Get("/{y}", look)
	ask("GET /1/2/3", Router().Get("/{x}/{y}/{z}", look, inner, look, some, other, look), look)
	want := []string{"x=1 y=2 z=3", "x=3 y=2 z=1", "x=1 y=2 z=3", "x=1 y=2 z=1", "x=1 y=2 z=3", "x= y= z="}
	if !slices.Equal(seen, want) {
		t.Errorf("seen %q, want %q", seen, want)
	}
}

// What http.ServeMux matched in front of a Host is found as well.
func TestPathValueOfServeMux(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("/{a}/{b}", new(Host).Use(Router().Get("/{b}/{c}", func(req *Request, res *Response) {
		res.End(req.PathValue("a") + req.PathValue("b") + req.PathValue("c") + req.PathValue("d"))
	})))
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/1/2", nil))
	if w.Body.String() != "112" {
		t.Errorf("a, b, c, d: %q, want 112", w.Body)
	}
}

func TestRouterPanics(t *testing.T) {
	ok := func(*Request, *Response) {}
	get := func(patterns ...string) func() {
		return func() {
			router := Router()
			for _, pattern := range patterns {
				router.Get(pattern, ok)
			}
		}
	}
	served, merged := Router().Get("/a", ok), Router().Get("/a", ok)
	ask("GET /a", served)
	Router().Use(merged)
	for _, test := range []struct {
		about string
		call  func()
		names []string // what the message has to name
	}{
		{"no method", func() { Router().Route("", "/a", ok) }, []string{" /a", `""`, "token"}},
		{"a method that is no token", func() { Router().Route("GE T", "/a", ok) }, []string{"GE T /a", "token"}},
		{"no action", func() { Router().Post("/a") }, []string{"POST /a", "no action"}},
		{"nil", func() { Router().Put("/a", ok, nil) }, []string{"PUT /a", "action 2 of 2 is nil"}},
		{"another kind", func() { Router().Patch("/a", "x") }, []string{"PATCH /a", "action 1 of 1", "string", "http.Handler"}},
		{"another kind in Use", func() { Router().Use(ok, 7, ok) }, []string{"Use", "action 2 of 3", "int"}},
		{"itself", func() { r := Router(); r.Delete("/a", r) }, []string{"DELETE /a", "its own"}},
		{"merged with itself", func() { r := Router(); r.Use(r) }, []string{"Use", "its own"}},
		{"a route after serving", func() { served.Get("/b", ok) }, []string{"GET /b", "serves"}},
		{"use after serving", func() { served.Use(ok) }, []string{"Use", "serves"}},
		{"a prefix after serving", func() { served.Prefix("/x") }, []string{"Prefix", "serves"}},
		{"a route after merging", func() { merged.Options("/b", ok) }, []string{"OPTIONS /b", "merged"}},
		{"the same", get("/a", "/a"), []string{"GET /a: matches the same as GET /a"}},
		{"the same but for names", get("/{x}/b", "/{y}/b"), []string{"GET /{y}/b: matches the same as GET /{x}/b"}},
		{"the same regexp", get(`/{x:\d+}`, "/{y:[0-9]+}"), []string{"GET /{y:[0-9]+}", `GET /{x:\d+}`}},
		{"a regexp that says nothing", get(`/{x}`, "/{y:[^/]+}"), []string{"GET /{x}", "GET /{y:[^/]+}"}},
		{"the same regexp in other words", get(`/{x:\d{2}}`, "/{y:[0-9]{2}}"), []string{"GET /{y:[0-9]{2}}", `GET /{x:\d{2}}`}},
		{"the same rest", get("/{x:.+}", "/{y:.+}"), []string{"GET /{y:.+}", "GET /{x:.+}"}},
		{"the same parts", get("/{x}-{y:a|b}.c", "/{a}-{b:a|b}.c"), []string{"GET /{x}-{y:a|b}.c", "GET /{a}-{b:a|b}.c"}},
		{"the same once decoded", get("/a b", "/a%20b"), []string{"GET /a b", "GET /a%20b"}},
		{"an optional part", get("/a[/{b}]", "/a"), []string{"GET /a[/{b}]", "GET /a:"}},
		{"a slash form", get("/a/?", "/a/"), []string{"GET /a/?", "GET /a/:"}},
		{"a canonical form", get("/a/?", "/a"), []string{"GET /a/?", "GET /a:"}},
		{"the same by merging", func() { routerOf("GET /{x}").Use(routerOf("GET /{y}")) }, []string{"GET /{x}", "GET /{y}"}},
		{"the same by a prefix", func() { routerOf("GET /a").Prefix("/v").Get("/v/a", ok) }, []string{"GET /v/a: matches the same as GET /v/a"}},
		{"a name twice by a prefix", func() { routerOf("GET /{x}").Prefix("/{x}") }, []string{"GET /{x}/{x}: offset 5", `"x"`}},
		{"an optional prefix", func() { routerOf("GET /a").Prefix("/v[/w]") }, []string{"GET /v[/w]/a: offset 5", "end"}},

		{"not closed", get("/a/{x"), []string{"GET /a/{x: offset 3", "no closing brace"}},
		{"not closed for an escape", get(`/{x:\}`), []string{"offset 1", "no closing brace"}},
		{"closed twice", get("/a/{x}}"), []string{"offset 6", "%7D"}},
		{"no name", get("/{}"), []string{"offset 1", `""`}},
		{"no name but a regexp", get("/{:a}"), []string{"offset 1", `""`}},
		{"a name that is none", get("/{a b}"), []string{"offset 1", `"a b"`}},
		{"a number", get("/{1}"), []string{"offset 1", `"1"`}},
		{"the rest as net/http has it", get("/{x...}"), []string{"offset 1", "write {x:.+}", "{x:.*}"}},
		{"the end as net/http has it", get("/a/{$}"), []string{"offset 3", "leave {$} out"}},
		{"a method in the pattern", get("GET /x"), []string{`write Route("GET", "/x", …)`}},
		{"a colon", get("/x/:id"), []string{"offset 2", `write {id} for ":id"`, "%3A"}},
		{"a colon with more", get("/x/:a_b-c.d/y"), []string{"offset 2", `write {a_b-c}`}},
		{"a colon alone", get("/:"), []string{"offset 0", `write {id} for ":"`}},
		{"an asterisk", get("/x/*"), []string{"offset 2", "write {path:.+}", "{path:.*}", "%2A"}},
		{"a named asterisk", get("/*path"), []string{"offset 0", "write {path:.+}"}},
		{"an asterisk behind a variable", get("/{x}*"), []string{"offset 4", "write {path:.+}"}},
		{"a slash in the middle", get("/{x:.+}/y"), []string{`the regexp of "x" can match a slash`, "more follows", "[^/]"}},
		{"a slash before a variable", get(`/{x:\D+}{y}`), []string{`the regexp of "x" can match a slash`}},
		{"a slash before another slash", get("/{x:.+}-{y:.+}"), []string{`the regexp of "x" can match a slash`}},
		{"a slash before an option", get("/{x:[^.]+}[/{y}]"), []string{`the regexp of "x" can match a slash`}},
		{"a slash before /?", get("/{x:.+}/?"), []string{`the regexp of "x" can match a slash`}},
		{"a slash by name", get("/{x:a/b}/c"), []string{`the regexp of "x" can match a slash`}},
		{"a slash in a prefix", func() { routerOf("GET /a").Prefix("/{x:.+}") }, []string{"GET /{x:.+}/a", "can match a slash"}},
		{"a prefix of nothing", func() { Router().Prefix("/v1").Get("/a", ok) }, []string{`Routes.Prefix("/v1")`, "call it after them"}},
		{"a name twice", get("/{x}/{x}"), []string{"offset 5", `"x"`}},
		{"an empty regexp", get("/{x:}"), []string{"offset 1", `"x"`}},
		{"a wrong regexp", get("/{x:(}"), []string{"offset 1", `"x"`, "missing closing )"}},
		{"a regexp that would be right in company", get("/{x:a)(b}"), []string{"offset 1", `"x"`, "unexpected )"}},
		{"another encoding", get("/a/%FF"), []string{"offset 2", "UTF-8"}},
		{"an option in the middle", get("/a[/b]/c"), []string{"offset 5", "end"}},
		{"one not closed", get("/a[/b[/c]"), []string{"offset 9", "not closed"}},
		{"one not opened", get("/a]"), []string{"offset 2", "end"}},
		{"one closed twice", get("/a[b]]"), []string{"offset 4", "end"}},
		{"an empty one", get("/a[]"), []string{"offset 2", "empty"}},
		{"one in another", get("/a[[b]]"), []string{"offset 2", "empty"}},
		{"a query", get("/a?b=c"), []string{"offset 2", "%3F"}},
		{"a percent sign", get("/a/100%"), []string{"offset 2", `"%"`}},
	} {
		t.Run(test.about, func(t *testing.T) {
			defer func() {
				message := fmt.Sprint(recover())
				for _, name := range append(test.names, "aerys: ") {
					if !strings.Contains(message, name) {
						t.Errorf("%s\ndoes not name %s", message, name)
					}
				}
			}()
			test.call()
		})
	}
}

func TestRouterMonitor(t *testing.T) {
	shared := monitored{"shared"}
	router := Router().Use(shared).
		Get("/a", monitored{"a"}, HandlerFunc(nil).Serve).
		Post("/b/{x}/?", func(*Request, *Response) {}).
		Mount("/m", monitored{"m"})
	want := `map[*:map[/m:[state of shared state of m]] GET:map[/a:[state of shared state of a]] POST:map[/b/{x}/?:[state of shared]]]`
	if state := fmt.Sprint(router.Monitor()); state != want {
		t.Errorf("%s, want %s", state, want)
	}
}

type monitored struct{ name string }

func (m monitored) Serve(*Request, *Response) {}

func (m monitored) Monitor() any { return "state of " + m.name }

// Start calls the middleware; what it returns is there for every request.
func TestRouterStart(t *testing.T) {
	calls := 0
	router := Router().Get("/a", func(next Handler) Handler { calls++; return next }, answer("a"))
	for range 2 {
		if err := router.Start(context.Background()); err != nil || calls != 1 {
			t.Errorf("error %v, %d calls", err, calls)
		}
	}
	if got := ask("GET /a", router); got != "a" || calls != 1 {
		t.Errorf("%q after %d calls", got, calls)
	}
}

func TestRouterMethods(t *testing.T) {
	router := routerOf("ZANZIBAR /a", "GET /a", "GET /b").Use(routerOf("COPY /c"))
	if methods := fmt.Sprint(router.methods()); methods != "[COPY GET ZANZIBAR]" {
		t.Error(methods)
	}
}

// The first requests compile the router, all at once.
func TestRouterConcurrently(t *testing.T) {
	router := routerOf("GET /{a}/{b:x|y}/{c}/?", "GET /{a}/{b}", "POST /{a}/{b}").Use(note("u"))
	var group sync.WaitGroup
	for i := range 8 {
		group.Add(1)
		go func() {
			defer group.Done()
			for j := range 100 {
				want := fmt.Sprintf(`/{a}/{b} a="%d" b="%d"`, i, j)
				if answer := ask(fmt.Sprintf("GET /%d/%d", i, j), router); answer != want {
					t.Errorf("%s, want %s", answer, want)
				}
				ask("GET /a/x/c", router)
				ask("PUT /a/b", router)
			}
		}()
	}
	group.Wait()
}

// A matched route costs no memory.
func TestRouterAllocations(t *testing.T) {
	router := Router()
	for _, pattern := range []string{"/static", `/{a}/{b:\d+}`, `/{a:\d{2}}/x.html`, "/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}/{j}"} {
		router.Get(pattern, func(req *Request, _ *Response) { req.PathValue("a") })
	}
	for _, path := range []string{"/static", "/x/7", "/12/x.html", "/1/2/3/4/5/6/7/8/9/10", "/none"} {
		x := newExchange(httptest.NewRecorder(), httptest.NewRequest("GET", path, nil), Options{}.withDefaults())
		if n := testing.AllocsPerRun(100, func() { router.Serve(&x.request, &x.response) }); n != 0 {
			t.Errorf("%s: %v allocations", path, n)
		}
	}
}

// No pattern that is accepted, and no path, makes a search panic or take back
// less than it should: a match has a value for each name, and the values put
// into the pattern give the path.
func FuzzRouter(f *testing.F) {
	for _, seed := range [][3]string{
		{"/a/{b}", "/a[/{b}[/{c:\\d+}]]/?", "/a/b%2Fc/d"},
		{"/{a}-{b}.{c}", "/{x:[^/]*}/{y}/?", "//\\evil.com/"},
		{"/{a:.+}.{b}", "/a/{x}-{y:.*}", "/a/b-c/d.e"},
		{"/{a:(b|c)+}{d}", "/%2F{x}", "/%2f%EF%B7%90"},
		{"/{a:[^/]+}x", "/{b}[y]", "/xy"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, first, second, path string) {
		router := Router()
		for _, pattern := range []string{first, second} {
			register(router, pattern, func(req *Request, _ *Response) {
				if len(req.params.names) != len(req.params.values) {
					t.Errorf("%q: names %q, values %q", pattern, req.params.names, req.params.values)
				}
			})
		}
		u, err := url.ParseRequestURI(path)
		if err != nil || len(u.Host) > 0 {
			return
		}
		w := httptest.NewRecorder()
		x := newExchange(w, &http.Request{Method: "GET", URL: u}, Options{}.withDefaults())
		router.Serve(&x.request, &x.response)
		if len(x.request.params.names)+len(x.request.params.values) > 0 {
			t.Errorf("left behind: %+v", x.request.params)
		}
		if to := w.Header().Get("Location"); to != "" {
			if target, err := u.Parse(to); err != nil || target.Host != "" || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.Contains(to, `\`) {
				t.Errorf("%q is redirected to %q", path, to)
			}
		}
	})
}

// register adds a route, unless the pattern is refused.
func register(router *Routes, pattern string, action Action) {
	defer func() {
		if cause := recover(); cause != nil && !strings.HasPrefix(fmt.Sprint(cause), "aerys: ") {
			panic(cause)
		}
	}()
	router.Get(pattern, action)
}

// FuzzPathValue has a path of three segments found by a route with variables,
// and each value be what its segment is decoded: with a literal in front, a
// regexp, or neither.
func FuzzPathValue(f *testing.F) {
	for _, seed := range []string{"x", "%2F", "%2f%2F", "%252F", "%EF%B7%90", "\ufdd0%2F", "%FF", "%FF%2F", "%00", "%0A%2F", "a+b", ";", "%25", "..%2F"} {
		f.Add(seed, "x%2F", seed)
	}
	router := Router()
	var values []string
	take := func(req *Request, res *Response) {
		values = []string{req.PathValue("x"), req.PathValue("y"), req.PathValue("z")}
		res.End()
	}
	router.Get("/a/{x}/b{y}/{z:(?s:.+)}", take)
	f.Fuzz(func(t *testing.T, x, y, z string) {
		var segments []string
		for _, segment := range []string{x, y, z} {
			decoded, err := url.PathUnescape(segment)
			if err != nil || decoded == "" || strings.ContainsAny(segment, "/?") {
				return
			}
			segments = append(segments, decoded)
		}
		u, err := url.ParseRequestURI("/a/" + x + "/b" + y + "/" + z)
		if err != nil {
			return
		}
		values = nil
		exchange := newExchange(httptest.NewRecorder(), &http.Request{Method: "GET", URL: u}, Options{}.withDefaults())
		router.Serve(&exchange.request, &exchange.response)
		if fmt.Sprintf("%q", values) != fmt.Sprintf("%q", segments) {
			t.Errorf("%s: values %q, want %q", u.EscapedPath(), values, segments)
		}
	})
}

// benchmarkRouter asks a router that knows the patterns for the paths in turn;
// one operation is all of them.
func benchmarkRouter(b *testing.B, routes, requests [][2]string) {
	router := Router()
	for _, route := range routes {
		router.Route(route[0], route[1], func(*Request, *Response) {})
	}
	exchanges := make([]*exchange, len(requests))
	for i, request := range requests {
		r := httptest.NewRequest(request[0], request[1], nil)
		exchanges[i] = newExchange(httptest.NewRecorder(), r, Options{}.withDefaults())
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, x := range exchanges {
			router.Serve(&x.request, &x.response)
		}
	}
}

func BenchmarkRouterStatic(b *testing.B) {
	benchmarkRouter(b, githubRoutes, [][2]string{{"GET", "/user/repos"}})
}

func BenchmarkRouterParameters(b *testing.B) {
	for _, count := range []int{1, 5, 20} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			var pattern strings.Builder
			for i := range count {
				fmt.Fprintf(&pattern, "/{v%d}", i)
			}
			path := strings.Repeat("/test", count)
			benchmarkRouter(b, [][2]string{{"GET", pattern.String()}}, [][2]string{{"GET", path}})
		})
	}
}

func BenchmarkRouterGitHub(b *testing.B) {
	requests := make([][2]string, len(githubRoutes))
	for i, route := range githubRoutes {
		requests[i] = [2]string{route[0], strings.NewReplacer("{", "", "}", "").Replace(route[1])}
	}
	benchmarkRouter(b, githubRoutes, requests)
}

// githubRoutes are the routes of the GitHub API, as router benchmarks know them.
var githubRoutes = func() (routes [][2]string) {
	for line := range strings.Lines(githubAPI) {
		fields := strings.Fields(line)
		pattern := fields[len(fields)-1]
		for _, method := range fields[:len(fields)-1] {
			routes = append(routes, [2]string{method, pattern})
		}
	}
	return routes
}()

const githubAPI = `GET POST /authorizations
GET DELETE /authorizations/{id}
GET DELETE /applications/{client_id}/tokens/{access_token}
DELETE /applications/{client_id}/tokens
GET /events
GET /repos/{owner}/{repo}/events
GET /networks/{owner}/{repo}/events
GET /orgs/{org}/events
GET /users/{user}/received_events
GET /users/{user}/received_events/public
GET /users/{user}/events
GET /users/{user}/events/public
GET /users/{user}/events/orgs/{org}
GET /feeds
GET PUT /notifications
GET PUT /repos/{owner}/{repo}/notifications
GET /notifications/threads/{id}
GET PUT DELETE /notifications/threads/{id}/subscription
GET /repos/{owner}/{repo}/stargazers
GET /users/{user}/starred
GET /user/starred
GET PUT DELETE /user/starred/{owner}/{repo}
GET /repos/{owner}/{repo}/subscribers
GET /users/{user}/subscriptions
GET /user/subscriptions
GET PUT DELETE /repos/{owner}/{repo}/subscription
GET PUT DELETE /user/subscriptions/{owner}/{repo}
GET /users/{user}/gists
GET POST /gists
GET DELETE /gists/{id}
PUT DELETE GET /gists/{id}/star
POST /gists/{id}/forks
GET /repos/{owner}/{repo}/git/blobs/{sha}
POST /repos/{owner}/{repo}/git/blobs
GET /repos/{owner}/{repo}/git/commits/{sha}
POST /repos/{owner}/{repo}/git/commits
GET POST /repos/{owner}/{repo}/git/refs
GET /repos/{owner}/{repo}/git/tags/{sha}
POST /repos/{owner}/{repo}/git/tags
GET /repos/{owner}/{repo}/git/trees/{sha}
POST /repos/{owner}/{repo}/git/trees
GET /issues
GET /user/issues
GET /orgs/{org}/issues
GET POST /repos/{owner}/{repo}/issues
GET /repos/{owner}/{repo}/issues/{number}
GET /repos/{owner}/{repo}/assignees
GET /repos/{owner}/{repo}/assignees/{assignee}
GET POST /repos/{owner}/{repo}/issues/{number}/comments
GET /repos/{owner}/{repo}/issues/{number}/events
GET POST /repos/{owner}/{repo}/labels
GET DELETE /repos/{owner}/{repo}/labels/{name}
GET POST PUT DELETE /repos/{owner}/{repo}/issues/{number}/labels
DELETE /repos/{owner}/{repo}/issues/{number}/labels/{name}
GET /repos/{owner}/{repo}/milestones/{number}/labels
GET POST /repos/{owner}/{repo}/milestones
GET DELETE /repos/{owner}/{repo}/milestones/{number}
GET /emojis
GET /gitignore/templates
GET /gitignore/templates/{name}
POST /markdown
POST /markdown/raw
GET /meta
GET /rate_limit
GET /users/{user}/orgs
GET /user/orgs
GET /orgs/{org}
GET /orgs/{org}/members
GET DELETE /orgs/{org}/members/{user}
GET /orgs/{org}/public_members
GET PUT DELETE /orgs/{org}/public_members/{user}
GET POST /orgs/{org}/teams
GET DELETE /teams/{id}
GET /teams/{id}/members
GET PUT DELETE /teams/{id}/members/{user}
GET /teams/{id}/repos
GET PUT DELETE /teams/{id}/repos/{owner}/{repo}
GET /user/teams
GET POST /repos/{owner}/{repo}/pulls
GET /repos/{owner}/{repo}/pulls/{number}
GET /repos/{owner}/{repo}/pulls/{number}/commits
GET /repos/{owner}/{repo}/pulls/{number}/files
GET PUT /repos/{owner}/{repo}/pulls/{number}/merge
GET PUT /repos/{owner}/{repo}/pulls/{number}/comments
GET POST /user/repos
GET /users/{user}/repos
GET POST /orgs/{org}/repos
GET /repositories
GET DELETE /repos/{owner}/{repo}
GET /repos/{owner}/{repo}/contributors
GET /repos/{owner}/{repo}/languages
GET /repos/{owner}/{repo}/teams
GET /repos/{owner}/{repo}/tags
GET /repos/{owner}/{repo}/branches
GET /repos/{owner}/{repo}/branches/{branch}
GET /repos/{owner}/{repo}/collaborators
GET PUT DELETE /repos/{owner}/{repo}/collaborators/{user}
GET /repos/{owner}/{repo}/comments
GET POST /repos/{owner}/{repo}/commits/{sha}/comments
GET DELETE /repos/{owner}/{repo}/comments/{id}
GET /repos/{owner}/{repo}/commits
GET /repos/{owner}/{repo}/commits/{sha}
GET /repos/{owner}/{repo}/readme
GET POST /repos/{owner}/{repo}/keys
GET DELETE /repos/{owner}/{repo}/keys/{id}
GET /repos/{owner}/{repo}/downloads
GET DELETE /repos/{owner}/{repo}/downloads/{id}
GET POST /repos/{owner}/{repo}/forks
GET POST /repos/{owner}/{repo}/hooks
GET DELETE /repos/{owner}/{repo}/hooks/{id}
POST /repos/{owner}/{repo}/hooks/{id}/tests
POST /repos/{owner}/{repo}/merges
GET POST /repos/{owner}/{repo}/releases
GET DELETE /repos/{owner}/{repo}/releases/{id}
GET /repos/{owner}/{repo}/releases/{id}/assets
GET /repos/{owner}/{repo}/stats/contributors
GET /repos/{owner}/{repo}/stats/commit_activity
GET /repos/{owner}/{repo}/stats/code_frequency
GET /repos/{owner}/{repo}/stats/participation
GET /repos/{owner}/{repo}/stats/punch_card
GET POST /repos/{owner}/{repo}/statuses/{ref}
GET /search/repositories
GET /search/code
GET /search/issues
GET /search/users
GET /legacy/issues/search/{owner}/{repository}/{state}/{keyword}
GET /legacy/repos/search/{keyword}
GET /legacy/user/search/{keyword}
GET /legacy/user/email/{email}
GET /users/{user}
GET /user
GET /users
GET POST DELETE /user/emails
GET /users/{user}/followers
GET /user/followers
GET /users/{user}/following
GET /user/following
GET PUT DELETE /user/following/{user}
GET /users/{user}/following/{target_user}
GET /users/{user}/keys
GET POST /user/keys
GET DELETE /user/keys/{id}`
