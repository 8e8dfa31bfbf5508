package spec

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"aerys"
)

// order is what the JSON of these tests is about.
type order struct {
	Name  string
	Count int
	Lines []struct{ Price float64 }
	Text  int `json:",string"`
}

// rewrapping is middleware that puts something else in the place of writer and
// body, as OpenTelemetry's does.
func rewrapping(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.Clone(r.Context())
		r.Body = struct{ io.ReadCloser }{r.Body}
		next.ServeHTTP(&counter{ResponseWriter: w}, r)
	})
}

// reading is middleware that puts something else in the place of the body alone.
func reading(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.Clone(r.Context())
		r.Body = struct{ io.ReadCloser }{r.Body}
		next.ServeHTTP(w, r)
	})
}

// TestJSON holds what Request.JSON takes, and what it says of what it does not.
func TestJSON(t *testing.T) {
	take := func(req *aerys.Request, res *aerys.Response) {
		var o order
		if req.JSON(&o) == nil {
			res.End(fmt.Sprint(o))
		}
	}
	s := run(t, aerys.Options{MaxBodySize: 200}, at(aerys.Router().Post("/", take).Post("/wrapped", rewrapping, take)).
		Errors(func(_ *aerys.Request, res *aerys.Response, e *aerys.Error) { res.End(e.Text()) }))
	const plain = "application/json"
	for _, test := range []struct {
		kind, body string
		status     int
		answer     string
	}{
		{plain, `{"name":"x","Count":2,"lines":[{"price":1.5}]}`, 200, "{x 2 [{1.5}] 0}"},
		{"Application/JSON; charset=utf-8", ` {} ` + "\n", 200, "{ 0 [] 0}"},
		{"application/merge-patch+json", `{"Else":[{}],"Count":1}`, 200, "{ 1 [] 0}"},
		{plain, `null`, 200, "{ 0 [] 0}"},
		{plain, strings.Repeat(" ", 198) + "{}", 200, "{ 0 [] 0}"},
		{plain, strings.Repeat(" ", 199) + "{}", 413, "the request's body is too large: more than MaxBodySize (200) allows"},
		{"", `{}`, 415, `want Content-Type: application/json, not ""`},
		{"text/json", `{}`, 415, `want Content-Type: application/json, not "text/json"`},
		{"application/x-www-form-urlencoded", `{}`, 415, `want Content-Type: application/json, not "application/x-www-form-urlencoded"`},
		{plain + "\r\nContent-Encoding: gzip", `{}`, 415, `want a body without Content-Encoding, not "gzip"`},
		{plain + "\r\nContent-Encoding: identity\r\nContent-Encoding: br", `{}`, 415, `want a body without Content-Encoding, not "identity, br"`},
		{strings.Repeat("x", 1000), `{}`, 415, `want Content-Type: application/json, not "` + strings.Repeat("x", 100) + `"`},
		{plain + "\r\nContent-Encoding: identity", `{}`, 200, "{ 0 [] 0}"},
		{plain, " \n", 400, "the body is empty: want JSON"},
		{plain, ``, 400, "the body is empty: want JSON"},
		{plain, `{"Count":1}{}`, 400, "invalid character '{' after top-level value, at line 1, column 12"},
		{plain, "{\n \"Count\": x}", 400, "invalid character 'x' looking for beginning of value, at line 2, column 11"},
		{plain, "{\"Count\":\n\n", 400, "unexpected end of JSON input, at line 2, column 1"},
		{plain, `{"Count":"1"}`, 400, "string does not fit Count, at line 1, column 12"},
		{plain, `{"Lines":[{"Price":true}]}`, 400, "bool does not fit Lines.Price, at line 1, column 23"},
		{plain, `[]`, 400, "array does not fit here, at line 1, column 1"},
		{plain, `{"Count":99999999999999999999}`, 400, "number 99999999999999999999 does not fit Count, at line 1, column 29"},
		{plain, `{"Count":` + strings.Repeat("9", 150) + `}`, 400, "number " + strings.Repeat("9", 93) + " does not fit Count, at line 1, column 159"},
		{plain, `{"Text":7}`, 400, "a value is not of the type that is wanted there"},
		{plain, strings.Repeat("[", 199), 400, "unexpected end of JSON input, at line 1, column 199"},
	} {
		for _, path := range []string{"/", "/wrapped"} {
			text := converse(t, s.addresses[0], posted(path, fmt.Sprintf("Content-Type: %s\r\nContent-Length: %d", test.kind, len(test.body)), test.body))
			if status, body := statusAndBody(t, text); status != test.status || body != test.answer {
				t.Errorf("%s, %s %q: %d %s", path, test.kind, test.body, status, body)
			}
		}
	}
}

// TestJSONOfActions: a handler may look at the error, raise the limit, and answer
// itself; and a wrong argument panics.
func TestJSONOfActions(t *testing.T) {
	long := func(req *aerys.Request, res *aerys.Response) {
		var text string
		res.End(fmt.Sprint(req.JSON(&text, 100), len(text)))
	}
	raise := func(req *aerys.Request, _ *aerys.Response) { req.Body(100) }
	count := func(w http.ResponseWriter, r *http.Request) { n, _ := io.Copy(io.Discard, r.Body); fmt.Fprint(w, n) }
	s := run(t, aerys.Options{MaxBodySize: 10}, at(aerys.Router().
		Post("/raised", raise, reading, count).Post("/raised/wrapped", raise, rewrapping, reading, count).
		Post("/long", long).Post("/long/wrapped", rewrapping, rewrapping, long).
		Post("/own", func(req *aerys.Request, res *aerys.Response) {
			err := req.JSON(new(int))
			res.SetStatus(422).End(fmt.Sprint(err))
		}).
		Post("/status", func(req *aerys.Request, res *aerys.Response) {
			if req.JSON(new(int)) != nil {
				res.SetStatus(422)
			}
		}).
		Post("/else", func(req *aerys.Request, _ *aerys.Response) { req.JSON(new(int)) }, hello).
		Post("/value", func(req *aerys.Request, res *aerys.Response) { res.End(fmt.Sprint(req.JSON(1))) }).
		Post("/nil", func(req *aerys.Request, res *aerys.Response) { res.End(fmt.Sprint(req.JSON((*int)(nil)))) })))
	for _, test := range []struct {
		path, body string
		status     int
		answer     string
	}{
		{"/long", `"` + strings.Repeat("x", 98) + `"`, 200, "<nil> 98"},
		{"/long/wrapped", `"` + strings.Repeat("x", 98) + `"`, 200, "<nil> 98"},
		{"/long", `"` + strings.Repeat("x", 99) + `"`, 413, "413 Request Entity Too Large: aerys: the request's body is too large: more than MaxBodySize (100) allows 0"},
		{"/raised", strings.Repeat("x", 100), 200, "100"},
		{"/raised/wrapped", strings.Repeat("x", 100), 200, "100"},
		{"/raised", strings.Repeat("x", 101), 413, "0"},
		{"/own", `x`, 422, "400 Bad Request: invalid character 'x' looking for beginning of value, at line 1, column 1"},
		{"/status", `x`, 422, "makes no sense here"},
		{"/else", `x`, 400, "invalid character"},
		{"/value", `1`, 500, "Something went wrong"},
		{"/nil", `1`, 500, "Something went wrong"},
	} {
		text := converse(t, s.addresses[0], posted(test.path, fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d", len(test.body)), test.body))
		if status, body := statusAndBody(t, text); status != test.status || !strings.Contains(body, test.answer) {
			t.Errorf("%s: %d %s", test.path, status, body)
		}
	}
	if log := s.log.String(); strings.Count(log, "aerys: Request.JSON(") != 2 || !strings.Contains(log, "want a pointer") {
		t.Error(log)
	}
}

// TestJSONAnswers holds what Response.JSON sends.
func TestJSONAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		act  func(*aerys.Response)
		want string
	}{
		"a value":       {func(res *aerys.Response) { res.JSON([]int{1, 2}) }, "200 application/json [1,2]\n"},
		"nil":           {func(res *aerys.Response) { res.JSON(nil) }, "200 application/json null\n"},
		"with a status": {func(res *aerys.Response) { res.SetStatus(201).JSON("</script>") }, `201 application/json "\u003c/script\u003e"` + "\n"},
		"another type": {func(res *aerys.Response) { res.SetHeader("Content-Type", "application/geo+json").JSON(1) },
			"200 application/geo+json 1\n"},
		"after some text": {func(res *aerys.Response) { res.WriteString("x "); res.JSON(1) }, "200 application/json x 1\n"},
		"ended":           {func(res *aerys.Response) { res.JSON(1).WriteString("x"); res.JSON(2) }, "200 application/json 1\n"},
	} {
		s := run(t, aerys.Options{}, at(func(_ *aerys.Request, res *aerys.Response) { test.act(res) }))
		response, err := http.Get(s.url())
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(response.StatusCode, " ", response.Header.Get("Content-Type"), " ", bodyOf(response)); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
