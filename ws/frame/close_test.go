package frame_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"aerys/ws/frame"
)

// §7.4: which codes may stand in a close frame.
func TestCodeSendable(t *testing.T) {
	for _, test := range []struct {
		from, to frame.Code
		sendable bool
	}{
		{0, 999, false},      // §7.4.2: not used
		{1000, 1003, true},   // §7.4.1
		{1004, 1004, false},  // reserved without a meaning
		{1005, 1006, false},  // only for the application to see
		{1007, 1011, true},   // §7.4.1
		{1012, 1014, true},   // added to IANA's registry later
		{1015, 1015, false},  // only for the application to see
		{1016, 2999, false},  // §7.4.2: for future versions of the protocol
		{3000, 4999, true},   // §7.4.2: registered, and private
		{5000, 65535, false}, // not defined
	} {
		for code := int(test.from); code <= int(test.to); code++ {
			payload := []byte{byte(code >> 8), byte(code)}
			if frame.Code(code).Sendable() != test.sendable {
				t.Errorf("%d: sendable %v", code, !test.sendable)
			}
			if got, reason, err := frame.ParseClose(payload); test.sendable && (got != frame.Code(code) || reason != "" || err != nil) {
				t.Errorf("ParseClose % x: %v, %q, %v", payload, got, reason, err)
			} else if !test.sendable {
				wantError(t, err, frame.CodeProtocolError, "RFC 6455 §7.4")
				payload = nil
			}
			if got := frame.AppendClose(nil, frame.Code(code), ""); !bytes.Equal(got, payload) {
				t.Errorf("AppendClose %d: % x, want % x", code, got, payload)
			}
		}
	}
}

func TestCodeString(t *testing.T) {
	for code, want := range map[frame.Code]string{
		0: "0", 999: "999", 1004: "1004", 1016: "1016", 4000: "4000", 65535: "65535",
		frame.CodeNormal:             "1000 normal closure",
		frame.CodeGoingAway:          "1001 going away",
		frame.CodeProtocolError:      "1002 protocol error",
		frame.CodeUnsupportedData:    "1003 unsupported data",
		frame.CodeNoStatus:           "1005 no status",
		frame.CodeAbnormal:           "1006 abnormal closure",
		frame.CodeInvalidPayload:     "1007 invalid payload",
		frame.CodePolicyViolation:    "1008 policy violation",
		frame.CodeTooBig:             "1009 message too big",
		frame.CodeMandatoryExtension: "1010 mandatory extension",
		frame.CodeInternalError:      "1011 internal error",
		frame.CodeServiceRestart:     "1012 service restart",
		frame.CodeTryAgainLater:      "1013 try again later",
		frame.CodeBadGateway:         "1014 bad gateway",
		frame.CodeTLSHandshake:       "1015 TLS handshake",
	} {
		if code.String() != want {
			t.Errorf("%d: %v, want %s", uint16(code), code, want)
		}
	}
}

// §5.5.1: empty, or a status code and a reason in UTF-8.
func TestParseClose(t *testing.T) {
	for _, test := range []struct {
		name, payload string
		code          frame.Code
		reason        string
	}{
		{"empty", "", frame.CodeNoStatus, ""},
		{"code", "\x03\xE8", frame.CodeNormal, ""},
		{"code and reason", "\x03\xE9bye", frame.CodeGoingAway, "bye"},
		{"reason not of ASCII", "\x0F\xA0до свидания", 4000, "до свидания"},
		{"the longest reason", "\x03\xE8" + strings.Repeat("x", 123), frame.CodeNormal, strings.Repeat("x", 123)},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, reason, err := frame.ParseClose([]byte(test.payload))
			if code != test.code || reason != test.reason || err != nil {
				t.Errorf("ParseClose: %v, %q, %v", code, reason, err)
			}
			if got := frame.AppendClose([]byte("before"), test.code, test.reason); string(got) != "before"+test.payload {
				t.Errorf("AppendClose: %q", got)
			}
		})
	}
	for _, test := range []struct {
		name, payload string
		code          frame.Code
		section       string
	}{
		{"one byte", "\x03", frame.CodeProtocolError, "RFC 6455 §5.5.1"},
		{"code 999 and a reason", "\x03\xE7bye", frame.CodeProtocolError, "RFC 6455 §7.4"},
		{"reason not of UTF-8", "\x03\xE8bye\xFF", frame.CodeInvalidPayload, "RFC 6455 §8.1"},
		{"reason cut inside a character", "\x03\xE8bye\xC3", frame.CodeInvalidPayload, "RFC 6455 §8.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, reason, err := frame.ParseClose([]byte(test.payload))
			if code != 0 || reason != "" {
				t.Errorf("%v, %q beside the error", code, reason)
			}
			wantError(t, err, test.code, test.section)
		})
	}
}

// A reason never makes an invalid payload: it has at most 123 bytes, whole characters only (§5.5.1).
func TestAppendCloseReason(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, test := range []struct{ name, reason, want string }{
		{"123 bytes", x(123), x(123)},
		{"124 bytes", x(124), x(123)},
		{"two bytes that fit", x(121) + "é", x(121) + "é"},
		{"two bytes that do not", x(122) + "é!", x(122)},
		{"four bytes that do not", x(120) + "😀!", x(120)},
		{"endless", strings.Repeat("€", 1000), strings.Repeat("€", 41)},
		{"not UTF-8", "a\xFFb\xE2\x82", "a\uFFFDb\uFFFD\uFFFD"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, reason, err := frame.ParseClose(frame.AppendClose(nil, frame.CodeNormal, test.reason)); reason != test.want || err != nil {
				t.Errorf("%q, %v, want %q", reason, err, test.want)
			}
		})
	}
}

func FuzzClose(f *testing.F) {
	for _, payload := range []string{
		"", "\x03", "\x03\xE8", "\x03\xE9bye", "\x03\xEC", "\x03\xED", "\x03\xF7", "\x13\x88", "\x0F\xA0до свидания",
		"\x03\xE8\xFF", "\x03\xE8\xC3", "\x03\xE8" + strings.Repeat("€", 42),
	} {
		f.Add([]byte(payload))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		code, reason, err := frame.ParseClose(payload)
		again := frame.AppendClose(nil, code, reason)
		if err == nil && len(payload) <= frame.MaxControlPayload && !bytes.Equal(again, payload) {
			t.Errorf("% x became % x by way of %v, %q", payload, again, code, reason)
		}
		// Whatever the reason, the payload that is sent is valid.
		again = frame.AppendClose(nil, frame.CodeNormal, string(payload))
		_, reason, err = frame.ParseClose(again)
		if err != nil || len(again) > frame.MaxControlPayload {
			t.Errorf("% x, %v", again, err)
		}
		if utf8.Valid(payload) && !strings.HasPrefix(string(payload), reason) {
			t.Errorf("%q became %q", payload, reason)
		}
	})
}
