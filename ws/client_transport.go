package ws

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// handshaker is what makes the requests of an opening handshake in place of the
// Transport of DialOptions.Client: like it, but for what net/http does not know
// of WebSocket.
type handshaker struct {
	http.RoundTripper
	tunnels []*http.Transport // made for this handshake
}

// client is DialOptions.Client with a handshaker.
func (o *DialOptions) client() (*http.Client, *handshaker) {
	h := &handshaker{RoundTripper: o.Client.Transport}
	if h.RoundTripper == nil {
		h.RoundTripper = http.DefaultTransport
	}
	client := *o.Client
	client.Transport, client.CheckRedirect = h, o.checkRedirect
	return &client, h
}

// checkRedirect is that of DialOptions.Client, save that nothing that was to be
// sent by TLS is sent in clear.
func (o *DialOptions) checkRedirect(req *http.Request, via []*http.Request) error {
	switch {
	case via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme == "http":
		return errors.New("a redirect from wss to ws is not followed")
	case o.Client.CheckRedirect != nil:
		return o.Client.CheckRedirect(req, via)
	case len(via) >= 10:
		return errors.New("stopped after 10 redirects")
	}
	return nil
}

// RoundTrip makes a request. Proxies do not pass an Upgrade on: they are asked
// for a tunnel (RFC 6455 §4.1).
func (h *handshaker) RoundTrip(req *http.Request) (*http.Response, error) {
	transport, err := h.transportFor(req)
	if err != nil {
		return nil, err
	}
	res, err := transport.RoundTrip(req)
	if err == nil {
		if scheme, rest, ok := strings.Cut(res.Header.Get("Location"), "://"); ok && httpScheme(scheme) != scheme {
			res.Header.Set("Location", httpScheme(scheme)+"://"+rest)
		}
	}
	return res, err
}

// httpScheme returns http for ws and https for wss (RFC 6455 §11.1); others stay.
func httpScheme(scheme string) string {
	switch strings.ToLower(scheme) {
	case "ws":
		return "http"
	case "wss":
		return "https"
	}
	return scheme
}

// transportFor returns what makes a request: net/http itself knows how to reach
// https through a proxy, and anything through one of SOCKS.
func (h *handshaker) transportFor(req *http.Request) (http.RoundTripper, error) {
	t, ok := h.RoundTripper.(*http.Transport)
	if !ok || t.Proxy == nil || req.URL.Scheme != "http" {
		return h.RoundTripper, nil
	}
	proxy, err := t.Proxy(req)
	if err != nil || proxy == nil || proxy.Scheme != "http" && proxy.Scheme != "https" {
		return t, err
	}
	tunnel := t.Clone()
	tunnel.Proxy = nil
	tunnel.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		return connect(ctx, t, proxy, network, address)
	}
	h.tunnels = append(h.tunnels, tunnel)
	return tunnel, nil
}

// release leaves no connections of responses that are no 101.
func (h *handshaker) release() {
	for _, tunnel := range h.tunnels {
		tunnel.CloseIdleConnections()
	}
}

// connect opens a tunnel through a proxy (RFC 9110 §9.3.6), as t does for https.
func connect(ctx context.Context, t *http.Transport, proxy *url.URL, network, address string) (net.Conn, error) {
	nc, err := dialProxy(ctx, t, proxy, network)
	if err != nil {
		return nil, err
	}
	defer interrupt(ctx, nc.SetDeadline)()
	if err := askForTunnel(ctx, t, proxy, nc, address); err != nil {
		nc.Close()
		return nil, fmt.Errorf("proxy %s: %w", proxy.Host, err)
	}
	return nc, nil
}

// dialProxy connects to a proxy.
func dialProxy(ctx context.Context, t *http.Transport, proxy *url.URL, network string) (net.Conn, error) {
	address := proxy.Host
	if proxy.Port() == "" {
		address = net.JoinHostPort(proxy.Hostname(), map[string]string{"http": "80", "https": "443"}[proxy.Scheme])
	}
	if proxy.Scheme == "https" && t.DialTLSContext != nil {
		return t.DialTLSContext(ctx, network, address)
	}
	dial := t.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	nc, err := dial(ctx, network, address)
	if err != nil || proxy.Scheme == "http" {
		return nc, err
	}
	config := t.TLSClientConfig.Clone()
	if config == nil {
		config = new(tls.Config)
	}
	if config.NextProtos = nil; config.ServerName == "" {
		config.ServerName = proxy.Hostname()
	}
	encrypted := tls.Client(nc, config)
	if err := encrypted.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return encrypted, nil
}

// askForTunnel asks a proxy to connect to an address.
func askForTunnel(ctx context.Context, t *http.Transport, proxy *url.URL, nc net.Conn, address string) (err error) {
	header := t.ProxyConnectHeader
	if t.GetProxyConnectHeader != nil {
		if header, err = t.GetProxyConnectHeader(ctx, proxy, address); err != nil {
			return err
		}
	}
	if header = header.Clone(); header == nil {
		header = make(http.Header)
	}
	if password, ok := proxy.User.Password(); ok || proxy.User != nil {
		credentials := proxy.User.Username() + ":" + password
		header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(credentials)))
	}
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: header}
	if err := req.Write(nc); err != nil {
		return err
	}
	res, err := http.ReadResponse(bufio.NewReader(nc), req) // a server says nothing before it is asked
	if err == nil && t.OnProxyConnectResponse != nil {
		err = t.OnProxyConnectResponse(ctx, proxy, req, res)
	}
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("it answered %s to CONNECT", res.Status)
	}
	return err
}
