package spec

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"aerys"
)

// routes returns a router whose routes, given as "GET /pattern", answer with
// their pattern and the value of the variable p.
func routes(patterns ...string) *aerys.Routes {
	router := aerys.Router()
	for _, route := range patterns {
		method, pattern, _ := strings.Cut(route, " ")
		router.Route(method, pattern, func(req *aerys.Request, res *aerys.Response) {
			res.End(fmt.Sprintf("%s %q", pattern, req.PathValue("p")))
		})
	}
	return router
}

// exchangeWith is a request, given as "GET /target", and the answer to it.
type exchangeWith struct{ request, answer string }

// check compares answers: the body of a 200, and else the status with what
// matters of the header.
func (s *server) check(t *testing.T, exchanges []exchangeWith) {
	t.Helper()
	for _, e := range exchanges {
		conn := dial(t, s.addresses[0])
		answer, body, err := ask(conn, bufio.NewReader(conn), e.request+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		if err != nil {
			t.Error(e.request, err)
			continue
		}
		if answer.StatusCode != 200 {
			body = strings.TrimSpace(fmt.Sprint(answer.StatusCode, " ", answer.Header.Get("Location"), answer.Header.Get("Allow")))
		}
		if body != e.answer {
			t.Errorf("%s: %s, want %s", e.request, body, e.answer)
		}
	}
}

func TestVariableTakesTheRest(t *testing.T) {
	for about, test := range map[string]struct {
		routes    []string
		exchanges []exchangeWith
	}{
		"of the path, if its regexp can match a slash": {[]string{
			"GET /f/{p:.+}", "GET /g/{p:.*}", "GET /h/{p:a/b|c}", "GET /i/v-{p:.+}", "GET /j/{p:.+}.html",
			"GET /k/{x}-{p:.+}", `GET /l/{x}/{p:\D+}`, "GET /m[/{p:.+}]", "GET /n/{p:[^.]+}", "GET /o/{p:(?s:.+)}",
		}, []exchangeWith{
			{"GET /f/a", `/f/{p:.+} "a"`},
			{"GET /f/a/b/c.txt", `/f/{p:.+} "a/b/c.txt"`},
			{"GET /f/a/", `/f/{p:.+} "a/"`},
			{"GET /f//a//b", `/f/{p:.+} "/a//b"`},
			{"GET /f/../b", `/f/{p:.+} "../b"`},
			{"GET /f/a%2Fb/%2e%2e/c", `/f/{p:.+} "a/b/../c"`},
			{"GET /f/a%0Ab", "404"},
			{"GET /o/a%0Ab", `/o/{p:(?s:.+)} "a\nb"`},
			{"GET /f/", "404"},
			{"GET /f", "404"},
			{"GET /g/", `/g/{p:.*} ""`},
			{"GET /g/a/b", `/g/{p:.*} "a/b"`},
			{"GET /g", "404"},
			{"GET /h/a/b", `/h/{p:a/b|c} "a/b"`},
			{"GET /h/c", `/h/{p:a/b|c} "c"`},
			{"GET /h/c/b", "404"},
			{"GET /i/v-a/b", `/i/v-{p:.+} "a/b"`},
			{"GET /j/a/b.html", `/j/{p:.+}.html "a/b"`},
			{"GET /j/a/b.htm", "404"},
			{"GET /k/a-b/c-d", `/k/{x}-{p:.+} "b/c-d"`},
			{"GET /k/a/b-c", "404"},
			{"GET /l/1/a/b", `/l/{x}/{p:\D+} "a/b"`},
			{"GET /l/1/a/7", "404"},
			{"GET /m", `/m[/{p:.+}] ""`},
			{"GET /m/a/b", `/m[/{p:.+}] "a/b"`},
			{"GET /n/a/b", `/n/{p:[^.]+} "a/b"`},
			{"GET /n/a/b.c", "404"},
			{"PUT /f/a/b", "405 GET, HEAD, OPTIONS"},
		}},
		"after all that is for less": {[]string{
			"GET /{p:.*}", "GET /a/{p:.+}", "GET /a/{p}", "GET /a/{p}/b", "POST /a/c", "GET /{p:.+}.png",
		}, []exchangeWith{
			{"GET /", `/{p:.*} ""`},
			{"GET /b", `/{p:.*} "b"`},
			{"GET /b/x.png", `/{p:.+}.png "b/x"`},
			{"GET /a", `/{p:.*} "a"`},
			{"GET /a/", `/{p:.*} "a/"`},
			{"GET /a/1", `/a/{p} "1"`},
			{"GET /a/1/b", `/a/{p}/b "1"`},
			{"GET /a/1/c", `/a/{p:.+} "1/c"`},
			{"GET /a/c", `/a/{p} "c"`},
			{"POST /a/c", `/a/c ""`},
			{"PUT /a/c", "405 GET, HEAD, OPTIONS, POST"},
		}},
	} {
		t.Run(about, func(t *testing.T) { run(t, aerys.Options{}, at(routes(test.routes...))).check(t, test.exchanges) })
	}
}

// An empty path is the root (RFC 9110 §4.2.3).
func TestEmptyPathIsTheRoot(t *testing.T) {
	files := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Method, " ", r.URL.Path, "?", r.URL.RawQuery)
	})
	s := run(t, aerys.Options{}, at(routes("GET /", "OPTIONS /"), files))
	s.check(t, []exchangeWith{
		{"GET http://a", `/ ""`},
		{"GET http://a?q=1", `/ ""`},
		{"GET http://a/", `/ ""`},
		{"GET http://a/b", "GET /b?"},
		{"OPTIONS http://a/", `/ ""`},
		{"OPTIONS http://a", ""}, // the server as a whole (RFC 9112 §3.2.4)
	})
}

// tells answers with the method and the path as a handler of net/http finds it.
func tells(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.EscapedPath(), r.PathValue("p"))
}

func TestMount(t *testing.T) {
	ours := func(req *aerys.Request, res *aerys.Response) {
		if req.URL.Path != "/none" {
			res.End("ours " + req.URL.Path + " of " + req.RequestURI)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/a/b/{p}", tells)
	inner := aerys.Router().Mount("/in", tells).Get("/list/?", says("list")).Get("/{p}", tells).Prefix("/{q}")
	router := aerys.Router().
		Get("/api/health", says("healthy")).Get("/api/{p:[a-z]+}.json", says("json")).
		Mount("/api", tells).Mount("/api/v2/", ours).Mount("mux", mux).
		Mount("/user/{p}", tells).Mount("/tree", routes("GET /about/?", "POST /{p:.+}"), tells).
		Use(aerys.Router().Mount("/merged", inner).Prefix("/deep")).
		Use(says("fallback"))
	run(t, aerys.Options{}, at(router)).check(t, []exchangeWith{
		{"GET /api", "GET / "},
		{"GET /api/", "GET / "},
		{"POST /api/users/7", "POST /users/7 "},
		{"DELETE /api/users/", "DELETE /users/ "},
		{"OPTIONS /api/x", "OPTIONS /x "},
		{"GET /api//x", "GET //x "},
		{"GET /api/a%2Fb/%41", "GET /a%2Fb/%41 "},
		{"GET /%61pi/a%2Fb", "GET /a%2Fb "},
		{"GET /apis", "404"},
		{"GET /api/health", "healthy"},
		{"PUT /api/health", "PUT /health "},
		{"GET /api/x.json", "json"},
		{"GET /api/v2/x", "ours /x of /api/v2/x"},
		{"GET /api/v2/none", "fallback"},
		{"GET /api/v3/x", "GET /v3/x "},
		{"GET /mux/a/b/c", "GET /a/b/c c"},
		{"GET /mux/a", "404"},
		{"GET /user/a%2Fb/c/d", "GET /c/d a/b"},
		{"GET /user/7", "GET / 7"},
		{"GET /user/", "404"},
		{"GET /tree/about", `/about/? ""`},
		{"GET /tree/about/", "302 /tree/about"},
		{"GET /tree/about/?q=1", "302 /tree/about?q=1"},
		{"GET /%74ree/about/", "302 /%74ree/about"},
		{"POST /tree/a/b", `/{p:.+} "a/b"`},
		{"PUT /tree/a/b", "405 OPTIONS, POST"},
		{"GET /tree/", "GET / "},
		{"GET /deep/merged/x/in/y", "GET /y "},
		{"GET /deep/merged/x/list/", "302 /deep/merged/x/list"},
		{"GET /deep/merged/x/z", "GET /x/z z"},
		{"BREW /api/", "501 DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"},
	})
}

// A mount at the root is for all that is left, and one under http.StripPrefix, or
// within another, sends clients to where they can come.
func TestMountWithin(t *testing.T) {
	host := new(aerys.Host).Use(aerys.Router().Mount("/", routes("GET /about/?", "GET /u/{p}/?")))
	outer := at(http.StripPrefix("/app", host))
	shared := aerys.Router().Mount("/s", tells)
	nested := at(aerys.Router().Mount("/a/{x}", aerys.Router().Mount("/b", host), says("rest")).
		Mount("/m/{p}", aerys.Router().Get("/here", tells).Get("/{x}/there", tells).Mount("/below/{x}", tells)).
		Use(aerys.Router().Use(shared).Prefix("/one"), aerys.Router().Use(shared).Prefix("/{p}/and/two")))
	for _, test := range []struct {
		host      *aerys.Host
		exchanges []exchangeWith
	}{
		{outer, []exchangeWith{
			{"GET /app/about", `/about/? ""`},
			{"GET /app/about/?q", "302 /app/about?q"},
			{"GET /app/u/a%2Fb/", "302 /app/u/a%2Fb"},
			{"GET http://evil.example/app/about/", "302 /app/about"},
			{"GET //evil.example/app/about/", "404"},
		}},
		{nested, []exchangeWith{
			{"GET /a/1/b/about/", "302 /a/1/b/about"},
			{"GET /a/1/b/u/2", `/u/{p}/? "2"`},
			{"GET /a//b/u/2/", "404"},
			{"GET /a/1", "rest"},
			{"GET /m/1/here", "GET /here 1"},
			{"GET /m/1/2/there", "GET /2/there 1"},
			{"GET /m/1/below/2/x", "GET /x 1"},
			{"GET /one/s/x/y", "GET /x/y "},
			{"GET /1/and/two/s/x/y", "GET /x/y 1"},
		}},
	} {
		run(t, aerys.Options{}, test.host).check(t, test.exchanges)
	}
	recorder := httptest.NewRecorder()
	http.StripPrefix("/x", host).ServeHTTP(recorder, httptest.NewRequest("GET", "/x/about/", nil))
	is(t, recorder.Header().Get("Location"), "/x/about")
}
