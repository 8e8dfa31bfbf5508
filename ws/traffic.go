package ws

// Traffic counts what went over a connection. Frames include control frames,
// bytes include frame headers but not the handshake; messages are data messages.
type Traffic struct {
	BytesRead, FramesRead, MessagesRead uint64
	BytesSent, FramesSent, MessagesSent uint64
}

func (t *Traffic) add(more *Traffic) {
	t.BytesRead += more.BytesRead
	t.FramesRead += more.FramesRead
	t.MessagesRead += more.MessagesRead
	t.BytesSent += more.BytesSent
	t.FramesSent += more.FramesSent
	t.MessagesSent += more.MessagesSent
}

// The counts of a conn.
const (
	bytesRead = iota
	framesRead
	messagesRead
	bytesSent
	framesSent
	messagesSent
	counts
)

// tally is a conn's counts without their upper halves: few conns ever reach
// four billion of anything, and there are many conns.
type tally [counts]uint32
