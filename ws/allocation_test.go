package ws_test

import (
	"io"
	"runtime"
	"testing"

	"aerys"
	"aerys/ws"
	"aerys/ws/frame"
)

// echoApplication echoes without a copy of its own.
type echoApplication struct{ endpoint *ws.Endpoint }

func (e *echoApplication) OnStart(endpoint *ws.Endpoint) error { e.endpoint = endpoint; return nil }

func (e *echoApplication) OnHandshake(*aerys.Request, *aerys.Response) (none struct{}) { return }

func (e *echoApplication) OnOpen(ws.ClientID, struct{}) {}

func (e *echoApplication) OnData(id ws.ClientID, msg *ws.Message) {
	data, err := msg.Bytes()
	switch {
	case err != nil:
	case msg.Binary():
		e.endpoint.SendBinary(data, id)
	default:
		e.endpoint.SendText(data, id)
	}
}

func (e *echoApplication) OnClose(ws.ClientID, ws.Code, string) {}

func (e *echoApplication) OnStop() {}

// An echo in its steady state takes its Message from the heap, which a handler may
// keep and which is allocated with fifteen others, and nothing else: on either
// engine, and for a message that is longer than one read.
func TestEchoAllocatesItsMessage(t *testing.T) {
	keeps, echoes := !ws.Raced(), 200
	if !keeps {
		echoes = 10
		t.Log("the race detector makes pools forget: only the echoes are checked, not what they take")
	}
	for _, size := range []int{16, 1 << 10, 64 << 10} {
		for _, opcode := range []frame.Opcode{frame.Text, frame.Binary} {
			sockets(t, func(t *testing.T, at setting) {
				s := serve(t, at, &echoApplication{}, unlimited)
				p := s.dial(t)
				request := maskedFrame(opcode, size)
				reply := make([]byte, len(frame.AppendHeader(nil, frame.Header{Length: int64(size)}))+size)
				echo(t, p, request, reply, echoes)
				most := echoes / 8
				took, bytes := 2*most, 0
				for try := 0; keeps && try < 20 && (took > most || bytes > 48*echoes); try++ { // a collection of garbage empties the pools
					took, bytes = allocated(func() { echo(t, p, request, reply, echoes) })
				}
				if (took > most || bytes > 48*echoes) && keeps {
					t.Errorf("%d B: %d allocations of %d B for %d echoes", size, took, bytes, echoes)
				}
				p.leave()
			})
		}
	}
}

func maskedFrame(opcode frame.Opcode, size int) []byte {
	h := frame.Header{Fin: true, Opcode: opcode, Masked: true, Length: int64(size)}
	return append(frame.AppendHeader(nil, h), make([]byte, size)...)
}

func echo(t *testing.T, p *peer, request, reply []byte, n int) {
	for range n {
		if _, err := p.nc.Write(request); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(p.reader, reply); err != nil {
			t.Fatal(err)
		}
	}
}

func allocated(f func()) (objects, bytes int) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.Mallocs - before.Mallocs), int(after.TotalAlloc - before.TotalAlloc)
}
