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

// idle tells what a connection costs that echoed one message and then rests.
func (l *load) idle() figures {
	echoes := make(chan error, 3*l.conns) // of one message, or the end of a connection
	open := func(number int) *websocket.Conn {
		c, err := dial(l.process, fmt.Sprintf("%s?size=%d", l.path, l.size), number)
		if err != nil {
			echoes <- err
			return nil
		}
		go func() {
			for err := error(nil); err == nil; echoes <- err {
				var payload []byte
				if _, payload, err = c.ReadMessage(); err == nil { // answers pings, too
					err = l.wire.check(payload, 0, 0)
				}
			}
		}()
		c.WriteMessage(websocket.BinaryMessage, l.wire.payload)
		return c
	}
	await := func(n int) {
		for range n {
			select {
			case err := <-echoes:
				must(err)
			case <-time.After(stall):
				panic(fault{fmt.Errorf("nothing received for %v", stall)})
			}
		}
	}

	first := open(l.conns) // one more lets the server set itself up
	await(1)
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
	for from := range 256 { // at once
		opened.Go(func() {
			for i := from; i < l.conns; i += 256 {
				idlers[i] = open(i)
			}
		})
	}
	await(l.conns)
	opened.Wait()
	time.Sleep(6 * l.duration)
	f := figures{rssEach: (l.rss() - before) / float64(l.conns)}
	for i := 0; i < l.conns; i += 100 {
		idlers[i].WriteMessage(websocket.BinaryMessage, l.wire.payload)
	}
	await((l.conns + 99) / 100)
	return f
}
