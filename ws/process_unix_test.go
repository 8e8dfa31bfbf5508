//go:build unix

package ws_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"aerys/ws"
	"aerys/ws/frame"
)

// stoppedServer tells the child process of TestStoppedProcess what it is.
const stoppedServer = "AERYS_WS_STOPPED_SERVER"

// stoppedOptions are limits that are over while the process does not run, for
// stoppedPeriod, and that a busy machine keeps when it does.
var stoppedOptions = ws.Options{
	HeartbeatPeriod: 4 * time.Second, QueuedPingLimit: 2, WriteTimeout: 12 * time.Second, ClosePeriod: 12 * time.Second,
	MaxQueuedBytes: -1, MaxFramesPerSecond: -1,
}

const stoppedPeriod = 15 * time.Second

const stoppedMessage = 16 << 20

// A process that was stopped for longer than all limits has closed nobody when it
// runs again: neither a silent client nor one for which much waits, be there a
// close frame behind it or not.
func TestStoppedProcess(t *testing.T) {
	if os.Getenv(stoppedServer) != "" {
		serveStopped(t)
		return
	}
	child := exec.Command(os.Args[0], "-test.run=^TestStoppedProcess$", "-test.timeout=10m")
	child.Env = append(os.Environ(), stoppedServer+"=yes")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	defer child.Process.Kill()
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "address ") {
	}
	s := &server{address: strings.TrimPrefix(lines.Text(), "address "), at: setting{network: "tcp"}}
	dial := func(command string) *peer {
		p := s.dial(t)
		p.write(text(command))
		if command != "" {
			p.expect(frame.Text, command) // the rest waits from now on
		}
		return p
	}
	silent, loaded, closed := dial(""), dial("much"), dial("much and close")
	child.Process.Signal(syscall.SIGSTOP)
	stopped := time.Now()
	t.Parallel() // other tests may run meanwhile, for as long as they like
	time.Sleep(stoppedPeriod - time.Since(stopped))
	for _, p := range []*peer{silent, loaded, closed} {
		p.nc.SetDeadline(time.Now().Add(patience))
	}
	child.Process.Signal(syscall.SIGCONT)
	heard := make(chan string, 2)
	hear := func(p *peer) {
		got, err := p.answering()
		heard <- fmt.Sprint(brief(got.Opcode, got.payload), " ", err)
	}
	go hear(silent) // the others may take their time
	for _, p := range []*peer{loaded, closed} {
		if got, err := p.answering(); err != nil || len(got.payload) != stoppedMessage {
			t.Fatalf("%s, %v", brief(got.Opcode, got.payload), err)
		}
	}
	if got, err := closed.answering(); err != nil || got.Opcode != frame.Close || got.payload[2:] != "enough" {
		t.Errorf("%s, %v instead of the close frame", brief(got.Opcode, got.payload), err)
	}
	go hear(loaded)
	for _, p := range []*peer{silent, loaded} {
		p.write(text("still here"))
	}
	for range 2 {
		if got := <-heard; got != fmt.Sprint(brief(frame.Text, "still here"), " ", nil) {
			t.Errorf("%s instead of an echo", got)
		}
	}
}

// serveStopped is the child: a server that does what clients say, until it is killed.
func serveStopped(t *testing.T) {
	r := &recorder{}
	r.onData = func(id ws.ClientID, m *ws.Message) {
		command, _ := m.Text()
		if command != "" {
			r.endpoint.Send(command, id)
		}
		if strings.HasPrefix(command, "much") {
			r.endpoint.SendBinary(make([]byte, stoppedMessage), id)
		}
		if strings.HasSuffix(command, "close") {
			r.endpoint.Close(id, 4000, "enough")
		}
	}
	s := serve(t, waitings[0], r, stoppedOptions)
	fmt.Printf("address %s\n", s.address)
	var forever chan net.Conn
	<-forever
}
