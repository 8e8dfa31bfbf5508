package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"syscall"
)

// floor names the server that no other can beat: one thread, epoll, raw system
// calls, and no protocol. It counts bytes and sends ready-made frames of the
// size that the client names in the query; it knows no close frame.
const floor = "rawepoll"

const rawRead = 128 << 10 // the longest read

// rawConn is one connection of the floor.
type rawConn struct {
	socket
	subscribed    bool   // to broadcasts
	in, out       int    // bytes received and sent
	masked, plain int    // lengths of a client's and of a server's frame
	frames        []byte // the server's frame again and again, shared; nil until upgraded
}

type rawServer struct {
	poller
	conns  map[int]*rawConn
	frames map[int][]byte // by size of a message
	buffer []byte
}

func serveRawepoll(addr string) {
	runtime.LockOSThread()
	listener, err := listen(addr).(*net.TCPListener).File()
	must(err)
	defer listener.Close() // not before, which the garbage collector would
	s := &rawServer{newPoller(), map[int]*rawConn{}, map[int][]byte{}, make([]byte, rawRead)}
	ln := int(listener.Fd())
	must(syscall.SetNonblock(ln, true))
	s.watch(syscall.EPOLL_CTL_ADD, ln, ln, syscall.EPOLLIN)
	for {
		for _, event := range s.wait(-1) {
			if fd := int(event.Fd); fd == ln {
				s.accept(ln)
			} else if c := s.conns[fd]; !s.handle(c, event.Events) {
				delete(s.conns, fd)
				syscall.Close(fd)
			}
		}
	}
}

func (s *rawServer) accept(ln int) {
	for {
		fd, _, err := syscall.Accept4(ln, syscall.SOCK_NONBLOCK)
		if err != nil {
			return
		}
		syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
		s.conns[fd] = &rawConn{socket: socket{fd: fd, name: fd}}
		s.watch(syscall.EPOLL_CTL_ADD, fd, fd, syscall.EPOLLIN)
	}
}

// handle reports whether the connection lives on.
func (s *rawServer) handle(c *rawConn, events uint32) bool {
	if events&syscall.EPOLLOUT != 0 { // reading pauses until all is written
		return s.writable(&c.socket)
	}
	n := read(c.fd, s.buffer)
	switch {
	case n <= 0:
		return n == again
	case c.frames == nil:
		return s.upgrade(c, s.buffer[:n])
	case !c.subscribed:
		return s.write(&c.socket, c.received(n))
	}
	out := c.received(n)
	for _, receiver := range s.conns {
		if receiver.subscribed {
			s.write(&receiver.socket, out)
		}
	}
	return true
}

// upgrade answers a request such as "GET /echo?size=16 HTTP/1.1".
func (s *rawServer) upgrade(c *rawConn, request []byte) bool {
	between := func(from, to string) string {
		_, rest, _ := bytes.Cut(request, []byte(from))
		value, _, _ := bytes.Cut(rest, []byte(to))
		return string(value)
	}
	size, err := strconv.Atoi(between("?size=", " "))
	if err != nil {
		return false
	}
	if s.frames[size] == nil {
		frame := append(appendHeader(nil, opBinary, 0, size), make([]byte, size)...)
		s.frames[size] = bytes.Repeat(frame, 2+rawRead/len(frame))
	}
	c.frames, c.plain = s.frames[size], len(appendHeader(nil, opBinary, 0, size))+size
	c.masked = c.plain + 4
	c.subscribed = bytes.HasPrefix(request, []byte("GET /broadcast?"))
	sum := sha1.Sum([]byte(between("Sec-WebSocket-Key: ", "\r\n") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return s.write(&c.socket, fmt.Appendf(nil, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"+
		"Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:])))
}

// received counts n bytes more and returns what is to be sent for them: whole
// frames, and the like part of an unfinished one.
func (c *rawConn) received(n int) []byte {
	c.in += n
	due := c.in/c.masked*c.plain + min(c.in%c.masked, c.plain)
	from := c.out % c.plain
	b := c.frames[from : from+due-c.out]
	c.out = due
	return b
}
