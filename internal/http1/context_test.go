package http1

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"
)

// TestContextEndsWithTheClient: it leaves, or ends its half, while a handler
// waits for just that.
func TestContextEndsWithTheClient(t *testing.T) {
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
		"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
	} {
		for _, leave := range []string{"close", "close write"} {
			begun := make(chan struct{})
			ended := make(chan error, 1)
			onEach(t, func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				begun <- struct{}{}
				select {
				case <-r.Context().Done():
				case <-time.After(patient):
					t.Error("the context does not end")
				}
				ended <- r.Context().Err()
				io.WriteString(w, "goodbye")
			}, func(t *testing.T, r *rig) {
				c := r.dial(t)
				c.send(request)
				<-begun
				if leave == "close" {
					c.Close()
				} else {
					c.closeWrite()
				}
				if err := before(t, ended, "the end"); err != context.Canceled {
					t.Error(err)
				}
				if leave == "close write" {
					c.want(200, "goodbye")
				}
			})
		}
	}
}

// TestContextOutlivesPipelining: what follows the request says that the client
// is there, and none of it is lost to whoever watches.
func TestContextOutlivesPipelining(t *testing.T) {
	begun, more := make(chan struct{}), make(chan struct{})
	onEach(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			derived, cancel := context.WithCancel(r.Context())
			defer cancel()
			begun <- struct{}{}
			<-more
			if derived.Err() != nil || r.Context().Err() != nil {
				t.Error(derived.Err())
			}
		}
		io.WriteString(w, r.URL.Path)
	}, func(t *testing.T, r *rig) {
		c := r.dial(t)
		for range 20 {
			c.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
			<-begun
			c.send("GET /more HTTP/1.1\r\nHost: h\r\n\r\n")
			more <- struct{}{}
			c.want(200, "/wait")
			c.want(200, "/more")
		}
	})
}

func TestContextValues(t *testing.T) {
	type key struct{}
	server := new(http.Server)
	onEach(t, func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		if ctx.Value(key{}) != "value" || ctx.Value(http.ServerContextKey) != server {
			t.Error("values are missing")
		}
		local := ctx.Value(http.LocalAddrContextKey).(net.Addr)
		if local.String() != r.Header.Get("Local") || r.RemoteAddr != r.Header.Get("Remote") {
			t.Error(local, r.RemoteAddr)
		}
		stopped := context.AfterFunc(ctx, func() { t.Error("stopped, and called") })
		if !stopped() {
			t.Error("not stopped")
		}
		if (r.TLS != nil) != (r.Header.Get("TLS") == "true") {
			t.Error(r.TLS)
		}
	}, func(t *testing.T, r *rig) {
		r.Context, r.ContextValue = context.WithValue(context.Background(), key{}, "value"), server
		c := r.dial(t)
		c.send("GET / HTTP/1.1\r\nHost: h\r\nLocal: " + c.RemoteAddr().String() + "\r\nRemote: " + c.LocalAddr().String() + "\r\nTLS: " + strconv.FormatBool(r.tls) + "\r\n\r\n")
		c.want(200, "")
	})
}

func TestContextEndsWithTheHandlerAndItsParent(t *testing.T) {
	contexts := make(chan context.Context, 1)
	parent, cancel := context.WithCancel(context.Background())
	onEach(t, func(w http.ResponseWriter, r *http.Request) {
		contexts <- r.Context()
		if r.URL.Path == "/parent" {
			cancel()
			<-r.Context().Done()
			cause := r.Context().Err()
			if !errors.Is(cause, context.Canceled) {
				t.Error(cause)
			}
		}
	}, func(t *testing.T, r *rig) {
		parent, cancel = context.WithCancel(context.Background())
		r.Context = parent
		c := r.dial(t)
		for _, path := range []string{"/", "/parent"} {
			c.send("GET " + path + " HTTP/1.1\r\nHost: h\r\n\r\n")
			c.want(200, "")
			before(t, (<-contexts).Done(), "the end of the context")
		}
	})
}
