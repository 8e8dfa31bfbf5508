package aerys

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// TestSlashesWithinSegments sends slashes in all disguises. What was sent
// encoded stays in its segment, what was not divides the path, and no other
// byte is taken for either.
func TestSlashesWithinSegments(t *testing.T) {
	router := routerOf("GET /a/{x}/b", "GET /any/{x:.+}", `GET /word/{x:\w+}`, "GET /both/{x}-{y}", "GET /pre{x}post", "GET /pre{x}%2Fpost",
		"GET /s%2Fx", "GET /s/x", "GET /s%2F%2Fx", "GET /t%2f{x}", "GET /%EF%B7%90/{x}", "GET /opt[/{x}[%2F{y}]]", "GET /go/{x}/?",
		"GET /dots/{x:[^.]+}", "GET /no/{x:[^/.]+}", "GET /up/{x}/{y}")
	router.Get("/std/{x}/b", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "std %q", r.PathValue("x")) })
	s := runServer(t, Options{}, new(Host).Expose("127.0.0.1", 0).Use(router))
	for _, test := range []struct{ path, want string }{
		{"/a/x%2Fy/b", `/a/{x}/b x="x/y"`},
		{"/a/x%2fy/b", `/a/{x}/b x="x/y"`},
		{"/a/%2F/b", `/a/{x}/b x="/"`},
		{"/a/x%252Fy/b", `/a/{x}/b x="x%2Fy"`},
		{"/a/x%25252Fy%2F/b", `/a/{x}/b x="x%252Fy/"`},
		{"/a/..%EF%B7%90etc/b", `/a/{x}/b x="..\ufdd0etc"`},
		{"/a/\ufdd0/b", `/a/{x}/b x="\ufdd0"`},
		{"/a/%EF%B7%90%2F%EF%B7%90/b", `/a/{x}/b x="\ufdd0/\ufdd0"`},
		{"/a/\ufdd0%2F/b", `/a/{x}/b x="\ufdd0/"`},
		{"/a/%FF/b", `/a/{x}/b x="\xff"`},
		{"/a/%FF%2F%FE/b", `/a/{x}/b x="\xff/\xfe"`},
		{"/a/%00%2F%00/b", `/a/{x}/b x="\x00/\x00"`},
		{"/a/%0A%2F/b", `/a/{x}/b x="\n/"`},
		{"/a/%C0%AF/b", `/a/{x}/b x="\xc0\xaf"`}, // an overlong slash is none
		{"/a/%5C%2F/b", `/a/{x}/b x="\\/"`},
		{"/a/%25%2F/b", `/a/{x}/b x="%/"`},
		{"/a%2Fx/b", ""},
		{"/a/x%2Fb", ""},
		{"%2Fa/x/b", ""},
		{"/any/x%2Fy", `/any/{x:.+} x="x/y"`},
		{"/any/%EF%B7%90%2F", `/any/{x:.+} x="\ufdd0/"`},
		{"/any/x/y", ""},
		{"/word/x%2Fy", ""},
		{"/word/x%EF%B7%90", ""},
		{"/both/a%2Fb-c%2Fd", `/both/{x}-{y} x="a/b" y="c/d"`},
		{"/both/%FF%0A-%2F", `/both/{x}-{y} x="\xff\n" y="/"`},
		{"/both/a/b-c", ""},
		{"/prex%2Fpost", `/pre{x}%2Fpost x="x"`},
		{"/pre%2Fpost", `/pre{x}post x="/"`},
		{"/prex%FFpost", `/pre{x}post x="x\xff"`},
		{"/s%2Fx", "/s%2Fx"},
		{"/s%2fx", "/s%2Fx"},
		{"/s/x", "/s/x"},
		{"/s%FFx", ""},
		{"/s%25x", ""},
		{"/s%EF%B7%90x", ""},
		{"/s%2F/x", ""},
		{"/s%2F%2Fx", "/s%2F%2Fx"},
		{"/t%2Fx", `/t%2f{x} x="x"`},
		{"/t%2F%2F", `/t%2f{x} x="/"`},
		{"/t/x", ""},
		{"/%EF%B7%90/%2F", `/%EF%B7%90/{x} x="/"`},
		{"/\ufdd0/x", `/%EF%B7%90/{x} x="x"`},
		{"/%2F/x", ""},
		{"/opt/x%2Fy", `/opt[/{x}[%2F{y}]] x="x" y="y"`},
		{"/opt/x%2F", `/opt[/{x}[%2F{y}]] x="x/"`},
		{"/go/x%2F/", "302 /go/x%2F"},
		{"/go/x%2F%EF%B7%90/", "302 /go/x%2F%EF%B7%90"},
		{"/go/\u00e9%2F/", "302 /go/%C3%A9%2F"},
		{"/go/\\%2F/", "302 /go/%5C%2F"},
		{"/go/x%2F", `/go/{x}/? x="x/"`},
		{"/dots/a%2Fb", `/dots/{x:[^.]+} x="a/b"`},
		{"/no/a%2Fb", ""}, // as the regexp has it
		{"/up/%2E%2E%2F%2E%2E/x%2F", `/up/{x}/{y} x="../.." y="x/"`},
		{"/std/x%2Fy/b", `std "x/y"`},
		{"/std/..%EF%B7%90etc/b", `std "..\ufdd0etc"`},
	} {
		text := s.get(t, s.addresses[0], "a", test.path)
		status, body := statusAndBody(t, text)
		switch status {
		case http.StatusNotFound, http.StatusBadRequest:
			body = ""
		case http.StatusFound:
			_, location, _ := strings.Cut(text, "Location: ")
			location, _, _ = strings.Cut(location, "\r\n")
			body = "302 " + location
		}
		if body != test.want {
			t.Errorf("%s: %d %q, want %q", test.path, status, body, test.want)
		}
	}
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
	router.Get("/a/{x}/b{y}/{z:(?s:.+)}/c", take)
	f.Fuzz(func(t *testing.T, x, y, z string) {
		var segments []string
		for _, segment := range []string{x, y, z} {
			decoded, err := url.PathUnescape(segment)
			if err != nil || decoded == "" || strings.ContainsAny(segment, "/?") {
				return
			}
			segments = append(segments, decoded)
		}
		u, err := url.ParseRequestURI("/a/" + x + "/b" + y + "/" + z + "/c")
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
