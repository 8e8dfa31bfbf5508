// Package http1 serves HTTP/1.1 and HTTP/1.0 (RFC 9112) on a connection: bytes
// come in, an http.Handler gets an *http.Request and an http.ResponseWriter that
// does all that net/http's does, and bytes go out. It knows nothing of sockets,
// routes or pages.
//
// # The way of a connection
//
// A loop's connection is the Transport, and its loop calls Conn.Serve (loop.go)
// when there is something to read. A turn (conn.go) reads what has come, once, and
// then more as long as a request is incomplete. A whole head (head.go) is parsed by
// http.ReadRequest, or to the same effect, if it is as almost all are, by a
// strict subset of that. Then the handler runs (exchange.go), in the turn's
// goroutine; what it asks of the body (body.go, decoder.go) is read then, and
// waited for. Its response (response.go, response_write.go) is appended to the
// connection's output (transport.go) and leaves when nothing more is there to be
// served, when the buffer is full, when the handler calls Flush, or soon after the
// next handler turns out to take long. So a batch of pipelined requests is answered
// in order and in one write, and a response's head and body leave together. Where a
// turn would wait between two requests it returns, and nothing is left but the
// Conn: no goroutine, no buffer.
//
//	fresh ──▶ reading ──▶ handling ◀──▶ waiting        for the body, when the handler reads it
//	            ▲            │
//	  idle ─────┘            ├──▶ idle                  kept, RFC 9112 §9.3
//	    ▲                    ├──▶ skipping ──▶ idle     kept; what the handler left of the body is dropped
//	    └────────────────────┤
//	                         ├──▶ lingering ──▶ over    the last response; the client may still be sending
//	                         └──▶ over                  closed; or taken over by Hijack, Detach, HTTP/2
//	reading ──▶ lingering                               a request that is refused
//
// Which of the last it is, one table decides: fates, in state.go. Nothing else
// keeps, closes or hands over.
//
// # Who may do what
//
// The turn's goroutine owns the connection. A handler's goroutines may use its
// response and its request's body as with net/http, and the two beside each
// other. A response is never used twice: what is called after the handler has
// returned gets an error, for ever, and touches no other request.
//
// Three locks, taken in this order: the body's, while it is read; the output's,
// while something is appended or written; and life, which guards what is asked
// from elsewhere and is never held for long.
//
// # Time
//
// A connection does not look at the clock. It counts what happens, and a sweep,
// about once a second, sees what has not moved for how long: Conn.Sweep is a
// function of the counts and of the time it is given. Deadlines that a handler
// sets by http.ResponseController are the transport's, and exact.
//
// The limits are for clients that make no progress. A head has HeaderTimeout in
// all; a body that is waited for may pause for BodyTimeout, and must come at
// BodyRate on average; 64 KiB of a response must leave within WriteTimeout; a
// kept connection may be silent for IdleTimeout. Memory: a head up to
// MaxHeaderBytes and MaxFields, 16 KiB that are read, 16 KiB and a head to be
// written, 2 KiB of a response that is not decided, 4 KiB of trailers.
//
// # What differs from net/http's server
//
// The differential test (oracle_test.go) knows these, and no others.
//
// Stricter, as RFC 9112 allows or demands:
//   - A folded field is refused, 400 (§5.2: reject, or replace by spaces).
//   - More than one Content-Length is refused, 400, even the same twice (§6.3).
//   - Content-Length together with Transfer-Encoding is refused, 400 (§6.1).
//   - Transfer-Encoding in HTTP/1.0 is refused, 400; net/http ignores it and
//     takes the body for a request (§6.1: treat the framing as faulty).
//   - Lines of a trailer section end with CR LF, are not folded and have a name.
//   - A chunk has fewer than 2^63 bytes; net/http takes some larger sizes, and nothing
//     of one from 2^62 to that, whose double is negative to it.
//   - An HTTP/1.0 client that asks for both is closed, not kept (§9.3). So nothing
//     is skipped before its response, and the body may be read behind that.
//   - More fields than MaxFields are 431. MaxHeaderBytes is exact; net/http reads
//     up to 4 KiB more.
//   - PRI is 505, if it is not a preface that HTTP2 takes.
//
// Safer, where net/http's server reads the rest of a body as a request, or loses
// something:
//   - A malformed body ends the connection also when the handler has asked for
//     full duplex or has replaced Request.Body.
//   - A body whose handler read only some of it, after 100 Continue, ends the
//     connection also when the handler has replaced Request.Body (net/http skips
//     it).
//   - A body that is not whole stays an error; with net/http the next Read says
//     io.EOF.
//   - After a body in full duplex was left unread the connection is kept; with
//     net/http it may panic.
//   - Body.Close does not wait. The rest is skipped after the response, so
//     trailers of a closed body are not in Request.Trailer.
//   - Reading fails, with http.ErrBodyReadAfterClose, once 256 KiB of a body in
//     chunks were skipped because the response had begun; with net/http it goes
//     on in the middle.
//   - What was written before Hijack, and not flushed, is sent before it.
//   - A Content-Length that is no number is never sent; with net/http HTTP/1.0
//     clients get it.
//   - Interim responses are not sent to HTTP/1.0 (RFC 9110 §15.2), nor 100 behind
//     101.
//   - What is written late gets ErrHandlerReturned.
//
// Otherwise:
//   - What a handler left of a body is skipped after a complete response has
//     left, not before. If that fails, the connection ends without the response
//     having said so. A body in chunks, and that of a request answered with a
//     status of 400 or more, is not waited for at all: if it is not all there the
//     response says that the connection ends.
//   - A body that the handler has closed is skipped, too, before the connection
//     is taken over, if the request asks for its end; net/http hands it on.
//   - Of two Connection fields of HTTP/1.0 the second may ask to be kept, too.
//   - With Transfer-Encoding: identity the body may be read after the response
//     has begun.
//   - Of two faults in a head the other one may be answered: 501 for 400. A
//     malformed head is answered when it, or the connection, is at its end, not
//     at its first wrong line.
//   - A handler that panics leaves more or less of what it has not flushed.
//   - OPTIONS * is the handler's.
//   - http.MaxBytesReader tells net/http's server, by an unexported method, to
//     close the connection. Here what it did not read is skipped, or is too long
//     and closes it.
//   - The client's leaving is looked for once somebody asks the context.
package http1
