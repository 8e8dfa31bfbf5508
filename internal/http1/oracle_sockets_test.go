package http1

import (
	"flag"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"aerys/internal/loop"
)

var oracleSockets = flag.Int("oracle.sockets", 500, "how many executions over sockets")

// TestOracleOverSockets serves the executions of TestOracleFuzz on a loop as well:
// what comes is the same as in memory, where net/http has been asked.
func TestOracleOverSockets(t *testing.T) {
	o := newOracle()
	defer o.close()
	s := newSocketed(t)
	defer s.close()
	var next atomic.Int64
	next.Store(int64(*oracleFrom))
	var all sync.WaitGroup
	for range 4 {
		all.Add(1)
		go func() {
			defer all.Done()
			for i := next.Add(1) - 1; i < int64(*oracleFrom+*oracleSockets) && !t.Failed(); i = next.Add(1) - 1 {
				random := rand.New(rand.NewPCG(*oracleSeed, uint64(i)))
				input := mutate(random)
				pieces := split(random, input)
				_, ours := o.both(pieces)
				sockets := s.serve(t, pieces)
				if d := differenceInTime(sockets, ours); d != "" && !cutShort(sockets, ours) {
					t.Errorf("-oracle.seed %d -oracle.from %d -oracle.sockets 1\n%q\n%s", *oracleSeed, i, pieces, d)
				}
			}
		}()
	}
	all.Wait()
}

// cutShort reports whether the difference is how much was received before the
// connection was reset, because a handler has panicked or has not sent all that it
// announced: what the client has not read by then it may never get.
func cutShort(sockets, ours account) bool {
	c := &comparison{theirs: ours, ours: sockets}
	panicked := c.saw("request ") && !c.saw("  done")
	return (panicked || ours.err != "") && c.sameBut(0) && len(sockets.handled) == len(ours.handled)
}

// traces are those of connections over sockets, by their address.
var traces sync.Map

// traceOf is what a handler writes down what it sees in.
func traceOf(r *http.Request) *trace {
	if t, ok := r.Context().Value(http.LocalAddrContextKey).(*trace); ok {
		return t
	}
	t, _ := traces.Load(r.RemoteAddr)
	return t.(*trace)
}

// socketed is our server on a port.
type socketed struct {
	loop     *loop.Loop
	listener net.Listener
	counts   counts
}

func newSocketed(t *testing.T) *socketed {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &socketed{loop: loop.New(slog.Default()), listener: listener}
	server := &Server{Handler: http.HandlerFunc(obey), ErrorLog: log.New(io.Discard, "", 0)}
	s.loop.Listen(listener, nil, func(c *loop.Conn) loop.Owner { return server.Admit(c, &s.counts) })
	return s
}

func (s *socketed) close() {
	s.loop.Close(patient)
	s.listener.Close()
}

// serve sends the pieces, and says how that went.
func (s *socketed) serve(t *testing.T, pieces [][]byte) account {
	conn, err := net.Dial("tcp", s.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patient))
	x := newScripted(nil)
	traces.Store(conn.LocalAddr().String(), x.log)
	defer traces.Delete(conn.LocalAddr().String())
	go func() {
		for _, piece := range pieces {
			conn.Write(piece)
		}
		conn.(*net.TCPConn).CloseWrite()
	}()
	if _, err := io.Copy(&x.out, conn); os.IsTimeout(err) { // a reset has to show by what was lost
		t.Errorf("%q: %v", pieces, err)
	}
	return accountOf(x)
}
