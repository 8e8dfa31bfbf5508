package aerys

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"testing"
)

// theirs is a config's GetCertificate that has one for the name it is in.
func theirs(pair tls.Certificate) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		switch hello.ServerName {
		case pair.Leaf.Subject.CommonName, "":
			return &pair, nil
		case "forbidden.example":
			return nil, errors.New("no certificate for that")
		}
		return nil, nil
	}
}

// TestEncryptKeepsTheConfig: what the caller's config says where certificates
// come from, and which protocols there are, holds beside the files and without.
func TestEncryptKeepsTheConfig(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := writeCertificate(t, dir, "file.example")
	a, b := friend(t, "a.example"), friend(t, "b.example")
	choose := func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		switch hello.ServerName {
		case "a.example":
			return &tls.Config{Certificates: []tls.Certificate{a}}, nil
		case "b.example":
			return &tls.Config{GetCertificate: theirs(b), NextProtos: []string{"b/1"}}, nil
		case "old.example":
			return &tls.Config{MaxVersion: tls.VersionTLS12}, nil
		case "forbidden.example":
			return nil, errors.New("nobody is served here")
		}
		return nil, nil
	}
	files, none := [2]string{certFile, keyFile}, [2]string{}
	for _, test := range []struct {
		name   string
		files  [2]string
		config *tls.Config
		want   map[string]string // the certificate's name by the server's, "" for a failure
	}{
		{"files", files, &tls.Config{}, map[string]string{"a.example": "file.example", "": "file.example"}},
		{"GetCertificate", none, &tls.Config{GetCertificate: theirs(a)},
			map[string]string{"a.example": "a.example", "": "a.example", "forbidden.example": "", "other.example": ""}},
		{"Certificates", none, &tls.Config{Certificates: []tls.Certificate{a, b}},
			map[string]string{"a.example": "a.example", "b.example": "b.example", "other.example": "a.example", "": "a.example"}},
		{"GetCertificate and Certificates", none, &tls.Config{GetCertificate: theirs(b), Certificates: []tls.Certificate{a}},
			map[string]string{"b.example": "b.example", "": "a.example", "other.example": "a.example", "forbidden.example": ""}},
		{"GetConfigForClient", none, &tls.Config{GetConfigForClient: choose},
			map[string]string{"a.example": "a.example", "b.example": "b.example", "old.example": "", "forbidden.example": "", "": ""}},
		{"files and GetCertificate", files, &tls.Config{GetCertificate: theirs(a)},
			map[string]string{"a.example": "a.example", "": "file.example", "other.example": "file.example", "forbidden.example": ""}},
		{"files and Certificates", files, &tls.Config{Certificates: []tls.Certificate{a, b}},
			map[string]string{"a.example": "a.example", "b.example": "b.example", "": "file.example", "other.example": "file.example"}},
		{"files and GetConfigForClient", files, &tls.Config{GetConfigForClient: choose},
			map[string]string{"a.example": "a.example", "b.example": "b.example", "old.example": "file.example", "forbidden.example": "", "": "file.example"}},
		{"all", files, &tls.Config{GetCertificate: theirs(a), Certificates: []tls.Certificate{b}, GetConfigForClient: choose},
			map[string]string{"a.example": "a.example", "b.example": "b.example", "old.example": "file.example", "": "file.example"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := runServer(t, Options{}, local("x").Encrypt(test.files[0], test.files[1], test.config))
			for sni, want := range test.want {
				conn, name, err := handshake(t, s.addresses[0], &tls.Config{ServerName: sni, NextProtos: []string{"http/1.1"}})
				if name != want || want != "" && err != nil {
					t.Errorf("%q: certificate of %q, want %q (%v)", sni, name, want, err)
				}
				if want == "" {
					continue
				}
				io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
				text, _ := io.ReadAll(conn)
				if _, body := statusAndBody(t, string(text)); body != "x" {
					t.Errorf("%q: %q", sni, body)
				}
			}
		})
	}
}

// The protocols of a config are kept, as ACME's "acme-tls/1" (RFC 8737); HTTP's
// are added only if there are none.
func TestEncryptKeepsProtocols(t *testing.T) {
	a := friend(t, "a.example")
	for _, test := range []struct{ protocols, want []string }{
		{nil, []string{"h2", "http/1.1"}},
		{[]string{"acme-tls/1"}, []string{"acme-tls/1", "h2", "http/1.1"}},
		{[]string{"h2", "http/1.1", "acme-tls/1"}, []string{"h2", "http/1.1", "acme-tls/1"}},
		{[]string{"http/1.1", "acme-tls/1"}, []string{"http/1.1", "acme-tls/1"}}, // no HTTP/2, as its owner wants it
		{[]string{"http/1.1"}, []string{"http/1.1"}},
	} {
		for name, config := range map[string]*tls.Config{
			"config": {GetCertificate: theirs(a), NextProtos: test.protocols},
			"GetConfigForClient": {GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
				return &tls.Config{GetCertificate: theirs(a), NextProtos: test.protocols}, nil
			}},
		} {
			s := runServer(t, Options{}, local("x").Encrypt("", "", config))
			var got []string
			for _, protocol := range test.want {
				conn, _, err := handshake(t, s.addresses[0], &tls.Config{ServerName: "a.example", NextProtos: []string{protocol}})
				if err == nil {
					got = append(got, conn.ConnectionState().NegotiatedProtocol)
				}
			}
			if _, _, err := handshake(t, s.addresses[0], &tls.Config{ServerName: "a.example", NextProtos: []string{"other/1"}}); err == nil {
				t.Errorf("%s, %q: other/1 was accepted", name, test.protocols)
			}
			if fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("%s, %q: %q, want %q", name, test.protocols, got, test.want)
			}
		}
	}
}

// What a host that refuses clients in the handshake serves does not come over
// another host's connection.
func TestNoRequestComesOverAnotherHostsConnection(t *testing.T) {
	certFile, keyFile := writeCertificate(t, t.TempDir(), "a.example", "b.example")
	for name, test := range map[string]struct {
		config *tls.Config
		want   int
	}{
		"ordinary":           {&tls.Config{MinVersion: tls.VersionTLS13}, 200},
		"ClientAuth":         {&tls.Config{ClientAuth: tls.RequestClientCert}, 421},
		"VerifyConnection":   {&tls.Config{VerifyConnection: func(tls.ConnectionState) error { return nil }}, 421},
		"GetConfigForClient": {&tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, nil }}, 421},
	} {
		s := runServer(t, Options{}, local("a").Name("a.example").Encrypt(certFile, keyFile), local("b").Name("b.example").Encrypt(certFile, keyFile, test.config))
		for sni, want := range map[string]int{"a.example": test.want, "b.example": 200} {
			conn, _, err := handshake(t, s.addresses[0], &tls.Config{ServerName: sni})
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(conn, "GET / HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n\r\n")
			text, _ := io.ReadAll(conn)
			if status, _ := statusAndBody(t, string(text)); status != want {
				t.Errorf("%s, by the name of %s: status %d, want %d", name, sni, status, want)
			}
		}
	}
}
