package ws_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"aerys"
	"aerys/ws"
)

// tunneller is a proxy that passes no Upgrade on, as squid and tinyproxy: it
// knows CONNECT, to one address whatever is asked for.
type tunneller struct {
	to    string
	login string // user:password, if one is asked for

	mu    sync.Mutex
	asked []*http.Request
}

func (p *tunneller) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r)
	p.mu.Unlock()
	proxied := &http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
	user, password, _ := proxied.BasicAuth()
	switch {
	case r.Method != http.MethodConnect:
		w.WriteHeader(http.StatusUpgradeRequired)
	case p.login != "" && user+":"+password != p.login:
		w.WriteHeader(http.StatusProxyAuthRequired)
	default:
		p.tunnel(w)
	}
}

// tunnel carries bytes both ways until one of the ends is done.
func (p *tunneller) tunnel(w http.ResponseWriter) {
	there, err := net.Dial("tcp", p.to)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	here, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n")
	go func() {
		defer there.Close()
		io.Copy(there, buffered)
	}()
	defer here.Close()
	io.Copy(here, there)
}

// A proxy is asked for a tunnel, whatever is to be reached through it.
func TestDialThroughProxy(t *testing.T) {
	t.Parallel()
	insecure := &tls.Config{InsecureSkipVerify: true}
	for _, test := range []struct {
		name     string
		proxyTLS bool
		tls      bool
		login    string // asked for
		user     *url.Userinfo
		err      string
	}{
		{name: "ws through http"},
		{name: "wss through http", tls: true},
		{name: "ws through https", proxyTLS: true},
		{name: "wss through https", proxyTLS: true, tls: true},
		{name: "ws with a password", login: "ada:a b%", user: url.UserPassword("ada", "a b%")},
		{name: "ws with a name only", login: "ada:", user: url.User("ada")},
		{name: "ws with another password", login: "ada:secret", user: url.UserPassword("ada", "guess"), err: "407"},
		{name: "ws without a password", login: "ada:secret", err: "407"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, setting{network: "tcp", tls: test.tls}, &recorder{}, ws.Options{})
			proxy := &tunneller{to: s.address, login: test.login}
			h := httptest.NewUnstartedServer(proxy)
			if test.proxyTLS {
				h.StartTLS()
			} else {
				h.Start()
			}
			defer h.Close()
			at, _ := url.Parse(h.URL)
			at.User = test.user
			transport := &http.Transport{Proxy: http.ProxyURL(at), TLSClientConfig: insecure, ProxyConnectHeader: http.Header{"X-Via": {"test"}}}
			defer transport.CloseIdleConnections()
			scheme := "ws"
			if test.tls {
				scheme = "wss"
			}
			c, _, err := ws.Dial(patient(t), scheme+"://server.example.com/chat", ws.DialOptions{Client: &http.Client{Transport: transport}})
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || !strings.Contains(err.Error(), at.Host) {
					t.Errorf("Dial: %v, want %q and the proxy in it", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			c.Write(patient(t), "hello")
			expectMessage(t, c, false, "hello")
			if err := c.Close(ws.CodeNormal, ""); err != nil {
				t.Error(err)
			}
			port := map[bool]string{false: ":80", true: ":443"}[test.tls]
			if r := proxy.asked[0]; r.Method != "CONNECT" || r.Host != "server.example.com"+port || r.Header.Get("X-Via") != "test" || len(proxy.asked) != 1 {
				t.Errorf("the proxy was asked for %s %s, %v", r.Method, r.Host, r.Header)
			}
		})
	}
}

// Proxies that are not for this address, or that cannot be told, or that say nothing.
func TestDialAndProxies(t *testing.T) {
	t.Parallel()
	s := serve(t, setting{network: "tcp"}, &recorder{}, ws.Options{})
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	oops := errors.New("oops")
	for name, test := range map[string]struct {
		proxy func(*http.Request) (*url.URL, error)
		err   error
	}{
		"none":            {func(*http.Request) (*url.URL, error) { return nil, nil }, nil},
		"nobody knows":    {func(*http.Request) (*url.URL, error) { return nil, oops }, oops},
		"says nothing":    {http.ProxyURL(&url.URL{Scheme: "http", Host: silent.Addr().String()}), context.DeadlineExceeded},
		"no TLS, nothing": {http.ProxyURL(&url.URL{Scheme: "https", Host: silent.Addr().String()}), context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			transport := &http.Transport{Proxy: test.proxy}
			defer transport.CloseIdleConnections()
			ctx := patient(t)
			if test.err == context.DeadlineExceeded {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 50*time.Millisecond)
				defer cancel()
			}
			c, _, err := ws.Dial(ctx, "ws://"+s.address, ws.DialOptions{Client: &http.Client{Transport: transport}})
			if !errors.Is(err, test.err) {
				t.Fatalf("Dial: %v, want %v", err, test.err)
			}
			if c != nil {
				c.Close(ws.CodeNormal, "")
			}
		})
	}
}

// Redirects are followed to ws and wss as to http and https, with what net/http
// takes along.
func TestDialFollowsRedirects(t *testing.T) {
	t.Parallel()
	type seen struct{ authorization, cookie string }
	handshakes := make(chan seen, 1)
	r := &recorder{onHandshake: func(req *aerys.Request, _ *aerys.Response) {
		handshakes <- seen{req.Header.Get("Authorization"), req.Header.Get("Cookie")}
	}}
	for _, test := range []struct {
		name     string
		fromTLS  bool
		toTLS    bool
		status   int
		location string // %s is where the endpoint is
		want     seen
		err      string
	}{
		{"to ws", false, false, 302, "ws://%s/chat", seen{"Bearer good", "a=1; b=2"}, ""},
		{"to WS in capitals", false, false, 307, "WS://%s/chat", seen{"Bearer good", "a=1; b=2"}, ""},
		{"to http", false, false, 301, "http://%s/chat", seen{"Bearer good", "a=1; b=2"}, ""},
		{"to wss", false, true, 308, "wss://%s/chat", seen{"Bearer good", "a=1; b=2"}, ""},
		{"from wss to wss", true, true, 303, "wss://%s/chat", seen{"Bearer good", "a=1; b=2"}, ""},
		{"from wss to https", true, true, 302, "https://%s/chat", seen{"Bearer good", "a=1; b=2"}, ""},
		{"to another host", false, false, 302, "ws://other.example:%s/chat", seen{}, ""},
		{"from wss to ws", true, false, 302, "ws://%s/chat", seen{}, "from wss to ws"},
		{"from wss to http", true, false, 302, "http://%s/chat", seen{}, "from wss to ws"},
		{"to itself", false, false, 302, "/", seen{}, "10 redirects"},
		{"to another scheme", false, false, 302, "ftp://%s/chat", seen{}, "unsupported protocol scheme"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, setting{network: "tcp", tls: test.toTLS}, r, ws.Options{})
			_, port, _ := net.SplitHostPort(s.address)
			h := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.SetCookie(w, &http.Cookie{Name: "b", Value: "2"})
				w.Header().Set("Location", strings.ReplaceAll(test.location, "%s", map[bool]string{true: port, false: s.address}[strings.Contains(test.location, "example")]))
				w.WriteHeader(test.status)
			}))
			scheme := "ws"
			if test.fromTLS {
				scheme = "wss"
				h.StartTLS()
			} else {
				h.Start()
			}
			defer h.Close()
			transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DialContext: localDial}
			defer transport.CloseIdleConnections()
			jar, _ := cookiejar.New(nil)
			header := http.Header{"Authorization": {"Bearer good"}, "Cookie": {"a=1"}}
			c, res, err := ws.Dial(patient(t), scheme+"://"+h.Listener.Addr().String(), ws.DialOptions{Header: header, Client: &http.Client{Transport: transport, Jar: jar}})
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || c != nil {
					t.Errorf("Dial: %v, want %q", err, test.err)
				}
				if res != nil {
					io.ReadAll(res.Body)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close(ws.CodeNormal, "")
			if got := <-handshakes; got != test.want {
				t.Errorf("the endpoint saw %+v, want %+v", got, test.want)
			}
			c.Write(patient(t), "hello")
			expectMessage(t, c, false, "hello")
		})
	}
}

// localDial finds every host on this machine.
func localDial(ctx context.Context, network, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
}

// Whose CheckRedirect wants to see the redirect gets it.
func TestDialStopsAtRedirect(t *testing.T) {
	t.Parallel()
	h := httptest.NewServer(http.RedirectHandler("ws://elsewhere.example/chat", http.StatusFound))
	defer h.Close()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	_, res, err := ws.Dial(patient(t), h.URL, ws.DialOptions{Client: client})
	if err == nil || res == nil || res.StatusCode != http.StatusFound || !strings.HasSuffix(res.Header.Get("Location"), "://elsewhere.example/chat") {
		t.Errorf("Dial: %v, %v", res, err)
	}
}
