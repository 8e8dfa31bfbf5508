package listen

import (
	"io"
	"net"
	"os"
	"time"
)

// Notify tells a state of this process, such as "READY=1", to the service manager
// that waits for it, as sd_notify(3) has it. Where none does, nothing happens.
func Notify(state string) error {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return nil
	}
	conn, err := net.Dial("unixgram", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	_, err = io.WriteString(conn, state)
	return err
}
