// Package listen is about a process and the sockets that it listens on: their
// addresses, those it was handed, those it hands over, and the user it becomes.
package listen

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// Address is one that a server listens on.
type Address struct {
	Network string // as net.Listen wants it
	Host    string // "" for every interface; the path of a Unix socket
	Port    int

	given net.Listener // there, or nil
}

// AddressOf returns the address of a listener that there is.
func AddressOf(l net.Listener) Address {
	a := Address{Network: l.Addr().Network(), Host: l.Addr().String(), given: l}
	if tcp, ok := l.Addr().(*net.TCPAddr); ok {
		if a.Host, a.Port = tcp.IP.String(), tcp.Port; tcp.IP.IsUnspecified() {
			a.Host = ""
		}
	}
	return a
}

// IsGiven reports whether the listener was there before the server.
func (a Address) IsGiven() bool { return a.given != nil }

func (a Address) isTCP() bool { return strings.HasPrefix(a.Network, "tcp") }

// ParseAddress reads "*", "localhost", an IP address, or the path of a Unix socket.
func ParseAddress(addr string, port int) (Address, error) {
	if strings.ContainsAny(addr, `/\`) || strings.HasPrefix(addr, "@") {
		if port != 0 {
			return Address{}, errors.New("a Unix socket has port 0")
		}
		return Address{Network: "unix", Host: addr}, nil
	}
	if port < 0 || port > 65535 {
		return Address{}, errors.New("want a port from 0 to 65535")
	}
	if addr == "*" {
		return Address{Network: "tcp", Port: port}, nil
	}
	if addr == "localhost" {
		addr = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(strings.Trim(addr, "[]"))
	if err != nil {
		return Address{}, errors.New(`want "*", "localhost", an IP address or the path of a Unix socket`)
	}
	ip = ip.Unmap()
	network := "tcp6"
	if ip.Is4() {
		network = "tcp4"
	}
	return Address{Network: network, Host: ip.String(), Port: port}, nil
}

// String returns host and port, or a path.
func (a Address) String() string {
	if !a.isTCP() {
		return a.Host
	}
	return net.JoinHostPort(cmp.Or(a.Host, "*"), strconv.Itoa(a.Port))
}

// listen binds the address. The file of a Unix socket that nobody listens on any
// more is replaced.
func (a Address) listen() (net.Listener, error) {
	if a.given != nil {
		return a.given, nil
	}
	if a.Network != "unix" {
		// Idle connections end by ConnectionTimeout and WebSockets by their
		// heartbeat: probes of the kernel's would cost four system calls each.
		config := net.ListenConfig{KeepAlive: -1}
		return config.Listen(context.Background(), a.Network, net.JoinHostPort(a.Host, strconv.Itoa(a.Port)))
	}
	bound, err := net.Listen("unix", a.Host)
	if err == nil {
		return bound, nil
	}
	if reason := removeStale(a.Host); reason != nil {
		return nil, fmt.Errorf("%w: %w", err, reason)
	}
	return net.Listen("unix", a.Host)
}

// removeStale removes a Unix socket that nobody listens on any more: one where
// connecting is refused. Any other failure may be a living server's, such as
// that of one which has many connections to accept. The error says why a file
// stays.
func removeStale(path string) error {
	before, err := os.Lstat(path)
	if err != nil {
		return nil // then it is not in the way
	}
	if before.Mode()&os.ModeSocket == 0 {
		return errors.New("what is there is no socket: remove it, or choose another path")
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
		return errors.New("a server listens there")
	}
	if !nobodyListens(err) {
		return fmt.Errorf("a server may listen there, for connecting is not refused: %w", err)
	}
	now, err := os.Lstat(path)
	if err != nil || !os.SameFile(before, now) || !before.ModTime().Equal(now.ModTime()) { // a number is soon used again
		return errors.New("another server has come in between")
	}
	return os.Remove(path)
}

// is reports whether a listener that another process bound is on a.
func (a Address) is(bound net.Addr) bool {
	switch bound := bound.(type) {
	case *net.UnixAddr:
		return a.Network == "unix" && bound.Name == a.Host
	case *net.TCPAddr:
		ip, _ := netip.AddrFromSlice(bound.IP)
		ip = ip.Unmap()
		return bound.Port == a.Port && a.Network != "unix" &&
			(ip.String() == a.Host || a.Host == "" && (ip == netip.IPv6Unspecified() || !ip.IsValid()))
	}
	return false
}
