package deflate

import (
	"errors"
	"strconv"
	"strings"

	"aerys/internal/field"
)

// This file is the header field of extensions (RFC 6455 §9.1), and the terms of
// permessage-deflate in it (RFC 7692 §7.1). Every byte of the field is looked at a
// fixed number of times, whatever it is.

// extension is an element of Sec-WebSocket-Extensions (RFC 6455 §9.1).
type extension struct {
	name   string
	params []parameter
}

// parameter is a parameter of an extension. An empty value is none.
type parameter struct{ name, value string }

// parseExtensions returns the elements of Sec-WebSocket-Extensions, in order.
// It fails at the first that is not of this grammar (RFC 6455 §9.1), in which
// there may be spaces between any two of its parts (RFC 2616 §2.1):
//
//	extension = token *( ";" token [ "=" ( token / quoted-string ) ] )
//
// What is quoted has to be a token too, so a comma or semicolon never belongs to
// a value.
func parseExtensions(values []string) (list []extension, ok bool) {
	for element := range field.Elements(values) {
		e, ok := parseExtension(element)
		if !ok {
			return nil, false
		}
		list = append(list, e)
	}
	return list, true
}

func parseExtension(element string) (e extension, ok bool) {
	name, rest, more := strings.Cut(element, ";")
	e.name = field.TrimSpace(name)
	ok = field.IsToken(e.name)
	for more && ok {
		var param string
		var p parameter
		param, rest, more = strings.Cut(rest, ";")
		p, ok = parseParameter(param)
		e.params = append(e.params, p)
	}
	return e, ok
}

func parseParameter(s string) (p parameter, ok bool) {
	name, value, valued := strings.Cut(s, "=")
	name, value = field.TrimSpace(name), field.TrimSpace(value)
	if strings.HasPrefix(value, `"`) {
		value = unquote(value)
	}
	return parameter{name, value}, field.IsToken(name) && (!valued || field.IsToken(value))
}

// unquote returns what a quoted-string stands for (RFC 9110 §5.6.4). A quote or
// backslash that stays in it, or an empty result, is no token.
func unquote(s string) string {
	if len(s) < 2 || s[len(s)-1] != '"' {
		return ""
	}
	var value []byte
	for i := 1; i < len(s)-1; i++ {
		if s[i] == '\\' {
			i++
		}
		value = append(value, s[i])
	}
	return string(value)
}

// Terms are those under which permessage-deflate is used on a
// connection, in one byte. Zero: it is not used.
type Terms uint8

const (
	windowBits Terms = 0x0F // 8 to 15: the window of the peer that inflates what we send
	takeover   Terms = 0x10 // the peer may refer to its earlier messages
)

// Enabled reports whether permessage-deflate was agreed on.
func (p Terms) Enabled() bool { return p != 0 }

// Takeover reports whether what the peer sends has to be inflated with a
// Window (RFC 7692 §7.1.1).
func (p Terms) Takeover() bool { return p&takeover != 0 }

// Fits reports whether a message of size bytes may be sent compressed; others
// are sent as they are (RFC 7692 §6: RSV1 says which). compress/flate cannot
// be told to look back less than 32 KiB, but nothing looks back further than
// the message is long. Where the peer's window is smaller, a message that is no
// larger than it keeps the promise, and no other (§7.1.2).
func (p Terms) Fits(size int) bool {
	bits := p & windowBits
	return bits == 15 || p.Enabled() && size <= 1<<bits
}

// The parameters of permessage-deflate (RFC 7692 §7.1).
const (
	serverNoTakeover = "server_no_context_takeover"
	clientNoTakeover = "client_no_context_takeover"
	serverWindowBits = "server_max_window_bits"
	clientWindowBits = "client_max_window_bits"
)

// parseTerms returns the parameters of e, an offer of permessage-deflate or
// the answer to one: window bits, 1 for those without a value, 0 for those
// absent. It fails at another extension, and at what RFC 7692 §7 refuses: an
// unknown or repeated parameter, an invalid value.
func parseTerms(e extension, offer bool) (terms map[string]int, ok bool) {
	terms = make(map[string]int)
	for _, p := range e.params {
		value := 0
		switch p.name {
		case serverNoTakeover, clientNoTakeover: // §7.1.1: no value
			if p.value == "" {
				value = 1
			}
		case serverWindowBits, clientWindowBits:
			value = parseWindowBits(p.value)
			if offer && p.name == clientWindowBits && p.value == "" {
				value = 15 // §7.1.2.2: in an offer the value is optional
			}
		}
		if value == 0 || terms[p.name] != 0 {
			return nil, false
		}
		terms[p.name] = value
	}
	return terms, e.name == "permessage-deflate"
}

// parseWindowBits returns a number from 8 to 15, which has no leading zeros
// (RFC 7692 §7.1.2), or 0 for anything else.
func parseWindowBits(value string) int {
	for bits := 8; bits <= 15; bits++ {
		if value == strconv.Itoa(bits) {
			return bits
		}
	}
	return 0
}

// Accept is the server's side of the negotiation (RFC 7692 §5.1): the first
// offer in Sec-WebSocket-Extensions that can be honoured is accepted and
// answered. With none, permessage-deflate is not used. With ok false the field
// is malformed.
//
// We promise never to refer to earlier messages, and so need no compressor for
// each client (§7.1.1.1). The client may, if allowTakeover is true, unless it
// hints that it will not (§7.1.1.2). We inflate with any window, so the client's
// is left to itself (§7.1.2.2).
func Accept(values []string, allowTakeover bool) (p Terms, answer string, ok bool) {
	offers, ok := parseExtensions(values)
	for _, offer := range offers {
		terms, acceptable := parseTerms(offer, true)
		if !acceptable {
			continue
		}
		p, answer = 15, "permessage-deflate; "+serverNoTakeover
		if bits := terms[serverWindowBits]; bits != 0 {
			p = Terms(bits)
			answer += "; " + serverWindowBits + "=" + strconv.Itoa(bits)
		}
		if allowTakeover && terms[clientNoTakeover] == 0 {
			return p | takeover, answer, true
		}
		return p, answer + "; " + clientNoTakeover, true
	}
	return 0, "", ok
}

// Offer is what a client offers: it never refers to earlier messages itself,
// lets the server do so, and honours any window that the server asks for
// (RFC 7692 §7.1).
const Offer = "permessage-deflate; " + clientWindowBits + "; " + clientNoTakeover

var errAnswer = errors.New("the server's Sec-WebSocket-Extensions is no answer to the offer (RFC 7692 §7)")

// CheckAnswer returns the terms that a server chose, of [Offer] if it was made.
// Its error means to fail the connection: the field is malformed, names an
// extension that was not offered (RFC 6455 §4.1), or has terms that are not valid
// (RFC 7692 §7).
func CheckAnswer(values []string, offered bool) (Terms, error) {
	answer, ok := parseExtensions(values)
	if ok && len(answer) == 0 {
		return 0, nil
	}
	if !ok || !offered || len(answer) > 1 {
		return 0, errAnswer
	}
	terms, ok := parseTerms(answer[0], false)
	if !ok {
		return 0, errAnswer
	}
	p := Terms(15)
	if bits := terms[clientWindowBits]; bits != 0 {
		p = Terms(bits)
	}
	if terms[serverNoTakeover] == 0 {
		p |= takeover
	}
	return p, nil
}
