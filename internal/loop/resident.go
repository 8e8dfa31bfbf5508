package loop

import "net"

// Stay serves a connection that ends with the goroutine that calls it, such as a
// stream of HTTP/2, and returns when it is over. That goroutine is the one that
// waits, as all others do, but by reading nothing: of conn that has to wait for
// something, and the read behind it not to.
func (l *Loop) Stay(conn net.Conn, owner Owner) {
	s := newStream(l, conn)
	s.resident = make(chan struct{}, 1)
	s.start(owner)
	for range s.resident {
		_, err := conn.Read(nil)
		if s.came(err == nil, err) {
			s.schedule()
		}
	}
}
