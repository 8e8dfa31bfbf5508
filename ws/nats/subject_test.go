package nats

import (
	"strings"
	"testing"
)

// Every topic has a subject of its own: two tokens, of characters that NATS takes.
func FuzzSubject(f *testing.F) {
	f.Add("a", "b")
	f.Add("", "=")
	f.Add("a.b", "a=2Eb")
	f.Add(strings.Repeat("x", 201), "=h")
	b := New("")
	f.Fuzz(func(t *testing.T, one, other string) {
		subject := b.subject(one)
		token := strings.TrimPrefix(subject, "aerys.")
		if token == "" || len(token) > 3*longestToken || strings.Trim(token, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=") != "" {
			t.Errorf("%q is %q", one, subject)
		}
		if one != other && subject == b.subject(other) {
			t.Errorf("%q and %q are %q", one, other, subject)
		}
	})
}
