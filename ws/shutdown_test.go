package ws_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"aerys"
	"aerys/ws"
	"aerys/ws/frame"
)

// leaveWith answers a close frame that has come or is to come, and waits for OnClose.
func (p *peer) leaveWith(code ws.Code, reason string) {
	p.t.Helper()
	if got := p.expectClose(code); got != reason {
		p.t.Errorf("closed with reason %q, want %q", got, reason)
	}
	p.write(closing(code, ""))
	p.expectEOF()
	p.nc.Close()
	p.expectEnd(code, reason)
}

// Stop calls OnStop, which may still send; then clients get 1001 and are waited for.
func TestGatewayStop(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, at setting) {
		r := &recorder{}
		var stops, closes atomic.Int32
		r.onStop = func() {
			if stops.Add(1); closes.Load() > 0 {
				t.Error("OnClose was called before OnStop")
			}
			r.endpoint.Broadcast("so long")
			for id := range r.endpoint.Clients() {
				if err := r.endpoint.Send("and thanks", id); err != nil {
					t.Error(err)
				}
			}
		}
		r.onClose = func(ws.ClientID, ws.Code, string) { closes.Add(1) }
		s := serve(t, at, r, ws.Options{})
		a, b := s.dial(t), s.dial(t)
		a.id()
		b.id()
		stopped := make(chan struct{})
		go func() {
			s.stop(t)
			if stops.Load() != 1 || closes.Load() != 2 {
				t.Errorf("when Stop returned OnStop was called %d times, OnClose %d times", stops.Load(), closes.Load())
			}
			close(stopped)
		}()
		for _, p := range []*peer{a, b} {
			p.expect(frame.Text, "so long")
			p.expect(frame.Text, "and thanks")
			p.leaveWith(1001, "server stops")
		}
		<-stopped
		if err := s.gateway.Stop(t.Context()); err != nil || stops.Load() != 1 {
			t.Errorf("the second Stop: %v; OnStop was called %d times", err, stops.Load())
		}
	})
}

// Clients that do not answer are dropped after Options.ClosePeriod, or when the
// caller of Stop has no more time. One of them goes on sending, so that nothing
// comes to rest.
func TestStopDropsClients(t *testing.T) {
	for name, test := range map[string]struct {
		closePeriod time.Duration
		impatient   bool
		code        ws.Code // of who goes on sending
	}{
		"ClosePeriod": {closePeriod, false, 1001},
		"the context": {-1, true, anyCode},
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, at setting) {
				// The recorder has no room for many more messages.
				s := serve(t, at, &recorder{}, ws.Options{ClosePeriod: test.closePeriod, MaxFramesPerSecond: 10})
				silent, busy := s.dial(t), s.dial(t)
				silent.clock()
				defer busy.flood(text("hello"))()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				stopped := make(chan struct{})
				go func() {
					defer close(stopped)
					s.gateway.Stop(ctx)
				}()
				silent.expectClose(1001)
				if test.impatient {
					cancel()
				} else {
					busy.awaitClose()
				}
				passUntil(silent.clock(), stopped)
				s.expectNobody(t)
				silent.expectEOF()
				silent.expectEnd(1001, "server stops")
				busy.expectEnd(test.code, "")
			})
		})
	}
}

// awaitClose reads up to a close frame.
func (p *peer) awaitClose() {
	p.t.Helper()
	for got, err := p.read(); got.Opcode != frame.Close; got, err = p.read() {
		if err != nil {
			p.t.Fatalf("%v instead of a close frame", err)
		}
	}
}

// A handler that does not return holds Stop up only so long, which is real time and
// the same for all; its client ends when it returns.
func TestStopAndHandler(t *testing.T) {
	ctx, release := context.WithCancel(context.Background())
	defer release()
	var peers []*peer
	var stops sync.WaitGroup
	for _, at := range waitings {
		s := serve(t, at, &recorder{onData: func(ws.ClientID, *ws.Message) { <-ctx.Done() }}, ws.Options{ClosePeriod: closePeriod})
		p := s.dial(t)
		peers = append(peers, p)
		p.write(text("hello"))
		p.expectCalls("OnOpen", "OnData")
		stops.Add(1)
		go func() {
			defer stops.Done()
			s.gateway.Stop(t.Context())
		}()
		p.expectClose(1001)
		p.awaitArrival() // which is progress
	}
	peers[0].pass(31)
	stops.Wait()
	for _, p := range peers {
		select {
		case call := <-p.visit.calls:
			t.Errorf("%s: %s while OnData runs", p.server.at.name, call)
		default:
		}
	}
	release()
	for _, p := range peers {
		p.expectEnd(1001, "server stops")
		p.server.expectNobody(t) // the client is known until OnClose has returned
	}
}

// Who calls Stop again waits for the first call, or for as long as there is time.
func TestStopAgain(t *testing.T) {
	t.Parallel()
	stopping, release := make(chan struct{}), make(chan struct{})
	s := serve(t, waitings[0], &recorder{onStop: func() { close(stopping); <-release }}, ws.Options{})
	p := s.dial(t)
	p.id()
	returned := make(chan string, 2)
	stop := func(name string) {
		s.gateway.Stop(t.Context())
		returned <- name
	}
	go stop("first")
	<-stopping
	go stop("second")
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	s.gateway.Stop(impatient)
	select {
	case name := <-returned:
		t.Errorf("the %s call has returned while OnStop runs", name)
	default:
	}
	close(release)
	p.leaveWith(1001, "server stops")
	<-returned
	<-returned
	s.expectNobody(t)
}

// Handshakes are answered with 503 from the moment when Stop is called.
func TestHandshakeWhileStopping(t *testing.T) {
	t.Parallel()
	ctx, release := context.WithCancel(context.Background())
	defer release()
	stopping, asked := make(chan struct{}), make(chan struct{})
	r := &recorder{onStop: func() { close(stopping); <-ctx.Done() }}
	r.onHandshake = func(req *aerys.Request, _ *aerys.Response) {
		if req.Param("late") != "" {
			close(asked)
			<-stopping
		}
	}
	s := serve(t, byHost, r, ws.Options{})
	refused := func(p *peer) {
		t.Helper()
		if res := p.response(); res.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s, want 503", res.Status)
		}
	}
	client, late := s.dial(t), s.connect(t)
	late.write([]byte(upgrade("GET /?late=yes HTTP/1.1")))
	<-asked
	stopped := make(chan struct{})
	go func() {
		s.gateway.Stop(context.Background())
		close(stopped)
	}()
	refused(late)
	p := s.connect(t)
	p.write([]byte(upgrade()))
	refused(p)
	client.expectEcho("still here")
	release()
	client.leaveWith(1001, "server stops")
	<-stopped
	p.write([]byte(upgrade()))
	refused(p)
}

// A gateway that was stopped before it started stays as it is.
func TestStopBeforeStart(t *testing.T) {
	t.Parallel()
	r := &recorder{
		onStart: func(*ws.Endpoint) error { t.Error("OnStart was called"); return nil },
		onStop:  func() { t.Error("OnStop was called") },
	}
	s := serve(t, byHTTP, r, ws.Options{})
	if err := s.gateway.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	p := s.connect(t)
	p.write([]byte(upgrade()))
	if res := p.response(); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%s, want 503", res.Status)
	}
}

// Shutdown of the http.Server that a gateway is mounted on closes its clients.
func TestShutdownOfHTTPServer(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, at setting) {
		var server atomic.Pointer[http.Server]
		at.mount = func(g *ws.Gateway) aerys.Action {
			mux := http.NewServeMux()
			mux.Handle("/chat", g)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				server.Store(r.Context().Value(http.ServerContextKey).(*http.Server))
				mux.ServeHTTP(w, r)
			})
		}
		s := serve(t, at, &recorder{}, ws.Options{})
		a, b := s.dial(t), s.dial(t)
		a.id()
		b.id()
		if err := server.Load().Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		a.leaveWith(1001, "server stops")
		b.leaveWith(1001, "server stops")
	})
}

// The stop of an aerys.Server closes the clients of all its gateways, wherever they are.
func TestStopOfServer(t *testing.T) {
	t.Parallel()
	for name, mount := range map[string]func(*ws.Gateway) aerys.Action{
		"of a host":   func(g *ws.Gateway) aerys.Action { return g },
		"in a router": func(g *ws.Gateway) aerys.Action { return aerys.Router().Use(aerys.Router().Get("/chat", following, g)) },
		"in ServeMux": func(g *ws.Gateway) aerys.Action {
			mux := http.NewServeMux()
			mux.Handle("/", g)
			return mux
		},
	} {
		t.Run(name, func(t *testing.T) {
			at := byHost
			at.mount = mount
			s := serve(t, at, &recorder{}, ws.Options{})
			p := s.dial(t)
			p.id()
			stopped := make(chan struct{})
			go func() {
				s.once.Do(s.shut)
				close(stopped)
			}()
			p.leaveWith(1001, "server stops")
			<-stopped
		})
	}
}

// waysToEnd are ways in which a connection may end, all of which may happen at once.
var waysToEnd = map[string]func(*server, *peer){
	"Endpoint.Close":   func(s *server, p *peer) { s.Close(p.visit.id, 4000, "enough") },
	"the client":       func(_ *server, p *peer) { p.nc.Write(closing(1000, "bye")) },
	"a broken frame":   func(_ *server, p *peer) { p.nc.Write([]byte("nonsense")) },
	"a broken message": func(_ *server, p *peer) { p.nc.Write(text("\xff")) },
	"FIN":              func(_ *server, p *peer) { p.nc.(interface{ CloseWrite() error }).CloseWrite() },
	"RST":              func(_ *server, p *peer) { reset(p.nc) },
	"a broadcast":      func(s *server, _ *peer) { s.Broadcast("hello") },
	"Send":             func(s *server, p *peer) { s.Send("hello", p.visit.id) },
	"a message":        func(_ *server, p *peer) { p.nc.Write(join(first(frame.Text, "he"), last("llo"))) },
}

// endAll lets several of them happen to each client, all at once.
func endAll(s *server, peers []*peer, random *rand.Rand) {
	names := make([]string, 0, len(waysToEnd))
	for name := range waysToEnd {
		names = append(names, name)
	}
	var group sync.WaitGroup
	for _, p := range peers {
		for _, n := range random.Perm(len(names))[:1+random.IntN(4)] {
			group.Add(1)
			go func() {
				defer group.Done()
				waysToEnd[names[n]](s, p)
			}()
		}
	}
	group.Wait()
}

// expectOneEnd checks that OnClose was called for each client, once: the recorder
// panics at a second call, and at any other call after it.
func expectOneEnd(t *testing.T, s *server, peers []*peer) {
	t.Helper()
	for _, p := range peers {
		p.nc.Close()
		p.expectEnd(anyCode, "")
		if err := s.Send("hello", p.visit.id); !errors.Is(err, ws.ErrClosed) {
			t.Errorf("Send after OnClose: %v", err)
		}
	}
}

// However many reasons there are for a connection to end, OnClose is called once.
func TestOnCloseOnce(t *testing.T) {
	engines(t, func(t *testing.T, at setting) {
		for seed := range uint64(20) {
			t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 2))
				s := serve(t, at, &recorder{}, ws.Options{MaxFramesPerSecond: -1})
				peers := make([]*peer, 20)
				for i := range peers {
					peers[i] = s.dial(t)
					peers[i].id()
				}
				peers[0].clock()
				stopped := make(chan struct{})
				go func() {
					defer close(stopped)
					for range random.IntN(3) * 100 { // before, in the middle of or after the others
						s.Len()
					}
					s.gateway.Stop(context.Background())
				}()
				endAll(s, peers, rand.New(rand.NewPCG(seed, 3)))
				passUntil(peers[0].clock(), stopped)
				expectOneEnd(t, s, peers)
			})
		}
	})
}

// Nor does it matter when a sweep closes them at the same time.
func testOnCloseOnceAndSweep(t *testing.T, at setting) {
	s := serve(t, at, &recorder{}, ws.Options{QueuedPingLimit: 1})
	witness := s.dial(t) // the first that a sweep comes to
	witness.id()
	peers := make([]*peer, 50)
	for i := range peers {
		peers[i] = s.dial(t)
		peers[i].id()
	}
	witness.pass(10) // a ping, and as it is not answered, a close frame: then the others get theirs
	swept := make(chan struct{})
	go func() {
		defer close(swept)
		witness.pass(10)
	}()
	for range 2 {
		if _, err := witness.read(); err != nil {
			t.Error(err)
		}
	}
	endAll(s, peers, rand.New(rand.NewPCG(1, 4)))
	<-swept
	expectOneEnd(t, s, peers)
}
