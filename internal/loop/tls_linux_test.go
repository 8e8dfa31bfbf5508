package loop

import (
	"crypto/tls"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// What comes while TLS shakes hands is none of the owner's.
func TestNothingAheadOfHandshake(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	config := serverConfig.Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		entered <- struct{}{}
		<-leave
		return nil, nil
	}
	var ahead atomic.Bool
	told := make(chan struct{})
	o := &owner{serve: echo, soon: func(*Conn) { close(told) }, ahead: func(*Conn, bool) { ahead.Store(true) }}
	accepted := make(chan *Conn, 1)
	l := New(slog.Default())
	defer l.Close(10 * time.Second)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Listen(ln, config, func(c *Conn) Owner { accepted <- c; return o }); err != nil {
		t.Fatal(err)
	}
	below, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer below.Close()
	client := tls.Client(below, clientConfig)
	shaken := make(chan error, 1)
	go func() { shaken <- client.Handshake() }()
	<-entered
	below.Write([]byte{20, 3, 3, 0, 1, 1}) // change_cipher_spec, which is ignored (RFC 8446 §5)
	c := <-accepted
	eventually(t, "more is known to have come", func() bool { return plain(c).state.Load()&more != 0 })
	c.Soon()
	<-told // and ahead of that, of what came
	if ahead.Load() {
		t.Error("the owner was told")
	}
	close(leave)
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	exchange(t, client, []byte("hello"))
}
