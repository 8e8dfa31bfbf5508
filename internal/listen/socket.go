package listen

import (
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// Socket is what listens on an address.
type Socket struct {
	Address Address
	Bound   net.Listener // nil before Bind
	file    os.FileInfo  // of the Unix socket that was made for it, or nil
}

// Bind takes the listener over from those inherited, or makes it.
func (s *Socket) Bind(inherited []net.Listener) (err error) {
	if s.Address.IsGiven() {
		inherited = nil
	}
	for i, other := range inherited {
		if other != nil && s.Address.is(other.Addr()) {
			s.Bound, inherited[i] = other, nil
			return nil
		}
	}
	if s.Bound, err = s.Address.listen(); err != nil {
		return err
	}
	if unix, ok := s.Bound.(interface{ SetUnlinkOnClose(bool) }); ok && !s.Address.IsGiven() && s.Address.Host[0] != '@' {
		unix.SetUnlinkOnClose(false)
		s.file, err = os.Lstat(s.Address.Host)
	}
	return err
}

// File returns the path of a Unix socket that this process has made, or "".
func (s *Socket) File() string {
	if s.file == nil {
		return ""
	}
	return s.Address.Host
}

// Remove removes the file of a Unix socket unless another server has put its own
// in the place.
func (s *Socket) Remove() {
	if s.file == nil {
		return
	}
	if now, err := os.Lstat(s.Address.Host); err == nil && os.SameFile(s.file, now) {
		os.Remove(s.Address.Host)
	}
	s.file = nil
}

// URL is where a person opens the address, by a name if that is needed.
func (s *Socket) URL(name string, encrypted bool) string {
	if !s.Address.isTCP() {
		return s.Address.Network + ":" + s.Address.Host
	}
	scheme, standard := "http", 80
	if encrypted {
		scheme, standard = "https", 443
	}
	host := "localhost"
	if name != "" {
		host = name
	} else if ip, err := netip.ParseAddr(s.Address.Host); err == nil && !ip.IsUnspecified() && !ip.IsLoopback() {
		host = s.Address.Host
	}
	if strings.Contains(host, ":") && host[0] != '[' {
		host = "[" + host + "]"
	}
	if port := s.Bound.Addr().(*net.TCPAddr).Port; port != standard {
		host += ":" + strconv.Itoa(port)
	}
	return scheme + "://" + host + "/"
}
