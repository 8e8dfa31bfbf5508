package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"aerys"
)

// name is that of a site whose certificate has been got before.
const name = "www.example.com"

// serve runs both hosts on ports that are free, until the test ends.
func serve(t *testing.T, cache string) (safe, plain string) {
	secured, redirecting := hosts(name, cache)
	secured.Expose("127.0.0.1", 0)
	redirecting.Expose("::1", 0) // a port of its own
	ctx, stop := context.WithCancel(context.Background())
	ready, stopped := make(chan []net.Addr, 1), make(chan error, 1)
	server := &aerys.Server{Hosts: []*aerys.Host{secured, redirecting}, Ready: func(addresses []net.Addr) { ready <- addresses }}
	go func() { stopped <- server.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	var addresses []net.Addr
	select {
	case addresses = <-ready:
	case err := <-stopped:
		stopped <- nil
		t.Fatal(err)
	}
	return addresses[0].String(), addresses[1].String()
}

// write puts a certificate into the cache as autocert does, its key first.
func write(t *testing.T, file, subject string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().AddDate(0, 3, 0)}
	template.Subject.CommonName = subject
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// subject is whom the certificate is for that a client gets.
func subject(t *testing.T, address string, protocols ...string) string {
	conn, err := tls.Dial("tcp", address, &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: protocols})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func TestCertificates(t *testing.T) {
	cache := t.TempDir()
	write(t, filepath.Join(cache, name), "the site")
	write(t, filepath.Join(cache, name+"+token"), "the challenge")
	safe, _ := serve(t, cache)
	if got := subject(t, safe, "h2", "http/1.1"); got != "the site" {
		t.Errorf("a browser gets the certificate of %q", got)
	}
	if got := subject(t, safe, "acme-tls/1"); got != "the challenge" {
		t.Errorf("who signs certificates gets that of %q", got)
	}
}

func TestWithoutTLS(t *testing.T) {
	cache := t.TempDir()
	if err := os.WriteFile(filepath.Join(cache, "token+http-01"), []byte("the proof"), 0o600); err != nil {
		t.Fatal(err)
	}
	safe, plain := serve(t, cache)
	_, port, _ := net.SplitHostPort(safe)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, test := range []struct {
		path   string
		status int
		body   string
		leads  string
	}{
		{"/.well-known/acme-challenge/token", 200, "the proof", ""},
		{"/a?b=c", 308, "", "https://" + net.JoinHostPort(name, port) + "/a?b=c"},
	} {
		request, _ := http.NewRequest("GET", "http://"+plain+test.path, nil)
		request.Host = name
		answer, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != test.status || test.body != "" && string(body) != test.body || answer.Header.Get("Location") != test.leads {
			t.Errorf("%s: %s, %q, to %q; want %d, %q, to %q", test.path, answer.Status, body, answer.Header.Get("Location"), test.status, test.body, test.leads)
		}
	}
}
