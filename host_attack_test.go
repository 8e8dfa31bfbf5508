package aerys

import (
	"io"
	"net"
	"testing"
)

// converseUntilReset is converse with a server that may end the conversation
// by a reset.
func converseUntilReset(t *testing.T, address net.Addr, text string) string {
	conn := dial(t, address)
	go io.WriteString(conn, text)
	answer, err := io.ReadAll(conn)
	if err, ok := err.(net.Error); ok && err.Timeout() {
		t.Errorf("no end after %.200q", answer)
	}
	return string(answer)
}
