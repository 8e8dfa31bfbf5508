package http1

import (
	"sync/atomic"
)

// phase is what a connection is about. One goroutine at a time moves it.
type phase uint32

const (
	fresh     phase = iota // nothing has ever come
	idle                   // a request was served, nothing of the next has come
	reading                // some of a head
	handling               // the handler runs
	waiting                // it waits for bytes of the body
	skipping               // what it left of the body is read and dropped
	lingering              // the last answer has left; what still comes is dropped until the client ends, or for a while
	over                   // closed, or somebody else's
)

// state is the phase that a connection is in.
type state struct {
	phase atomic.Uint32
	moves atomic.Uint32 // changes of it
}

func (s *state) now() phase { return phase(s.phase.Load()) }

// enter moves on to a phase, unless the connection is over.
func (s *state) enter(to phase) bool {
	for {
		switch from := s.now(); {
		case from == over:
			return false
		case from == to:
			return true
		case s.phase.CompareAndSwap(uint32(from), uint32(to)):
			s.moves.Add(1)
			return true
		}
	}
}

// end ends the connection if it is in a phase.
func (s *state) end(from phase) bool { return s.phase.CompareAndSwap(uint32(from), uint32(over)) }

// fate is what becomes of a connection when a response is complete.
type fate uint8

const (
	keep     fate = iota // the next request
	end                  // no more requests: the response is the last one, and says so where its head has not left
	abandon              // at once
	handOver             // to whoever took it
)

// fact is something about an exchange that decides on the connection.
type fact uint16

const (
	takenOver        fact = 1 << iota // Hijack or Detach
	writeFailed                       // the client is gone, or takes nothing
	aborted                           // the handler panicked, or ended its goroutine
	truncated                         // less was written than Content-Length says
	requestCloses                     // Connection: close, or HTTP/1.0 that does not ask to stay
	responseCloses                    // the handler set Connection: close
	undelimited                       // only the end of the connection ends the response
	lastRequest                       // MaxRequests, or EndAfterResponse
	expectationUnmet                  // the client waits for a 100, or the handler read only some of what came after it
	bodyTooLong                       // more of it is left than is worth reading
	bodyBroken                        // what follows is not known to be a request
)

// fates is all that decides on keeping, closing and handing over a connection
// (RFC 9112 §9.3 to §9.6): the first row whose fact holds counts, and where
// none does the connection is kept. It is consulted twice: when a response's
// head leaves, with what is known then, to say Connection: close; and when the
// response is complete, to do it.
var fates = [...]struct {
	fact fact
	fate fate
}{
	{takenOver, handOver},
	{writeFailed, abandon},
	{aborted, abandon},   // in the middle of a response: the client must not take it for a whole one
	{truncated, abandon}, // likewise
	{requestCloses, end},
	{responseCloses, end},
	{undelimited, end},
	{lastRequest, end},
	{expectationUnmet, end}, // RFC 9110 §10.1.1
	{bodyTooLong, end},
	{bodyBroken, end}, // RFC 9112 §2.2, §7.1: else the rest of it could be read as a request
}

// fate of a connection of which these facts hold.
func (f fact) fate() fate {
	for _, row := range &fates {
		if f&row.fact != 0 {
			return row.fate
		}
	}
	return keep
}
