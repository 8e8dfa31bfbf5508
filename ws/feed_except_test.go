package ws

import (
	"slices"
	"strings"
	"testing"
	"time"

	"aerys/ws/internal/deflate"
)

// Messages that each except a client cost what the clients get, not that times
// the exceptions: delivered together, or in the middle of a turn when a client is
// sent something else.
func TestManyExceptions(t *testing.T) {
	const clients = 100
	messages := 12_000
	if Raced() {
		messages = 2_000
	}
	for _, test := range []struct {
		name string
		send func(*Endpoint, []*pipe)
	}{
		{"delivered", func(e *Endpoint, pipes []*pipe) {}},
		{"sent to in between", func(e *Endpoint, pipes []*pipe) {
			for _, p := range pipes {
				e.Send("last", p.id)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := newEndpoint(&functions{}, Options{HeartbeatPeriod: -1, MaxQueuedBytes: -1, MaxQueuedMessages: -1})
			var pipes []*pipe
			for range clients {
				pipes = append(pipes, openPipe(e, new(pipe), 0))
			}
			began := time.Now()
			e.busy.Add(1)
			for n := range messages {
				e.Broadcast(numbered(n), pipes[n%clients].id, pipes[n%clients].id, 1<<40)
			}
			test.send(e, pipes)
			e.endTurn()
			awaitDelivery(t, e)
			if took := time.Since(began); took > feedPatience {
				t.Errorf("it took %v", took)
			}
			for i, p := range pipes {
				got := p.payloads(t)
				for n := range messages {
					if n%clients == i {
						continue
					}
					if len(got) == 0 || got[0] != numbered(n) {
						t.Fatalf("client %d got %.1q instead of message %d", i, got, n)
					}
					got = got[1:]
				}
				if len(got) > 0 && (len(got) > 1 || got[0] != "last") {
					t.Fatalf("client %d got %.2q at last", i, got)
				}
			}
		})
	}
}

// Of a batch with exceptions every client gets what is for it, however much of it
// came before, and in as few writes as if it were for all.
func TestExceptionsInRuns(t *testing.T) {
	long := strings.Repeat("long", bufferSize/4)
	except := func(ids []ClientID, numbers ...int) (excepted []ClientID) {
		for _, n := range numbers {
			excepted = append(excepted, ids[n])
		}
		return excepted
	}
	for _, inflates := range []deflate.Terms{0, 15} {
		e := newEndpoint(&functions{}, Options{Compression: true, CompressionThreshold: 1 << 30})
		pipes := []*pipe{openPipe(e, new(pipe), inflates), openPipe(e, new(pipe), 0), openPipe(e, new(pipe), 0)}
		ids := []ClientID{pipes[0].id, pipes[1].id, pipes[2].id}
		e.busy.Add(1) // a turn, before whose end nothing leaves
		e.soon.after = time.Hour
		e.Broadcast("1")
		e.Broadcast("2", except(ids, 0)...)
		e.Send("2a", ids[0])
		e.Broadcast("3", except(ids, 1)...)
		e.Broadcast("4", except(ids, 0, 1)...)
		e.Broadcast(long, except(ids, 0)...)
		e.Broadcast("6", except(ids, 0, 0, 1)...)
		e.Broadcast("7")
		e.endTurn()
		awaitDelivery(t, e)
		for i, want := range []struct {
			payloads []string
			writes   int
		}{
			{[]string{"1", "2a", "3", "7"}, 2},
			{[]string{"1", "2", long, "7"}, 3},
			{[]string{"1", "2", "3", "4", long, "6", "7"}, 1},
		} {
			if got := pipes[i].payloads(t); !slices.Equal(got, want.payloads) || pipes[i].writes > want.writes {
				t.Errorf("client %d got %.3q in %d writes, want %.3q in %d", i, got, pipes[i].writes, want.payloads, want.writes)
			}
		}
	}
}

// The clients of the multicasts that wait are bounded: each client is looked for
// among them before it is sent something else.
func TestMulticastsBeforeSend(t *testing.T) {
	const clients, messages = 1000, 100
	e := newEndpoint(&functions{}, Options{HeartbeatPeriod: -1, MaxQueuedBytes: -1, MaxQueuedMessages: -1})
	var pipes []*pipe
	var ids []ClientID
	for range clients {
		p := openPipe(e, new(pipe), 0)
		pipes, ids = append(pipes, p), append(ids, p.id)
	}
	e.busy.Add(1)
	for n := range messages {
		e.Multicast(numbered(n), ids...)
		e.feed.mu.Lock()
		if waits := len(e.feed.batches) * clients; waits > feedLimit/8 {
			t.Fatalf("%d deliveries wait", waits)
		}
		e.feed.mu.Unlock()
	}
	for _, p := range pipes {
		e.Send("last", p.id)
	}
	e.endTurn()
	awaitDelivery(t, e)
	for i, p := range pipes {
		if got := p.payloads(t); len(got) != messages+1 || got[messages] != "last" || got[messages-1] != numbered(messages-1) {
			t.Fatalf("client %d got %d messages, %.2q at last", i, len(got), got[max(0, len(got)-2):])
		}
	}
}
