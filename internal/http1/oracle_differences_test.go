package http1

import (
	"regexp"
	"slices"
	"strings"
)

// A comparison is of two accounts that differ, and what the input has to do
// with it. Ours is the shorter one, as a rule: it has ended the connection.
type comparison struct {
	input        []byte
	theirs, ours account
}

// differences are those that doc.go lists. The first that holds explains it.
var differences = []struct {
	name  string
	holds func(c *comparison) bool
}{
	{"folded field", refusedFor("folded field")},
	{"more than one Content-Length", refusedFor("more than one Content-Length")},
	{"Content-Length with Transfer-Encoding", refusedFor("Content-Length with Transfer-Encoding")},
	{"Transfer-Encoding in HTTP/1.0", refusedFor("Transfer-Encoding in HTTP/1.0")},
	{"malformed trailers", func(c *comparison) bool { return c.saw(trailerMark) && c.sameBut(1) }},
	{"less or more left before the handler panicked", func(c *comparison) bool {
		return c.saw("request ") && !c.saw("  done") && c.sameBut(0) && len(c.ours.handled) == len(c.theirs.handled)
	}},
	{"HTTP/1.0 that asks to be kept and closed", func(c *comparison) bool { return c.saw("HTTP/1.0 close=") && c.closed() }},
	{"body read behind the answer to HTTP/1.0 that asks to be kept and closed", func(c *comparison) bool {
		return c.saw("HTTP/1.0 close=true") && c.saw("keep-alive") && c.did("[rh]") && c.sameBut(1)
	}},
	{"HTTP/1.0 that asks to be kept in its second Connection field", func(c *comparison) bool {
		return strings.Contains(last(c.theirs.handled), "HTTP/1.0 close=false") && c.theyClosed(0)
	}},
	{"body read behind Transfer-Encoding: identity", func(c *comparison) bool { return c.did("i") && c.sameBut(1) }},
	{"a body that is not whole ends the second time", func(c *comparison) bool {
		return c.saw(`"" error`) && endsTwice.MatchString(at(c.theirs.handled, len(c.ours.handled)-1)) && c.sameBut(1)
	}},
	{"hijacked in the middle of a body that was replaced", func(c *comparison) bool {
		return c.did("n") && c.saw("hijacked") && c.sameBut(1)
	}},
	{"hijacked behind a body that was closed", func(c *comparison) bool {
		return c.saw("close=true") && c.did("c") && c.saw("hijacked") && c.sameBut(1)
	}},
	{"a chunk of 2^62 bytes or more", func(c *comparison) bool { return hugeChunk.Match(c.input) && c.saw(inChunks) && c.sameBut(1) }},
	{"invalid Content-Length sent to HTTP/1.0", func(c *comparison) bool { return strings.Contains(c.theirs.err, "bad Content-Length") }},
	{"a body in chunks that nobody read, and that was not all there", func(c *comparison) bool { return c.saw(inChunks) && c.closed() }},
	{"a body of a refused request that was not all there", func(c *comparison) bool { return c.did("[47]") && c.closed() }},
	{"not the whole of a body was read, and it was replaced", func(c *comparison) bool { return c.did("n") && c.closed() }},
	{"malformed body in full duplex", func(c *comparison) bool { return c.did("d") && c.closed() }},
	{"unread body in full duplex", func(c *comparison) bool {
		return asked("d").MatchString(strings.Join(c.theirs.handled, "")) && c.theyClosed(1)
	}},
	{"written before Hijack", func(c *comparison) bool { return c.saw("hijacked") && c.sameBut(0) }},
	{"hijacked in the middle of a body", func(c *comparison) bool { return c.saw("hijacked") && c.saw(inChunks) && c.sameBut(1) }},
	{"closed without having said so", func(c *comparison) bool {
		n := max(0, len(c.ours.answers)-1)
		return c.sameBut(0) && len(c.ours.handled) == len(c.theirs.handled) && sameButClose(c.theirs.tail(n), c.ours.tail(n))
	}},
	{"one of two faults", func(c *comparison) bool {
		n := len(c.ours.answers) - 1
		return c.sameBut(0) && len(c.ours.handled) == len(c.theirs.handled) && isRefusal(at(c.theirs.answers, n)) && isRefusal(at(c.ours.answers, n))
	}},
	{"malformed trailers, unread", func(c *comparison) bool {
		return strictly.Match(c.input) && (c.closed() || c.saw(inChunks) && c.sameBut(1))
	}},
}

// excuse is the listed difference that explains why two accounts differ, or "".
func excuse(input []byte, theirs, ours account) string {
	c := &comparison{input, theirs, ours}
	for _, d := range differences {
		if d.holds(c) {
			return d.name
		}
	}
	return ""
}

const inChunks = "coding=[chunked]"

var (
	endsTwice = regexp.MustCompile(`(read|half) "" (nil|EOF)`)
	hugeChunk = regexp.MustCompile(`(?i)\n[4-9a-f][0-9a-f]{15}`)
	strictly  = regexp.MustCompile(`(^|[^\r])\n|\n[ \t:]`) // what may not be in trailers
	closing   = regexp.MustCompile(`close=(true|false)|  Connection: .*\n`)
)

// refusedFor holds where we have refused a request for a reason, and all that
// was before it is the same.
func refusedFor(reason string) func(c *comparison) bool {
	return func(c *comparison) bool { return strings.HasSuffix(c.ours.reason, reason) && c.sameBut(0) }
}

func last(list []string) string { return at(list, len(list)-1) }

// saw reports whether something is in what our last handler saw.
func (c *comparison) saw(what string) bool { return strings.Contains(last(c.ours.handled), what) }

// did reports whether our last handler was asked to do something.
func (c *comparison) did(operation string) bool {
	return asked(operation).MatchString(last(c.ours.handled))
}

func asked(operation string) *regexp.Regexp { return regexp.MustCompile(`\?[^ ]*o=[^ ]*` + operation) }

// sameBut reports whether all of ours is theirs, too, but for the last n
// requests that were handled, and the last answer.
func (c *comparison) sameBut(n int) bool {
	return agree(c.theirs, c.ours, len(c.ours.handled)-n, max(0, len(c.ours.answers)-1))
}

// closed reports whether we have ended the connection where they have not.
func (c *comparison) closed() bool {
	n := max(0, len(c.ours.answers)-1)
	return c.sameBut(0) && sameButClose(at(c.theirs.answers, n), at(c.ours.answers, n))
}

// theyClosed is the opposite. The last n requests they may not have finished.
func (c *comparison) theyClosed(n int) bool {
	return agree(c.ours, c.theirs, len(c.theirs.handled)-n, max(0, len(c.theirs.answers)-1))
}

// tail is what the client got behind the first n answers.
func (a account) tail(n int) string {
	return strings.Join(a.answers[min(n, len(a.answers)):], "") + a.rest
}

// agree reports whether the first requests and answers are the same.
func agree(theirs, ours account, handled, answers int) bool {
	return handled >= 0 && handled <= len(theirs.handled) && slices.Equal(ours.handled[:handled], theirs.handled[:handled]) &&
		answers >= 0 && answers <= len(theirs.answers) && slices.Equal(ours.answers[:answers], theirs.answers[:answers])
}

func isRefusal(answer string) bool { return strings.HasPrefix(answer, "refused") }

func sameButClose(theirs, ours string) bool {
	return closing.ReplaceAllString(theirs, "") == closing.ReplaceAllString(ours, "")
}
