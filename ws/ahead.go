package ws

// readAhead is what was read of a conn before its turn: frames of data, in order.
type readAhead struct {
	bytes []byte
	taken int   // of them, by the turn
	end   error // why nothing follows

	looked     bool  // the following is known
	next       int64 // bytes from what is not taken up to the next header to be looked at
	fragmented bool  // there, a message is under way
	bad        bool  // what is there breaks a rule: it fails in its turn
	full       bool  // nothing more was to be read
}

// leastAhead is room for any control frame, and some more.
const leastAhead = 4 << 10

// any reports whether there is something for the turn.
func (a *readAhead) any() bool { return a.bytes != nil || a.end != nil }

func (a *readAhead) waiting() []byte { return a.bytes[a.taken:] }

func (a *readAhead) drop() {
	putBuffer(a.bytes)
	*a = readAhead{}
}

// putBack puts what a turn has read, and did not parse, before what waits.
func (a *readAhead) putBack(p []byte) {
	if len(p) > 0 {
		a.move(p, 0)
		a.looked = false
	}
}

// move has a buffer with p before what waits, and room behind it.
func (a *readAhead) move(p []byte, room int) {
	old, waiting := a.bytes, a.waiting()
	a.bytes, a.taken = append(append(getBuffer(len(p)+len(waiting)+room), p...), waiting...), 0
	putBuffer(old)
}

// cut removes a control frame of n bytes.
func (a *readAhead) cut(n int) {
	at := a.taken + int(a.next)
	a.bytes = append(a.bytes[:at], a.bytes[at+n:]...)
}

// read reads what was read ahead. Without any, the error is how it ended.
func (a *readAhead) read(p []byte) (n int, err error) {
	if a.bytes == nil {
		return 0, a.end
	}
	n = copy(p, a.waiting())
	a.taken += n
	a.looked = false
	a.tidy()
	return n, nil
}

// tidy lets go of a buffer with nothing in it, and of what is known of what comes
// next: it may come to a handler that waits for it.
func (a *readAhead) tidy() {
	if len(a.bytes) == a.taken {
		putBuffer(a.bytes)
		a.bytes, a.taken, a.looked = nil, 0, false
	}
}

// space is where the next read may put its bytes, if any may be read: no more
// than left.
func (a *readAhead) space(left int) []byte {
	room := min(left, bufferSize)
	if room == 0 {
		return nil
	}
	if cap(a.bytes)-len(a.bytes) < min(room, leastAhead/2) {
		a.move(nil, min(room, max(leastAhead, len(a.waiting()))))
	}
	free := a.bytes[len(a.bytes):cap(a.bytes)]
	return free[:min(room, len(free))]
}
