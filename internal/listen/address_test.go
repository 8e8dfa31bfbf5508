package listen

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	for _, test := range []struct {
		text string
		port int
		want Address
		name string // by String; "" where there is an error
	}{
		{"*", 80, Address{Network: "tcp", Port: 80}, "*:80"},
		{"localhost", 0, Address{Network: "tcp4", Host: "127.0.0.1"}, "127.0.0.1:0"},
		{"10.0.0.1", 65535, Address{Network: "tcp4", Host: "10.0.0.1", Port: 65535}, "10.0.0.1:65535"},
		{"::1", 80, Address{Network: "tcp6", Host: "::1", Port: 80}, "[::1]:80"},
		{"[::1]", 80, Address{Network: "tcp6", Host: "::1", Port: 80}, "[::1]:80"},
		{"::ffff:10.0.0.1", 80, Address{Network: "tcp4", Host: "10.0.0.1", Port: 80}, "10.0.0.1:80"},
		{"/run/s", 0, Address{Network: "unix", Host: "/run/s"}, "/run/s"},
		{"@abstract", 0, Address{Network: "unix", Host: "@abstract"}, "@abstract"},
		{"/run/s", 80, Address{}, ""},
		{"*", -1, Address{}, ""},
		{"*", 65536, Address{}, ""},
		{"example.com", 80, Address{}, ""},
		{"", 80, Address{}, ""},
	} {
		got, err := ParseAddress(test.text, test.port)
		if got != test.want || (err == nil) != (test.name != "") {
			t.Errorf("%q, %d: %+v, %v", test.text, test.port, got, err)
		}
		if err == nil && got.String() != test.name {
			t.Errorf("%q, %d: is called %s, want %s", test.text, test.port, got, test.name)
		}
	}
}

func TestListenTCP(t *testing.T) {
	l, err := Address{Network: "tcp4", Host: "127.0.0.1"}.listen()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := Address{Network: "tcp4", Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port}
	if !taken.is(l.Addr()) {
		t.Errorf("%v is not %v", taken, l.Addr())
	}
	if second, err := taken.listen(); err == nil {
		second.Close()
		t.Error("listens twice")
	}
}

// A Unix socket's file is replaced if and only if nobody listens on it.
func TestListenUnix(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a socket's file is no such file there")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	address := Address{Network: "unix", Host: path}
	fails := func(want string) {
		t.Helper()
		if l, err := address.listen(); err == nil {
			l.Close()
			t.Errorf("listens, want %q", want)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	l, err := address.listen()
	if err != nil {
		t.Fatal(err)
	}
	if !address.is(l.Addr()) || (Address{Network: "unix", Host: path + "2"}).is(l.Addr()) {
		t.Errorf("%v", l.Addr())
	}
	fails("a server listens there")
	l.(interface{ SetUnlinkOnClose(bool) }).SetUnlinkOnClose(false)
	l.Close()
	if l, err = address.listen(); err != nil {
		t.Fatalf("what is left behind: %v", err)
	}
	l.Close()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fails("what is there is no socket")
	address.Host = filepath.Join(dir, "nowhere", "s")
	fails("no such file")
}
