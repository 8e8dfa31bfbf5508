package ws_test

import (
	"testing"
	"time"

	"aerys/ws"
)

// A handler may take as long as it likes: its client, whose pongs are not read
// meanwhile, is not closed for want of them.
func TestHeartbeatSparesClientsOfSlowHandlers(t *testing.T) {
	engines(t, func(t *testing.T, at setting) {
		t.Parallel()
		r := &recorder{}
		r.onData = func(id ws.ClientID, m *ws.Message) {
			text, _ := m.Text()
			<-time.After(3500 * time.Millisecond) // more than three sweeps
			r.endpoint.Send(text, id)
		}
		options := unlimited
		options.HeartbeatPeriod, options.QueuedPingLimit = time.Second, 1
		s := serve(t, at, r, options)
		b := s.dialBot(t, ws.DialOptions{})
		b.echoes(false, "slow")
	})
}
