package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

// client has the token, or another one.
type client struct {
	*testing.T
	url, token string
}

func serve(t *testing.T) (a *api, c client) {
	a = newAPI(t.TempDir(), "secret")
	server := httptest.NewServer(a.host())
	t.Cleanup(server.Close)
	return a, client{t, server.URL, "secret"}
}

// asks sends a request and returns its answer, whose body is open.
func (c client) asks(method, path, contentType string, body io.Reader) *http.Response {
	c.Helper()
	request, err := http.NewRequestWithContext(c.Context(), method, c.url+path, body)
	if err != nil {
		c.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set("Content-Type", contentType)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { answer.Body.Close() })
	return answer
}

// gets is asks for an answer in JSON, or any other.
func (c client) gets(method, path, body string, into any) int {
	c.Helper()
	answer := c.asks(method, path, "application/json", strings.NewReader(body))
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		c.Fatal(err)
	}
	if into != nil && json.Unmarshal(text, into) != nil {
		c.Errorf("%s %s: %q", method, path, text)
	}
	return answer.StatusCode
}

// uploads sends a file as a browser's form does.
func (c client) uploads(name string, content []byte) (f file, status int) {
	c.Helper()
	form := new(bytes.Buffer)
	w := multipart.NewWriter(form)
	w.WriteField("comment", "is passed over")
	part, _ := w.CreateFormFile("file", name)
	part.Write(content)
	w.Close()
	answer := c.asks("POST", "/files", w.FormDataContentType(), form)
	json.NewDecoder(answer.Body).Decode(&f)
	return f, answer.StatusCode
}

func TestFiles(t *testing.T) {
	_, c := serve(t)
	content := bytes.Repeat([]byte("content "), 100_000)
	f, status := c.uploads("a b.txt", content)
	if status != 201 || f.Name != "a b.txt" || f.Size != int64(len(content)) {
		t.Fatalf("uploading: %d, %+v", status, f)
	}
	answer := c.asks("GET", "/files/"+f.ID, "", nil)
	if got, _ := io.ReadAll(answer.Body); !bytes.Equal(got, content) || !strings.Contains(answer.Header.Get("Content-Disposition"), "a b.txt") {
		t.Errorf("downloading: %d bytes, %v", len(got), answer.Header)
	}
	if status := c.gets("PATCH", "/files/"+f.ID, `{"name": "c.txt"}`, &f); status != 200 || f.Name != "c.txt" {
		t.Errorf("renaming: %d, %+v", status, f)
	}
	var all []file
	if status := c.gets("GET", "/files", "", &all); status != 200 || len(all) != 1 || all[0] != f {
		t.Errorf("listing: %d, %+v", status, all)
	}
	for _, status := range []int{204, 404} {
		if got := c.gets("DELETE", "/files/"+f.ID, "", nil); got != status {
			t.Errorf("removing: %d, want %d", got, status)
		}
	}
}

// Whatever goes wrong, the answer is a problem that says what.
func TestProblems(t *testing.T) {
	a, c := serve(t)
	f, _ := c.uploads("a", nil)
	for _, test := range []struct {
		name, token, method, path, contentType, body string
		status                                       int
	}{
		{"no token", "", "GET", "/files", "", "", 401},
		{"another token", "guess", "DELETE", "/files/" + f.ID, "", "", 401},
		{"no such route", "secret", "GET", "/elsewhere", "", "", 404},
		{"no such file", "secret", "GET", "/files/1", "", "", 404},
		{"no such method", "secret", "PUT", "/files", "", "", 405},
		{"no form", "secret", "POST", "/files", "text/plain", "", 415},
		{"no whole form", "secret", "POST", "/files", "multipart/form-data; boundary=x", "--x", 400},
		{"no file", "secret", "POST", "/files", "application/x-www-form-urlencoded", "a=b", 400},
		{"no JSON", "secret", "PATCH", "/files/" + f.ID, "text/plain", "{}", 415},
		{"broken JSON", "secret", "PATCH", "/files/" + f.ID, "application/json", "{", 400},
		{"too much JSON", "secret", "PATCH", "/files/" + f.ID, "application/json", strings.Repeat(" ", 200<<10), 413},
	} {
		c.token = test.token
		answer := c.asks(test.method, test.path, test.contentType, strings.NewReader(test.body))
		var problem struct {
			Status int
			Title  string
		}
		json.NewDecoder(answer.Body).Decode(&problem)
		if answer.StatusCode != test.status || problem.Status != test.status || problem.Title == "" ||
			answer.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %s, %q, %+v", test.name, answer.Status, answer.Header.Get("Content-Type"), problem)
		}
	}
	if entries, _ := os.ReadDir(a.dir); len(entries) != 1 {
		t.Errorf("there are %d files", len(entries))
	}
}

// While one client uploads, another sees how far it has come.
func TestEvents(t *testing.T) {
	_, c := serve(t)
	events := bufio.NewScanner(c.asks("GET", "/files/events", "", nil).Body)
	if _, status := c.uploads("film", make([]byte, 1<<20)); status != 201 {
		t.Fatal(status)
	}
	var seen []string
	for events.Scan() {
		if kind, ok := strings.CutPrefix(events.Text(), "event: "); ok {
			if seen = append(seen, kind); kind == "changed" {
				break
			}
		}
	}
	if got := strings.Join(seen, " "); got != strings.Repeat("progress ", 9)+"changed" { // the last tenth ends the form
		t.Errorf("the events are %s", got)
	}
}
