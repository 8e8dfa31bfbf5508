package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"aerys"
)

// wire shows the page what a browser keeps from its scripts: the reply to a
// handshake with the password given, and that its connection then serves
// another request.
func wire(req *aerys.Request, res *aerys.Response) {
	conn, err := dialSelf(req.Info())
	if err != nil {
		res.SetStatus(http.StatusBadGateway).End(err.Error())
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	res.SetHeader("Content-Type", "text/plain")
	replies := bufio.NewReader(conn)
	for _, request := range []*http.Request{handshake(req), another(req)} {
		if request.Write(io.MultiWriter(conn, res)) != nil {
			return
		}
		reply, err := http.ReadResponse(replies, request)
		if err != nil {
			return
		}
		text, _ := httputil.DumpResponse(reply, true)
		fmt.Fprintf(res, "%s\r\n\r\n", text)
		if reply.StatusCode == http.StatusSwitchingProtocols {
			return // from here on it is WebSocket
		}
	}
}

// dialSelf connects to where a request came in, as its client did.
func dialSelf(info aerys.ConnectionInfo) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: time.Second}
	if !info.Encrypted {
		return dialer.Dial("tcp", info.Server.String())
	}
	// Whose certificate it is need not be asked: it is ours.
	config := &tls.Config{InsecureSkipVerify: true, ServerName: info.TLS.ServerName}
	return tls.DialWithDialer(dialer, "tcp", info.Server.String(), config)
}

func handshake(req *aerys.Request) *http.Request {
	password := url.Values{"password": req.Params("password")}
	return &http.Request{
		Method: "GET",
		Host:   req.Host,
		URL:    &url.URL{Path: "/ws", RawQuery: password.Encode()},
		Header: http.Header{
			"Connection":            {"Upgrade"},
			"Upgrade":               {"websocket"},
			"Sec-WebSocket-Version": {"13"},
			"Sec-WebSocket-Key":     {"dGhlIHNhbXBsZSBub25jZQ=="},
			"User-Agent":            {""},
		},
	}
}

func another(req *aerys.Request) *http.Request {
	return &http.Request{
		Method: "HEAD",
		Host:   req.Host,
		URL:    &url.URL{Path: "/"},
		Header: http.Header{"User-Agent": {""}},
	}
}
