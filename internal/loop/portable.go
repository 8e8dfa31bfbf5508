package loop

import (
	"crypto/tls"
	"net"
	"time"
)

// portable is the engine of all systems: goroutines wait for connections.
type portable struct{}

func (portable) listen(l *Listener) error {
	go l.accept()
	return nil
}

func (portable) adopt(l *Loop, conn net.Conn, owner Owner) { l.AdoptPortable(conn, owner) }

func (portable) forget(*Listener) {}

func (portable) rearm() {}

func (portable) stop() {}

// AdoptPortable is Adopt that leaves the connection one of package net.
func (l *Loop) AdoptPortable(conn net.Conn, owner Owner) { newStream(l, conn).start(owner) }

// accept accepts connections until the listener is closed.
func (l *Listener) accept() {
	for {
		conn, err := l.Accept()
		if err == nil {
			l.accepted(conn)
			continue
		}
		if l.closed() {
			return
		}
		l.tired(err)
		select {
		case <-l.done:
		case <-time.After(time.Second):
		}
	}
}

func (l *Listener) closed() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// accepted has a connection served, or refuses it.
func (l *Listener) accepted(conn net.Conn) {
	l.admitting.Lock()
	defer l.admitting.Unlock()
	if l.closed() {
		conn.Close()
		return
	}
	plain := conn
	if l.tls != nil {
		conn = tls.Server(conn, l.tls)
	}
	s := newStream(l.loop, conn)
	owner := l.admit(&s.Conn)
	if owner == nil {
		if tcp, ok := plain.(*net.TCPConn); ok {
			tcp.SetLinger(0) // a reset holds no resources; the peer knows at once
		}
		plain.Close()
		return
	}
	s.start(owner)
}
