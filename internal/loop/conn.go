package loop

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// ErrAgain says that there is nothing to read now. Serve is called again when
// there is.
var ErrAgain = errors.New("loop: there is nothing to read now")

// ErrYield is what Serve returns when there is more to do and others should go
// first.
var ErrYield = errors.New("loop: others go first")

// ErrPause is what Serve returns when it leaves what has come where it is. Serve
// is called again by Resume, or when more comes, or the peer leaves.
var ErrPause = errors.New("loop: what has come waits")

// ErrGoexit is what Over is told when Serve has ended its goroutine, by
// runtime.Goexit or a panic.
var ErrGoexit = errors.New("loop: Serve has ended its goroutine")

// Owner is the protocol that a connection speaks. Nothing here may be called
// with a lock of the owner held that its methods take.
type Owner interface {
	// Serve is called when there may be something to read, for the first time
	// when the connection is new. It calls TryRead until ErrAgain, or another
	// error, after which the connection is over. It may block, and runs in one
	// goroutine at a time. If it ends that, by runtime.Goexit, the connection is
	// over, unless Resume was called meanwhile: then Serve is called again.
	Serve(*Conn) error

	// Ahead is called while Serve is running, by another goroutine, when more
	// has come, and with gone when the peer has ended its direction, or left.
	// It must not block. Serve is called again all the same, unless all that came
	// was read. It may still be on its way when the connection is over, and is not
	// called while TLS shakes hands.
	Ahead(c *Conn, gone bool)

	// Writable is called when TryWrite had taken less than it was given and
	// may take more now. It must not block.
	Writable(*Conn)

	// Soon is called about a millisecond after Conn.Soon. It must not block.
	Soon(*Conn)

	// Tick is called once a second, and for each that passed. It must not block.
	Tick(c *Conn, now Time)

	// Over is called once, when the last Serve has returned. The connection is
	// closed right after it. err is what Serve returned.
	Over(c *Conn, err error)
}

// Time is a number of seconds that the process ran since its loop was made, of
// which the first is over: it is never 0.
type Time uint32

// transport is how a connection's bytes move.
type transport interface {
	tryRead(p []byte) (int, error) // ErrAgain if there is nothing
	tryReadAhead(p []byte) (int, error)
	tryWrite(p []byte) (int, error) // as much as goes without waiting; tells Conn.wrote
	write(p []byte) (int, error)    // all of it
	waits() int                     // how much tryWrite took that is still here
	setWriteDeadline(time.Time)     // for writes that wait below
	watch()                         // mark is to be called when something comes
	retry()                         // writing may succeed although nothing was said of it
	peerEnded() bool
	closeWrite() error
	interrupt() // reads and writes fail from now on, those under way too
	schedule()  // run is to be called
	close()     // for good; only by who runs it
	hijack() (net.Conn, error)
	localAddr() net.Addr
	secured() *tls.Conn // nil in clear text
}

// Conn is a connection. Reading and what is said of it is for its owner's
// Serve; writing is for one goroutine at a time; the rest is for any.
type Conn struct {
	loop      *Loop
	transport transport
	id        uint64
	ip        [16]byte // the peer's, with its port: half of what a netip.AddrPort takes
	port      uint16   // 0 where there is none
	poller    uint8    // the number of the engine's that tells of it

	mu    sync.Mutex // guards owner
	state atomic.Uint32
	owner Owner
	extra atomic.Pointer[extra]

	lastRead    atomic.Uint32 // when bytes last came
	lastWritten atomic.Uint32 // when the peer last took some
}

// init readies a connection, before anybody knows it.
func (c *Conn) init(l *Loop, t transport, remote netip.AddrPort) {
	c.loop, c.transport = l, t
	if remote.IsValid() {
		c.ip, c.port = remote.Addr().As16(), remote.Port()
	}
	c.lastRead.Store(l.now.Load())
	c.lastWritten.Store(l.now.Load())
}

// extras returns what few connections need, made when there is none.
func (c *Conn) extras() *extra {
	for {
		if e := c.extra.Load(); e != nil {
			return e
		}
		c.extra.CompareAndSwap(nil, newExtra())
	}
}

// Owner returns the connection's owner.
func (c *Conn) Owner() Owner {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.owner
}

// SetOwner gives the connection to another owner, without the deadlines that this
// one has set. Only Serve calls it: the new owner's Serve is called as soon as that
// has returned.
func (c *Conn) SetOwner(o Owner) {
	if e := c.extra.Swap(nil); e != nil {
		e.stop()
		c.transport.setWriteDeadline(time.Time{})
	}
	c.mu.Lock()
	c.owner = o
	c.mu.Unlock()
	c.Resume()
}

// Loop returns the loop that the connection is of.
func (c *Conn) Loop() *Loop { return c.loop }

// RemoteAddr returns the peer's address; it is not valid on a Unix socket.
func (c *Conn) RemoteAddr() (remote netip.AddrPort) {
	if c.port != 0 {
		remote = netip.AddrPortFrom(netip.AddrFrom16(c.ip).Unmap(), c.port)
	}
	return remote
}

// LocalAddr returns the address that the peer connected to.
func (c *Conn) LocalAddr() net.Addr { return c.transport.localAddr() }

// TLS returns the connection's TLS, nil if it is not encrypted.
func (c *Conn) TLS() *tls.Conn { return c.transport.secured() }

// LastRead returns when bytes last came from the peer, or the connection began.
func (c *Conn) LastRead() Time { return Time(c.lastRead.Load()) }

// Stuck reports whether bytes wait for the peer to take them, and when it last
// took some.
func (c *Conn) Stuck() (since Time, stuck bool) {
	return Time(c.lastWritten.Load()), c.isStuck()
}

// TryRead reads what is there. The error is ErrAgain if nothing is.
func (c *Conn) TryRead(p []byte) (int, error) {
	n, err := c.transport.tryRead(p)
	c.read(n)
	return n, err
}

// TryReadAhead is TryRead for the owner's Ahead: what it reads, Serve does not.
func (c *Conn) TryReadAhead(p []byte) (int, error) {
	n, err := c.transport.tryReadAhead(p)
	if c.read(n); err != nil && err != ErrAgain {
		c.call(0) // Serve may be waiting for that, or have returned because it would have had to
	}
	return n, err
}

// read notes that n bytes came.
func (c *Conn) read(n int) {
	if n > 0 {
		c.lastRead.Store(uint32(c.loop.Now()))
		c.loop.received.Add(int64(n))
	}
}

// Read waits until there is something to read, and reads it. The error is
// os.ErrDeadlineExceeded behind the deadline of SetReadDeadline.
func (c *Conn) Read(p []byte) (int, error) {
	for {
		n, err := c.TryRead(p)
		if err != ErrAgain || len(p) == 0 {
			return n, err
		}
		if err := c.Wait(); err != nil {
			return 0, err
		}
	}
}

// Wait waits until TryRead may have something to read, or fails. The error is
// os.ErrDeadlineExceeded behind the deadline of SetReadDeadline.
func (c *Conn) Wait() error {
	e := c.extras()
	if !e.read.over.Load() {
		c.transport.watch()
		c.park(readerParked, pending, 0, e.readable)
	}
	if e.read.over.Load() {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// PeerEnded reports whether the peer has left, or ended its direction with
// nothing before that end that was not read. It is for the owner's Ahead and
// whoever reads.
func (c *Conn) PeerEnded() bool { return c.transport.peerEnded() }

// MayRead reports whether there may be something that was not read.
func (c *Conn) MayRead() bool { return c.state.Load()&(pending|kept) != 0 }

// HungUp reports whether the peer has left, or ended its direction, whatever is
// before that end and was not read.
func (c *Conn) HungUp() bool { return c.state.Load()&hangup != 0 }

// TryWrite sends as much as the peer takes at once. If that is not all, the
// owner's Writable is called when it may take more. It never waits.
func (c *Conn) TryWrite(p []byte) (int, error) { return c.transport.tryWrite(p) }

// Queued reports whether something that TryWrite took has not left yet. The
// owner's Writable is called when it has.
func (c *Conn) Queued() bool { return c.transport.waits() > 0 }

// wrote notes that the peer took n bytes, and whether more wait for it.
func (c *Conn) wrote(n int, more bool) {
	before := c.isStuck()
	if n > 0 || more && !before {
		c.lastWritten.Store(uint32(c.loop.Now()))
	}
	if n > 0 {
		c.loop.sent.Add(int64(n))
	}
	if more && !before {
		setBits(&c.state, stuck, 0)
	} else if before && !more {
		setBits(&c.state, 0, stuck)
	}
}

func (c *Conn) isStuck() bool { return c.state.Load()&stuck != 0 }

// Write sends p, and waits for the peer to take it. The error is
// os.ErrDeadlineExceeded behind the deadline of SetWriteDeadline.
func (c *Conn) Write(p []byte) (int, error) { return c.transport.write(p) }

// CloseWrite tells the peer that nothing more will come.
func (c *Conn) CloseWrite() error { return c.transport.closeWrite() }

// Interrupt makes reading and writing fail from now on, also what is under way,
// so that Serve ends the connection. Any goroutine may call it.
func (c *Conn) Interrupt() { c.transport.interrupt() }

// Hijack takes the connection out of the loop: in clear text a *net.TCPConn or
// *net.UnixConn, over TLS the *tls.Conn, which blocks from then on. Only Serve
// calls it, and returns ErrHijacked.
func (c *Conn) Hijack() (net.Conn, error) {
	conn, err := c.transport.hijack()
	if err == nil {
		c.loop.table.remove(c)
	}
	return conn, err
}

// ErrHijacked is what Serve returns behind Hijack. The connection is over for
// the loop, but not closed.
var ErrHijacked = errors.New("loop: the connection was hijacked")

// SetReadDeadline makes Read fail from t on; the zero time takes that back.
func (c *Conn) SetReadDeadline(t time.Time) error {
	e := c.extras()
	e.read.set(t, e.readable)
	return nil
}

// SetWriteDeadline makes Write fail from t on; the zero time takes that back.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	e := c.extras()
	e.write.set(t, e.writable)
	c.transport.setWriteDeadline(t)
	return nil
}

// extra is what few connections need: what wakes those who wait, and deadlines.
type extra struct {
	readable, writable chan struct{}
	read, write        deadline
}

func newExtra() *extra {
	return &extra{readable: make(chan struct{}, 1), writable: make(chan struct{}, 1)}
}

// stop ends the timers.
func (e *extra) stop() {
	e.read.set(time.Time{}, nil)
	e.write.set(time.Time{}, nil)
}

// deadline is one that an owner has set.
type deadline struct {
	mu    sync.Mutex
	timer *time.Timer
	over  atomic.Bool
}

// set sets the deadline, in place of the one before. wake wakes who waits.
func (d *deadline) set(t time.Time, wake chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	left := time.Until(t)
	d.over.Store(!t.IsZero() && left <= 0)
	switch {
	case t.IsZero():
	case left <= 0:
		signal(wake)
	default:
		var timer *time.Timer
		timer = time.AfterFunc(left, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.timer == timer { // else there is another deadline by now
				d.over.Store(true)
				signal(wake)
			}
		})
		d.timer = timer
	}
}

// signal wakes who waits for a channel, or will.
func signal(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
