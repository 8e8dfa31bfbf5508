package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aerys"
)

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte("in a directory"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		root, path string
		status     int
		contains   string
	}{
		{"", "/", 200, "<title>"},
		{"", "/files/", 200, "fox.txt"},
		{"", "/files/fox.txt", 200, "The quick brown fox"},
		{"", "/nothing", 404, "Back to the start"},
		{dir, "/", 200, "a.txt"},
		{dir, "/a.txt", 200, "in a directory"},
		{dir, "/files/fox.txt", 404, "Back to the start"},
	} {
		server := httptest.NewServer(new(aerys.Host).Use(files(test.root), notFound))
		answer, err := http.Get(server.URL + test.path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		server.Close()
		if answer.StatusCode != test.status || !strings.Contains(string(body), test.contains) {
			t.Errorf("%q, %s: %s, %.200q", test.root, test.path, answer.Status, body)
		}
	}
}
