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

// count adds to a count. c.mu is held.
func (c *conn) count(what int, n uint64) {
	sum := uint64(c.tally[what]) + n
	c.tally[what] = uint32(sum)
	if carry := uint32(sum >> 32); carry > 0 {
		c.extras().carried[what] += carry
	}
}

// traffic is what was counted. c.mu is held.
func (c *conn) traffic() Traffic {
	var whole [counts]uint64
	for what, low := range c.tally {
		whole[what] = uint64(low)
		if c.extra != nil {
			whole[what] |= uint64(c.extra.carried[what]) << 32
		}
	}
	return Traffic{
		whole[bytesRead], whole[framesRead], whole[messagesRead],
		whole[bytesSent], whole[framesSent], whole[messagesSent],
	}
}
