package ws

import "encoding/binary"

// This file is how messages look on their way through a Broker.

// An envelope is a version, a kind, the node that it is from, and what it says.
const (
	envelopeVersion = 1
	envelopeSize    = 1 + 1 + 8
)

// envelopeKind is what an envelope has in it.
type envelopeKind byte

const (
	textKind   envelopeKind = 't' // a text message
	binaryKind envelopeKind = 'b' // a binary one
	closeKind  envelopeKind = 'c' // a code in two bytes and a reason, as in a close frame
	helloKind  envelopeKind = 'h' // a name: the node is there
	byeKind    envelopeKind = 'q' // it is not any more
	askKind    envelopeKind = '?' // a number in four bytes and a topic: who is in it?
	answerKind envelopeKind = '!' // the number, a count in four bytes, and names, the length before each
)

// isForClients reports whether it is sent because the application wants it.
func (k envelopeKind) isForClients() bool {
	return k == textKind || k == binaryKind || k == closeKind
}

func appendEnvelope[T string | []byte](p []byte, kind envelopeKind, node uint64, payload T) []byte {
	p = append(p, envelopeVersion, byte(kind))
	return append(binary.BigEndian.AppendUint64(p, node), payload...)
}

// parseEnvelope reports false for what no node of this version has written.
func parseEnvelope(p []byte) (kind envelopeKind, node uint64, payload []byte, ok bool) {
	if len(p) < envelopeSize || p[0] != envelopeVersion {
		return 0, 0, nil, false
	}
	return envelopeKind(p[1]), binary.BigEndian.Uint64(p[2:]), p[envelopeSize:], true
}

// Topics of our own begin with a zero byte. Those of an application that do, too,
// get a second one.
const (
	everyTopic = "\x00*" // what is broadcast
	nodesTopic = "\x00?" // what nodes say to all others
)

// nodeTopic is where a node gets answers.
func nodeTopic(node uint64) string {
	return string(binary.BigEndian.AppendUint64([]byte("\x00!"), node))
}

// outward is what a topic is called outside.
func outward(topic string) string {
	if topic != "" && topic[0] == 0 {
		return "\x00" + topic
	}
	return topic
}

// inward is the opposite; false for a topic of our own.
func inward(topic string) (name string, ok bool) {
	if topic == "" || topic[0] != 0 {
		return topic, true
	}
	if len(topic) > 1 && topic[1] == 0 {
		return topic[1:], true
	}
	return "", false
}

// appendAnswer writes an answer, with as many of the names as fit into most bytes.
func appendAnswer(p []byte, number uint32, count int, names []string, most int) []byte {
	p = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(p, number), uint32(count))
	for _, name := range names {
		if len(p)+binary.MaxVarintLen32+len(name) > most {
			break
		}
		p = append(binary.AppendUvarint(p, uint64(len(name))), name...)
	}
	return p
}

func parseAnswer(p []byte) (number uint32, count int, names []string, ok bool) {
	if len(p) < 8 {
		return 0, 0, nil, false
	}
	number, count = binary.BigEndian.Uint32(p), int(binary.BigEndian.Uint32(p[4:]))
	for p = p[8:]; len(p) > 0; {
		size, n := binary.Uvarint(p)
		if n <= 0 || size > uint64(len(p)-n) {
			return 0, 0, nil, false
		}
		names = append(names, string(p[n:n+int(size)]))
		p = p[n+int(size):]
	}
	return number, count, names, true
}
