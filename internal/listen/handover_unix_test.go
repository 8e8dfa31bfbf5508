//go:build unix

package listen

import (
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestInherit(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	inheriting := func(process string) (inherited []net.Listener, serving func() error, err error) {
		file, _ := l.(*net.TCPListener).File()
		fd, _ := syscall.Dup(int(descriptor(file)))
		file.Close()
		t.Setenv(process, strconv.Itoa(os.Getpid()))
		t.Setenv(variableCount, "1")
		inherited, serving, err = Inherit(fd)
		if os.Getenv(process)+os.Getenv(variableCount) != "" {
			t.Error("the environment is passed on")
		}
		return inherited, serving, err
	}
	inherited, serving, err := inheriting(variableProcess)
	if err != nil || len(inherited) != 1 {
		t.Fatal(inherited, err)
	}
	serving()
	port := l.Addr().(*net.TCPAddr).Port
	for address, want := range map[Address]bool{
		{Network: "tcp4", Host: "127.0.0.1", Port: port}:     true,
		{Network: "tcp4", Host: "127.0.0.1", Port: port + 1}: false,
		{Network: "tcp4", Host: "0.0.0.0", Port: port}:       false,
		{Network: "tcp", Port: port}:                         false,
		{Network: "unix", Host: "127.0.0.1"}:                 false,
	} {
		if address.is(inherited[0].Addr()) != want {
			t.Errorf("%v is %v: want %v", address, inherited[0].Addr(), want)
		}
	}
	inherited[0].Close()
	if inherited, _, _ := inheriting(variableHandOver); len(inherited) != 0 {
		t.Error("took what was meant for another process")
	}
	file, _ := os.Open(os.DevNull)
	defer file.Close()
	t.Setenv(variableProcess, strconv.Itoa(os.Getpid()))
	t.Setenv(variableCount, "1")
	fd, _ := syscall.Dup(int(file.Fd())) // inherit owns what it is given
	if _, _, err := Inherit(fd); err == nil || !strings.Contains(err.Error(), "want a listening stream socket") {
		t.Error("took a file for a socket: ", err)
	}
}
