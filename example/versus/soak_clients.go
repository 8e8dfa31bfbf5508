package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/gorilla/websocket"
)

var pattern = newWire(256<<10, false).payload

// message makes one of a client's messages, which begins with its stamp. Of
// those to be echoed one in a hundred is long.
func message(sender, number int) []byte {
	size := (sender + number*37) % 1000
	if sender >= publishers && (sender+number)%100 == 0 {
		size = 200 << 10
	}
	return append(binary.LittleEndian.AppendUint64(nil, stamp(sender, number)), pattern[number%10_000:][:size]...)
}

// member is a client on a connection.
type member struct {
	*websocket.Conn
	*soaking
	id  int
	due map[int]int // the number that comes next, by sender
}

func (s *soaking) join(path string, id int) (*member, error) {
	c, err := dial(s.process, path, id)
	s.connections.Add(1)
	if err != nil {
		return nil, fmt.Errorf("joining: %w", err)
	}
	c.SetPingHandler(func(payload string) error { // that of gorilla gives up after a second
		err := c.WriteControl(websocket.PongMessage, []byte(payload), time.Now().Add(time.Minute))
		if err == websocket.ErrCloseSent {
			return nil
		}
		return err
	})
	return &member{c, s, id, map[int]int{}}, nil
}

func (m *member) send(number int) error {
	return m.WriteMessage(websocket.BinaryMessage, message(m.id, number))
}

// next takes a message, which has to be one that was sent, and counts those out
// of order.
func (m *member) next() (sender, number int, err error) {
	m.SetReadDeadline(time.Now().Add(time.Minute))
	_, payload, err := m.ReadMessage()
	if err != nil {
		return 0, 0, err
	}
	if len(payload) >= 8 {
		s := binary.LittleEndian.Uint64(payload)
		sender, number = int(s>>32), int(uint32(s))
	}
	if !bytes.Equal(payload, message(sender, number)) {
		return 0, 0, fmt.Errorf("got %d bytes that nobody sent: %x, instead of %x", len(payload), payload, message(sender, number))
	}
	if due, known := m.due[sender]; known && number > due {
		m.lost.Add(int64(number - due))
	} else if known && number < due {
		m.reordered.Add(1)
	}
	m.due[sender] = number + 1
	return sender, number, nil
}

// turnDeaf is called by who is about to read little or nothing. What its machine
// would hold for it, 32 MB with Linux's defaults, comes out of what the kernel
// has for all connections here, and when that runs short it drops what is meant
// for others.
func (s *soaking) turnDeaf(conn interface{ SetReadBuffer(bytes int) error }) {
	s.deaf.Add(1)
	conn.SetReadBuffer(64 << 10)
}

// leave resets the connection, or closes it as RFC 6455 §7.1.2 wants it.
func (m *member) leave(r *rand.Rand) (err error) {
	if r.IntN(3) == 0 {
		m.abort()
		return nil
	}
	m.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
	for err == nil {
		_, _, err = m.next()
	}
	if websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		return nil
	}
	return fmt.Errorf("closing: %w", err)
}

func (m *member) abort() {
	m.aborts.Add(1)
	m.NetConn().(*net.TCPConn).SetLinger(0)
	m.Close()
}

// echo sends messages now and then, and wants them back.
func (s *soaking) echo(id int, r *rand.Rand) error {
	m, err := s.join("/echo", id)
	if err != nil {
		return err
	}
	defer func() { m.Close() }()
	for sent := 0; ; {
		for range 1 + r.IntN(8) {
			m.send(sent) // a failure shows when reading
			sent++
		}
		for m.due[id] < sent {
			if _, _, err := m.next(); err != nil {
				return err
			}
			m.echoes.Add(1)
		}
		time.Sleep(time.Duration(r.Int64N(int64(5 * time.Second))))
		if !m.living() || r.IntN(10) == 0 {
			return m.leave(r)
		}
		if r.IntN(10) == 0 {
			again, err := m.sendHalf(sent, r)
			if err != nil {
				return err
			}
			m = again
			sent++
		}
	}
}

// sendHalf stops in the middle of a message. It sends the other half later, or
// resets the connection and starts the message again on a new one.
func (m *member) sendHalf(number int, r *rand.Rand) (*member, error) {
	b := clientFrame(opBinary, message(m.id, number))
	half := 1 + r.IntN(len(b)-1)
	m.NetConn().SetWriteDeadline(time.Time{}) // a pong leaves its own behind
	m.NetConn().Write(b[:half])
	time.Sleep(time.Duration(r.Int64N(int64(time.Second))))
	if r.IntN(2) == 0 {
		m.NetConn().Write(b[half:])
		return m, nil
	}
	m.abort()
	m.restarts.Add(1)
	again, err := m.join("/echo", m.id)
	if err != nil {
		return m, err
	}
	again.due = m.due
	return again, again.send(number)
}

// receive follows what is broadcast for a while, or until each publisher has
// sent its last message. Publishers do, too.
func (s *soaking) receive(id int, r *rand.Rand) error {
	s.joining.RLock()
	if s.closing.Load() && id >= publishers {
		s.joining.RUnlock()
		return nil
	}
	m, err := s.join("/broadcast", id)
	s.joining.RUnlock()
	if err != nil {
		return err
	}
	defer m.Close()
	leave := time.Now().Add(time.Duration(r.Int64N(int64(time.Minute))))
	if id < publishers {
		leave = s.deadline.Add(time.Hour)
		go m.publish()
	}
	for last := 0; last < publishers && (m.closing.Load() || time.Now().Before(leave)); {
		sender, number, err := m.next()
		if err != nil {
			return err
		}
		m.deliveries.Add(1)
		if m.last[sender].Load() == int64(number) {
			last++
		}
	}
	return m.leave(r)
}

// publish broadcasts ten messages a second, and one when nobody joins any more.
func (m *member) publish() {
	for number := 0; ; number++ {
		last := m.closing.Load()
		if last {
			m.last[m.id].Store(int64(number))
		}
		if m.send(number) != nil || last {
			return // a failure shows when reading
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// ignore reads nothing of what is broadcast, and goes away.
func (s *soaking) ignore(id int, r *rand.Rand) error {
	m, err := s.join("/broadcast", id)
	if err != nil {
		return err
	}
	m.turnDeaf(m.NetConn().(*net.TCPConn))
	time.Sleep(min(time.Until(s.deadline), time.Duration(r.Int64N(int64(time.Minute)))))
	m.abort()
	return nil
}

// sendOnly reads none of the echoes of what it sends. The server ends that.
func (s *soaking) sendOnly(id int) error {
	m, err := s.join("/echo", id)
	if err != nil {
		return err
	}
	defer m.Close()
	m.turnDeaf(m.NetConn().(*net.TCPConn))
	for err == nil {
		m.SetWriteDeadline(time.Now().Add(time.Minute))
		err = m.WriteMessage(websocket.BinaryMessage, pattern[:64<<10])
	}
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		return errors.New("reads nothing, and was not closed within a minute")
	}
	return nil
}
