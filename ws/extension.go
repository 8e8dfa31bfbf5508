package ws

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"aerys/internal/field"
)

// This file is what the opening handshake says in lists of tokens: which
// extensions and subprotocols there are (RFC 6455 §9.1, §11.3), and the terms
// of permessage-deflate (RFC 7692 §7.1). Every byte of a header is looked at a
// fixed number of times, whatever it is.

// parseTokens returns the tokens of Sec-WebSocket-Protocol, in order. It fails
// at one that is repeated or no token (RFC 6455 §4.1, item 10).
func parseTokens(values []string) (tokens []string, ok bool) {
	tokens = slices.Collect(field.Elements(values))
	return tokens, areTokens(tokens)
}

// areTokens reports whether all are tokens, each different.
func areTokens(names []string) bool {
	seen := make(map[string]bool)
	for _, name := range names {
		if !field.IsToken(name) || seen[name] {
			return false
		}
		seen[name] = true
	}
	return true
}

// extension is an element of Sec-WebSocket-Extensions (RFC 6455 §9.1).
type extension struct {
	name   string
	params []extensionParam
}

// extensionParam is a parameter of an extension. An empty value is none.
type extensionParam struct{ name, value string }

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
		var p extensionParam
		param, rest, more = strings.Cut(rest, ";")
		p, ok = parseExtensionParam(param)
		e.params = append(e.params, p)
	}
	return e, ok
}

func parseExtensionParam(s string) (p extensionParam, ok bool) {
	name, value, valued := strings.Cut(s, "=")
	name, value = field.TrimSpace(name), field.TrimSpace(value)
	if strings.HasPrefix(value, `"`) {
		value = unquote(value)
	}
	return extensionParam{name, value}, field.IsToken(name) && (!valued || field.IsToken(value))
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

// deflateParams are the terms under which permessage-deflate is used on a
// connection, in one byte. Zero: it is not used.
type deflateParams uint8

const (
	deflateWindowBits deflateParams = 0x0F // 8 to 15: the window of the peer that inflates what we send
	deflateTakeover   deflateParams = 0x10 // the peer may refer to its earlier messages
)

// enabled reports whether permessage-deflate was agreed on.
func (p deflateParams) enabled() bool { return p != 0 }

// takeover reports whether what the peer sends has to be inflated with a
// slidingWindow (RFC 7692 §7.1.1).
func (p deflateParams) takeover() bool { return p&deflateTakeover != 0 }

// fits reports whether a message of size bytes may be sent compressed; others
// are sent as they are (RFC 7692 §6: RSV1 says which). compress/flate cannot
// be told to look back less than 32 KiB, but nothing looks back further than
// the message is long. Where the peer's window is smaller, a message that is no
// larger than it keeps the promise, and no other (§7.1.2).
func (p deflateParams) fits(size int) bool {
	bits := p & deflateWindowBits
	return bits == 15 || p.enabled() && size <= 1<<bits
}

// The parameters of permessage-deflate (RFC 7692 §7.1).
const (
	serverNoTakeover = "server_no_context_takeover"
	clientNoTakeover = "client_no_context_takeover"
	serverWindowBits = "server_max_window_bits"
	clientWindowBits = "client_max_window_bits"
)

// parseDeflate returns the parameters of e, an offer of permessage-deflate or
// the answer to one: window bits, 1 for those without a value, 0 for those
// absent. It fails at another extension, and at what RFC 7692 §7 refuses: an
// unknown or repeated parameter, an invalid value.
func parseDeflate(e extension, offer bool) (terms map[string]int, ok bool) {
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

// acceptDeflate is the server's side of the negotiation (RFC 7692 §5.1): the
// first offer that can be honoured is accepted and answered. With none, ok is
// false and permessage-deflate is not used.
//
// We promise never to refer to earlier messages, and so need no compressor for
// each client (§7.1.1.1). The client may, if takeover is true, unless it hints
// that it will not (§7.1.1.2). We inflate with any window, so the client's is
// left to itself (§7.1.2.2).
func acceptDeflate(offers []extension, takeover bool) (p deflateParams, answer string, ok bool) {
	for _, offer := range offers {
		terms, ok := parseDeflate(offer, true)
		if !ok {
			continue
		}
		p, answer = 15, "permessage-deflate; "+serverNoTakeover
		if bits := terms[serverWindowBits]; bits != 0 {
			p = deflateParams(bits)
			answer += "; " + serverWindowBits + "=" + strconv.Itoa(bits)
		}
		if takeover && terms[clientNoTakeover] == 0 {
			return p | deflateTakeover, answer, true
		}
		return p, answer + "; " + clientNoTakeover, true
	}
	return 0, "", false
}

// deflateOffer is what a client offers: it never refers to earlier messages
// itself, lets the server do so if takeover is true, and honours any window
// that the server asks for (RFC 7692 §7.1).
func deflateOffer(takeover bool) string {
	offer := "permessage-deflate; " + clientWindowBits + "; " + clientNoTakeover
	if !takeover {
		offer += "; " + serverNoTakeover
	}
	return offer
}

// errDeflateAnswer fails the opening handshake of a client.
var errDeflateAnswer = errors.New("the server's Sec-WebSocket-Extensions is no answer to the offer (RFC 7692 §7)")

// checkDeflateAnswer returns the terms that a server chose for [deflateOffer].
// Its error means to fail the connection: an extension that was not offered
// (RFC 6455 §4.1), or terms that are not valid (RFC 7692 §7). A server that goes
// on to refer to earlier messages though asked not to is understood all the same.
func checkDeflateAnswer(answer []extension) (deflateParams, error) {
	if len(answer) == 0 {
		return 0, nil
	}
	terms, ok := parseDeflate(answer[0], false)
	if !ok || len(answer) > 1 {
		return 0, errDeflateAnswer
	}
	p := deflateParams(15)
	if bits := terms[clientWindowBits]; bits != 0 {
		p = deflateParams(bits)
	}
	if terms[serverNoTakeover] == 0 {
		p |= deflateTakeover
	}
	return p, nil
}
