// Package loop carries connections as bytes: accepting, waiting, reading,
// writing, time. It knows no protocol.
//
// A connection has one [Owner] at a time, the protocol that it speaks, which
// may hand it on to another. Whoever owns it is told
//
//   - that there may be something to read (Serve), by one goroutine at a time,
//     which may block,
//   - that more came, or the peer left, while Serve is at it (Ahead),
//   - that what could not be written may be writable now (Writable),
//   - that a millisecond has passed, if it asked for that (Soon),
//   - that a second has passed (Tick),
//   - and at last that the connection is over (Over).
//
// Serve reads until [ErrAgain] and returns: an idle connection has no goroutine,
// no stack and no buffer. A handler that needs more in the middle of Serve waits
// with [Conn.Read]; only then a goroutine waits.
//
// # How it waits
//
// On Linux a TCP or Unix socket never enters Go's netpoller. Its events go to an
// epoll instance, edge-triggered, which itself waits in the netpoller: no thread
// is held. A few goroutines take turns: one of them waits, the others run
// connections. Before one runs a connection, which may block, it sees to it that
// another is ready to go on in its place. When nobody blocks that other finds
// nothing to do: then one goroutine serves all, from one wait to the next.
// There is a poller for every four processors; connections do not move between
// them.
//
// TLS runs on top of the same sockets. Only its handshake needs a goroutine:
// crypto/tls goes on after an error that is temporary, so what it reads is what
// the socket has, and what it writes waits in a queue if the socket is full.
//
// Everywhere else, and for a net.Conn of another kind, a goroutine waits for
// each connection, without a buffer, and another serves it.
//
// # Time
//
// There is no timer and no deadline per connection, save for deadlines that an
// owner sets by itself. A sweep looks at every connection once a second. Its
// clock is the time that the process ran: a second's sweep that comes late, on
// a machine that was suspended, counts as two at most, so nobody is closed for
// what he had no time to do.
package loop
