package ws

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// This file counts: what goes over each connection, and what becomes of all.

// Traffic counts what went over a connection. Frames include control frames,
// bytes include frame headers but not the handshake; messages are data messages.
type Traffic struct {
	BytesRead    uint64 `json:"bytes_read" metric:"aerys_ws_received_bytes_total counter Bytes of frames from clients."`
	FramesRead   uint64 `json:"frames_read" metric:"aerys_ws_received_frames_total counter Frames from clients."`
	MessagesRead uint64 `json:"messages_read" metric:"aerys_ws_received_messages_total counter Messages from clients."`
	BytesSent    uint64 `json:"bytes_sent" metric:"aerys_ws_sent_bytes_total counter Bytes of frames to clients."`
	FramesSent   uint64 `json:"frames_sent" metric:"aerys_ws_sent_frames_total counter Frames to clients."`
	MessagesSent uint64 `json:"messages_sent" metric:"aerys_ws_sent_messages_total counter Messages to clients."`
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

// State is what Gateway.Monitor reports. Nothing in it is about one client.
type State struct {
	Active   int               `json:"active" metric:"aerys_ws_clients gauge Clients that are connected."`
	Accepted uint64            `json:"accepted" metric:"aerys_ws_accepted_total counter Clients so far."`
	Rejected map[string]uint64 `json:"rejected,omitempty" metric:"aerys_ws_rejected_total{reason} counter Handshakes refused."`         // by reason
	Closed   map[Code]uint64   `json:"closed,omitempty" metric:"aerys_ws_closed_total{code} counter Clients that are gone."`            // by code of OnClose
	Failed   map[Code]uint64   `json:"failed,omitempty" metric:"aerys_ws_failed_total{code} counter Clients closed for what they did."` // of those gone and about to go
	Slow     uint64            `json:"slow" metric:"aerys_ws_slow_total counter Clients closed for not reading."`                       // they are among Failed
	Paused   int               `json:"paused" metric:"aerys_ws_paused gauge Clients that have to wait because of a rate."`
	Queued   int64             `json:"queued_bytes" metric:"aerys_ws_queued_bytes gauge Bytes that wait to be sent."`
	Topics   int               `json:"topics" metric:"aerys_ws_topics gauge Topics with clients."`
	Traffic
	Broker *BrokerState `json:"broker,omitempty"`
}

// BrokerState is what there is to say about Options.Broker.
type BrokerState struct {
	Connected int       `json:"connected" metric:"aerys_ws_broker_connected gauge Whether the broker is there, as far as it says so: 1 or 0."`
	Nodes     int       `json:"nodes" metric:"aerys_ws_broker_nodes gauge Other nodes that are known."`
	Topics    int       `json:"topics" metric:"aerys_ws_broker_topics gauge Topics that other nodes are listened to for, three of them our own."`
	Sent      uint64    `json:"sent" metric:"aerys_ws_broker_sent_total counter Messages to other nodes."`
	Received  uint64    `json:"received" metric:"aerys_ws_broker_received_total counter Messages from other nodes."`
	Lost      uint64    `json:"lost" metric:"aerys_ws_broker_lost_total counter Messages to other nodes that the broker did not take."`
	Unknown   uint64    `json:"unknown" metric:"aerys_ws_broker_unknown_total counter Messages from other nodes that this version does not know."`
	Queued    int64     `json:"queued_bytes" metric:"aerys_ws_broker_queued_bytes gauge Bytes that wait for the broker."`
	LastLost  time.Time `json:"last_lost,omitzero" metric:"aerys_ws_broker_last_lost_timestamp_seconds gauge When messages from or to other nodes may have been lost, in seconds since 1970, or 0."`
}

// counters are what there was of clients so far.
type counters struct {
	accepted atomic.Uint64

	slowDue later // the log is to tell of those closed for not reading

	mu       sync.Mutex
	total    State  // its Traffic is of clients that are gone, the rest of now is not in it
	reported uint64 // of total.Slow, those that the log tells of
	why      string // the last of them was closed
}

// increment counts one more of a kind.
func increment[K comparable](counts *map[K]uint64, kind K) {
	if *counts == nil {
		*counts = make(map[K]uint64)
	}
	(*counts)[kind]++
}

// failed counts a client that is closed for what it did.
func (s *counters) failed(code Code) {
	s.mu.Lock()
	defer s.mu.Unlock()
	increment(&s.total.Failed, code)
}

// tooSlow counts a client that is closed for not reading.
func (s *counters) tooSlow(why string) {
	s.slowDue.arm()
	s.mu.Lock()
	defer s.mu.Unlock()
	increment(&s.total.Failed, CodePolicyViolation)
	s.total.Slow++
	s.why = why
}

// reportSlow logs that clients were closed for not reading since it was last
// called.
func (s *counters) reportSlow(log *slog.Logger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	log.LogAttrs(context.Background(), slog.LevelWarn, "ws: clients that do not read were closed",
		slog.Uint64("clients", s.total.Slow-s.reported), slog.String("last", s.why))
	s.reported = s.total.Slow
}

// ended counts a client that is gone.
func (s *counters) ended(code Code, traffic *Traffic) {
	s.mu.Lock()
	defer s.mu.Unlock()
	increment(&s.total.Closed, code)
	s.total.Traffic.add(traffic)
}

// rejects counts a handshake that was refused.
func (s *counters) rejects(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	increment(&s.total.Rejected, reason)
}
