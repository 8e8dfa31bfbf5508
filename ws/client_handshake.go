package ws

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"time"

	"aerys/internal/field"
	"aerys/ws/internal/deflate"
)

// DialOptions are the settings of one connection of Dial. The zero value of
// each field stands for the default that its comment names.
type DialOptions struct {
	// Client makes the handshake's request. Its Transport, an *http.Transport,
	// settles TLS, proxies, which are asked for a tunnel by CONNECT, and how to
	// dial; its Jar cookies; its CheckRedirect which redirects are followed, to
	// ws and wss as to http and https, but never from wss to ws. Its Timeout
	// must be zero: that is what the context is for. Default http.DefaultClient.
	Client *http.Client
	// Header is sent with the request: Authorization, Cookie, Origin. A Host
	// in it replaces the URL's. What RFC 6455 defines is set by Dial.
	Header http.Header
	// Subprotocols are those that the client speaks, most wanted first. The
	// response's Sec-WebSocket-Protocol is the one that the server chose.
	Subprotocols []string
	// Compression offers permessage-deflate (RFC 7692). Default off.
	Compression bool
	// MaxMessageSize bounds a message in bytes, after decompression. A longer
	// one closes the connection with 1009. Default 2 MiB; negative: no limit.
	MaxMessageSize int64
	// ClosePeriod bounds how long the closing handshake waits for the server.
	// Default 3 s; negative: no limit.
	ClosePeriod time.Duration
}

// Dial opens a WebSocket connection to a URL such as "ws://host:8080/path" or
// "wss://host/path"; http and https will do as well. The context bounds the
// opening handshake, and nothing after it.
//
// The response is what the server answered, nil if nothing. When it is not
// 101 Switching Protocols there is an error, and up to 64 KiB of the body can
// be read from the response. It is an error, too, when the answer breaks a rule
// of RFC 6455 §4.1, such as by choosing an extension or a subprotocol that was
// not offered. The body need not be closed. Dial panics when it is given more
// than one DialOptions.
func Dial(ctx context.Context, url string, options ...DialOptions) (*Conn, *http.Response, error) {
	if len(options) > 1 {
		panic(fmt.Sprintf("ws: Dial: %d DialOptions: pass one", len(options)))
	}
	var o DialOptions
	if len(options) == 1 {
		o = options[0]
	}
	if o.Client == nil {
		o.Client = http.DefaultClient
	}
	c, res, err := o.dial(ctx, url)
	if err != nil {
		return nil, res, fmt.Errorf("ws: Dial: %w", err)
	}
	return c, res, nil
}

func (o *DialOptions) dial(ctx context.Context, url string) (*Conn, *http.Response, error) {
	var nc net.Conn
	trace := &httptrace.ClientTrace{GotConn: func(got httptrace.GotConnInfo) { nc = got.Conn }}
	req, err := o.request(httptrace.WithClientTrace(ctx, trace), url)
	if err != nil {
		return nil, nil, err
	}
	client, transport := o.client()
	defer transport.release()
	res, err := client.Do(req)
	if err != nil {
		if res != nil { // a redirect that is not followed
			res.Body = http.NoBody
		}
		return nil, res, err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		return nil, refused(res), fmt.Errorf("the server answered %s, not 101 Switching Protocols", res.Status)
	}
	terms, err := o.check(res)
	if _, owned := res.Body.(io.Writer); err == nil && (!owned || nc == nil) {
		err = errors.New("DialOptions.Client: its Timeout has to be zero, and its Transport an *http.Transport")
	}
	body := res.Body
	res.Body = http.NoBody
	if err != nil {
		body.Close()
		return nil, res, err
	}
	return newConn(nc, body, terms, o), res, nil
}

// maxRefusal is how much is read of the body of a response that is no 101.
const maxRefusal = 64 << 10

// refused returns a response whose body is read.
func refused(res *http.Response) *http.Response {
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxRefusal))
	res.Body.Close()
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res
}

// request is the client's side of the opening handshake (RFC 6455 §4.1).
func (o *DialOptions) request(ctx context.Context, url string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	if req.URL.Scheme = httpScheme(req.URL.Scheme); req.URL.Scheme != "http" && req.URL.Scheme != "https" {
		return nil, fmt.Errorf("URL %q: write it as ws://host:port/path or wss://host/path", url)
	}
	if !areTokens(o.Subprotocols) {
		return nil, fmt.Errorf("DialOptions.Subprotocols: %q are not tokens (RFC 9110 §5.6.2), each different", o.Subprotocols)
	}
	var nonce [16]byte
	rand.Read(nonce[:])
	fields := map[string]string{
		"Upgrade":                  "websocket",
		"Connection":               "Upgrade",
		"Sec-Websocket-Version":    "13",
		"Sec-Websocket-Key":        base64.StdEncoding.EncodeToString(nonce[:]),
		"Sec-Websocket-Protocol":   strings.Join(o.Subprotocols, ", "),
		"Sec-Websocket-Extensions": "",
	}
	if o.Compression {
		fields["Sec-Websocket-Extensions"] = deflate.Offer
	}
	for name, values := range o.Header {
		req.Header[name] = values
	}
	for name, value := range fields {
		req.Header.Del(name)
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	if host := o.Header.Get("Host"); host != "" {
		req.Host = host
	}
	return req, nil
}

// check examines a 101 response as RFC 6455 §4.1 asks.
func (o *DialOptions) check(res *http.Response) (deflate.Terms, error) {
	h, protocols := res.Header, res.Header["Sec-Websocket-Protocol"]
	accept := acceptKey(nil, res.Request.Header.Get("Sec-WebSocket-Key"))
	switch {
	case !field.HasToken(h["Upgrade"], "websocket"), !field.HasToken(h["Connection"], "upgrade"):
		return 0, errors.New("the server's 101 lacks Upgrade: websocket or Connection: Upgrade")
	case !slices.Equal(h["Sec-Websocket-Accept"], []string{string(accept)}):
		return 0, errors.New("the server's Sec-WebSocket-Accept does not match the key that was sent")
	case len(protocols) > 1 || len(protocols) == 1 && !slices.Contains(o.Subprotocols, protocols[0]):
		return 0, fmt.Errorf("the server chose subprotocol %q, which was not offered", protocols)
	}
	return deflate.CheckAnswer(h["Sec-Websocket-Extensions"], o.Compression)
}
