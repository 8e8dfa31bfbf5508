package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// dial opens a connection from one of many source addresses.
func dial(p *process, path string, number int) (*websocket.Conn, error) {
	from := &net.TCPAddr{IP: net.IPv4(127, 0, byte(2+number/200%200), byte(1+number%200))}
	dialer := websocket.Dialer{
		NetDial:         (&net.Dialer{LocalAddr: from}).Dial,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		ReadBufferSize:  1024, WriteBufferSize: 1024,
		HandshakeTimeout: 30 * time.Second,
	}
	scheme := "ws://"
	if p.encrypted {
		scheme = "wss://"
	}
	c, _, err := dialer.Dial(scheme+p.addr+path, nil)
	return c, err
}

// atOnce is how many idle connections are opened at a time: few, so that what is
// measured is what they cost at rest, and not what a rush leaves behind.
const atOnce = 16

// idle tells what a connection costs that echoed one message and then rests.
func (l *load) idle() figures {
	r := &resting{l, make(chan error, 3*l.conns)}
	first := r.open(l.conns) // one more lets the server set itself up
	r.await(1)
	defer first.Close()
	time.Sleep(l.duration / 2)
	before := l.rss()
	idlers := make([]*websocket.Conn, l.conns)
	var opened sync.WaitGroup
	defer func() {
		opened.Wait()
		for _, c := range idlers {
			if c != nil {
				c.Close()
			}
		}
	}()
	for from := range atOnce {
		opened.Go(func() {
			for i := from; i < l.conns; i += atOnce {
				idlers[i] = r.open(i)
			}
		})
	}
	r.await(l.conns)
	opened.Wait()
	time.Sleep(6 * l.duration)
	f := figures{rssEach: (l.rss() - before) / float64(l.conns)}
	for i := 0; i < l.conns; i += 100 {
		idlers[i].WriteMessage(websocket.BinaryMessage, l.wire.payload)
	}
	r.await((l.conns + 99) / 100)
	return f
}

// resting are connections that rest once they have echoed.
type resting struct {
	*load
	echoes chan error // of one message, or the end of a connection
}

// open connects and sends a message.
func (r *resting) open(number int) *websocket.Conn {
	c, err := dial(r.process, fmt.Sprintf("%s?size=%d", r.path, r.size), number)
	if err != nil {
		r.echoes <- err
		return nil
	}
	go func() {
		for err := error(nil); err == nil; r.echoes <- err {
			var payload []byte
			if _, payload, err = c.ReadMessage(); err == nil { // answers pings, too
				err = r.wire.check(payload, 0, 0)
			}
		}
	}()
	c.WriteMessage(websocket.BinaryMessage, r.wire.payload)
	return c
}

// await waits for n echoes.
func (r *resting) await(n int) {
	for range n {
		select {
		case err := <-r.echoes:
			must(err)
		case <-time.After(stall):
			panic(fault{fmt.Errorf("nothing received for %v", stall)})
		}
	}
}
