package frame_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"

	"aerys/ws/frame"
)

// unhex turns "81 05" into bytes.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	p, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// wantError fails the test unless err is a ProtocolError with code whose reason
// names section and fits in a close frame.
func wantError(t *testing.T, err error, code frame.Code, section string) {
	t.Helper()
	var e *frame.ProtocolError
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a ProtocolError of %s", err, section)
	}
	if e.Code != code || !strings.Contains(e.Reason, section+")") {
		t.Errorf("got %v, want code %d and %s", e, code, section)
	}
	payload := frame.AppendClose(nil, e.Code, e.Reason)
	if gotCode, reason, err := frame.ParseClose(payload); gotCode != e.Code || reason != e.Reason || err != nil {
		t.Errorf("the reason does not fit in a close frame: %q", e.Reason)
	}
}

// The examples of RFC 6455 §5.7, and what else a header can say.
func TestHeader(t *testing.T) {
	key := [4]byte{0x37, 0xFA, 0x21, 0x3D}
	for _, test := range []struct {
		name, wire string
		want       frame.Header
	}{
		{"unmasked text", "81 05", frame.Header{Fin: true, Opcode: frame.Text, Length: 5}},
		{"masked text", "81 85 37FA213D", frame.Header{Fin: true, Opcode: frame.Text, Masked: true, Key: key, Length: 5}},
		{"first fragment", "01 03", frame.Header{Opcode: frame.Text, Length: 3}},
		{"last fragment", "80 02", frame.Header{Fin: true, Length: 2}},
		{"fragment between", "00 02", frame.Header{Length: 2}},
		{"ping", "89 05", frame.Header{Fin: true, Opcode: frame.Ping, Length: 5}},
		{"masked pong", "8A 85 37FA213D", frame.Header{Fin: true, Opcode: frame.Pong, Masked: true, Key: key, Length: 5}},
		{"close", "88 00", frame.Header{Fin: true, Opcode: frame.Close}},
		{"binary of 256 bytes", "82 7E 0100", frame.Header{Fin: true, Opcode: frame.Binary, Length: 256}},
		{"binary of 64 KiB", "82 7F 0000000000010000", frame.Header{Fin: true, Opcode: frame.Binary, Length: 1 << 16}},
		{"masked and empty, key of zeros", "82 80 00000000", frame.Header{Fin: true, Opcode: frame.Binary, Masked: true}},
		{"RSV1", "C1 00", frame.Header{Fin: true, Rsv: 4, Opcode: frame.Text}},
		{"RSV2", "A1 00", frame.Header{Fin: true, Rsv: 2, Opcode: frame.Text}},
		{"RSV3", "91 00", frame.Header{Fin: true, Rsv: 1, Opcode: frame.Text}},
		{"all reserved", "7F 00", frame.Header{Rsv: 7, Opcode: 15}},
	} {
		t.Run(test.name, func(t *testing.T) {
			wire := unhex(t, test.wire)
			if h, n, err := frame.ParseHeader(wire); h != test.want || n != len(wire) || err != nil {
				t.Errorf("ParseHeader: %+v, %d, %v, want %+v", h, n, err, test.want)
			}
			if got := frame.AppendHeader(nil, test.want); !bytes.Equal(got, wire) {
				t.Errorf("AppendHeader: % x, want % x", got, wire)
			}
		})
	}
}

// §5.2: 7, 16 or 64 bits of length, whichever is the shortest. The header is read when
// it is whole, and not before.
func TestHeaderLength(t *testing.T) {
	for _, test := range []struct {
		length int64
		size   int // of the unmasked header
	}{
		{0, 2}, {1, 2}, {125, 2},
		{126, 4}, {127, 4}, {255, 4}, {256, 4}, {math.MaxUint16, 4},
		{math.MaxUint16 + 1, 10}, {math.MaxInt32, 10}, {math.MaxInt32 + 1, 10},
		{math.MaxUint32, 10}, {math.MaxUint32 + 1, 10}, {math.MaxInt64, 10},
	} {
		for _, want := range []frame.Header{
			{Fin: true, Opcode: frame.Binary, Length: test.length},
			{Fin: true, Opcode: frame.Binary, Length: test.length, Masked: true, Key: [4]byte{1, 2, 3, 4}},
		} {
			size := test.size
			if want.Masked {
				size += 4
			}
			wire := frame.AppendHeader([]byte("before"), want)[len("before"):]
			if len(wire) != size || size > frame.MaxHeaderSize {
				t.Errorf("length %d: header of %d bytes, want %d", test.length, len(wire), size)
			}
			for n := range wire {
				if h, got, err := frame.ParseHeader(wire[:n]); h != (frame.Header{}) || got != 0 || err != nil {
					t.Errorf("length %d, first %d bytes: %+v, %d, %v, want none yet", test.length, n, h, got, err)
				}
			}
			if h, n, err := frame.ParseHeader(append(wire, "payload"...)); h != want || n != size || err != nil {
				t.Errorf("length %d: %+v, %d, %v, want %+v", test.length, h, n, err, want)
			}
		}
	}
}

func TestHeaderEveryFirstTwoBytes(t *testing.T) {
	wire := []byte{0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
	for first := range 1 << 16 {
		wire[0], wire[1] = byte(first>>8), byte(first)
		h, n, err := frame.ParseHeader(wire)
		if err != nil {
			t.Fatalf("% x: %v", wire, err)
		}
		if got := frame.AppendHeader(nil, h); !bytes.Equal(got, wire[:n]) {
			t.Fatalf("% x became % x by way of %+v", wire[:n], got, h)
		}
	}
}

// An error comes with the byte that proves it, and stays.
func TestHeaderErrors(t *testing.T) {
	for _, test := range []struct {
		name, wire string
		proof      int // so many bytes prove it
	}{
		{"16 bits for 0", "82 7E 0000", 4},
		{"16 bits for 125", "82 7E 007D", 4},
		{"16 bits for 125, masked", "82 FE 007D 01020304", 4},
		{"64 bits for 0", "82 7F 0000000000000000", 8},
		{"64 bits for 126", "82 7F 000000000000007E", 8},
		{"64 bits for 65535", "82 FF 000000000000FFFF 01020304", 8},
		{"top bit set", "82 FF 8000000000000001 01020304", 3},
		{"all bits set", "82 7F FFFFFFFFFFFFFFFF", 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			wire := unhex(t, test.wire)
			for n := range len(wire) + 1 {
				h, got, err := frame.ParseHeader(wire[:n])
				if h != (frame.Header{}) || got != 0 {
					t.Errorf("first %d bytes: %+v, %d", n, h, got)
				}
				if n >= test.proof {
					wantError(t, err, frame.CodeProtocolError, "RFC 6455 §5.2")
				} else if err != nil {
					t.Errorf("first %d bytes: %v", n, err)
				}
			}
		})
	}
}

func TestAppendHeaderNegativeLength(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	frame.AppendHeader(nil, frame.Header{Length: -1})
}

func TestOpcode(t *testing.T) {
	for opcode, want := range []string{
		"continuation", "text", "binary", "reserved opcode 3", "reserved opcode 4", "reserved opcode 5", "reserved opcode 6", "reserved opcode 7",
		"close", "ping", "pong", "reserved opcode 11", "reserved opcode 12", "reserved opcode 13", "reserved opcode 14", "reserved opcode 15",
	} {
		o := frame.Opcode(opcode)
		if o.String() != want || o.Control() != (opcode >= 8) {
			t.Errorf("%d: %v, control %v", opcode, o, o.Control())
		}
	}
}

func FuzzHeader(f *testing.F) {
	for _, wire := range []string{
		"", "81", "81 05", "81 85 37FA213D", "82 7E 0100", "82 7E 0001", "82 7F 0000000000010000", "82 7F 000000000000FFFF",
		"82 FF 8000000000000001 01020304", "80 FF 7FFFFFFFFFFFFFFF 01020304", "C1 FE 8000 01020304", "FF FF FF",
	} {
		f.Add(unhex(f, wire))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		h, n, err := frame.ParseHeader(p)
		if n == 0 || err != nil {
			if n != 0 || h != (frame.Header{}) {
				t.Errorf("%+v, %d, %v", h, n, err)
			}
			if err == nil && len(p) >= frame.MaxHeaderSize {
				t.Error("not enough")
			}
			if _, _, later := frame.ParseHeader(append(p, 0)); err != nil && later != err {
				t.Errorf("%v became %v", err, later)
			}
			return
		}
		if got := frame.AppendHeader(nil, h); !bytes.Equal(got, p[:n]) || h.Length < 0 {
			t.Errorf("% x became % x by way of %+v", p[:n], got, h)
		}
		if _, early, err := frame.ParseHeader(p[:n-1]); early != 0 || err != nil {
			t.Errorf("%d of %d bytes: %d, %v", n-1, n, early, err)
		}
	})
}
