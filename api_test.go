package aerys_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"aerys"
)

// TestAPITable keeps the README's table "From Aerys to Go" true: each row has a
// check in one of the maps below, under what is in its left column, that uses
// all exported names in its right one.
func TestAPITable(t *testing.T) {
	checks := make(map[string]func(*testing.T))
	for _, some := range []map[string]func(*testing.T){serverChecks, exchangeChecks, websocketChecks} {
		for row, check := range some {
			checks[row] = check
		}
	}
	sources := checkSources(t)
	for _, row := range tableRows(t, "## From Aerys to Go") {
		t.Run(row[0], func(t *testing.T) {
			check := checks[row[0]]
			if check == nil {
				t.Fatal("there is no check for this row")
			}
			delete(checks, row[0])
			for _, code := range regexp.MustCompile("`[^`]+`").FindAllString(row[1], -1) {
				for _, name := range regexp.MustCompile(`\b[A-Z]\w+`).FindAllString(code, -1) {
					if !strings.Contains(sources[row[0]], name) {
						t.Errorf("the check does not use %s", name)
					}
				}
			}
			check(t)
		})
	}
	for row := range checks {
		t.Errorf("the check %q has no row", row)
	}
}

// tableRows returns the two columns of the table under a heading of the README.
func tableRows(t *testing.T, heading string) (rows [][2]string) {
	_, section, _ := strings.Cut(read(t, "README.md"), heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.SplitSeq(section, "\n") {
		if columns := strings.Split(line, " | "); len(columns) == 2 && columns[0] != "| Aerys" {
			rows = append(rows, [2]string{strings.TrimPrefix(columns[0], "| "), strings.TrimSuffix(columns[1], " |")})
		}
	}
	if len(rows) == 0 {
		t.Fatalf("README.md has no table under %q", heading)
	}
	return rows
}

// checkSources returns the text of each check.
func checkSources(t *testing.T) map[string]string {
	sources := make(map[string]string)
	for _, name := range []string{"api_server_test.go", "api_exchange_test.go", "api_websocket_test.go"} {
		text, positions := read(t, name), token.NewFileSet()
		file, err := parser.ParseFile(positions, name, text, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if pair, ok := n.(*ast.KeyValueExpr); ok {
				if key, ok := pair.Key.(*ast.BasicLit); ok {
					row, _ := strconv.Unquote(key.Value)
					sources[row] += text[pair.Value.Pos()-1 : pair.Value.End()-1]
				}
			}
			return true
		})
	}
	return sources
}

// is compares what came out with what should have.
func is(t *testing.T, got any, want string) {
	t.Helper()
	if fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// says is an action that answers with a text.
func says(text string) func(*aerys.Request, *aerys.Response) {
	return func(_ *aerys.Request, res *aerys.Response) { res.End(text) }
}

// answer is what a Host with these actions answers to a request.
func answer(r *http.Request, actions ...aerys.Action) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	new(aerys.Host).Use(actions...).ServeHTTP(recorder, r)
	return recorder
}

// asked is a request with header fields.
func asked(method, target, body string, fields ...string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	return r
}
