package ws

import (
	"reflect"
	"testing"
)

// An idle client costs little more than this, and a size class of the
// allocator ends here: think before it grows.
func TestSizeOfAnIdleConnection(t *testing.T) {
	if size := reflect.TypeFor[conn]().Size(); size > 160 {
		t.Errorf("a conn takes %d bytes, more than 160", size)
	}
}

// Counts go on where 32 bits end.
func TestTrafficCarries(t *testing.T) {
	c := new(conn)
	for range 5 {
		c.count(bytesSent, 1<<31+1)
	}
	c.count(messagesRead, 7)
	if got, want := c.traffic(), (Traffic{BytesSent: 5*(1<<31) + 5, MessagesRead: 7}); got != want {
		t.Errorf("counted %+v, not %+v", got, want)
	}
}
