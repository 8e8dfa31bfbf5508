package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"aerys"
)

// A handler is tried without a connection.
func TestHello(t *testing.T) {
	answer := httptest.NewRecorder()
	new(aerys.Host).Use(hello).ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
	if answer.Code != 200 || answer.Body.String() != "Hello, world!\n" {
		t.Errorf("answered %d %q", answer.Code, answer.Body)
	}
}

// A server is asked as its clients ask it.
func TestServer(t *testing.T) {
	server := httptest.NewServer(new(aerys.Host).Use(aerys.Router().Get("/", hello)))
	defer server.Close()
	for path, status := range map[string]int{"/": 200, "/elsewhere": 404} {
		answer, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if body, err := io.ReadAll(answer.Body); answer.StatusCode != status || err != nil {
			t.Errorf("%s: %s, %q, %v", path, answer.Status, body, err)
		}
	}
}
