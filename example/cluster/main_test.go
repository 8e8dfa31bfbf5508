package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"aerys/example/internal/browser"
)

// The test program is also the nodes of its test.
func TestMain(m *testing.M) {
	if slices.Contains(os.Args, "-node") {
		main()
		return
	}
	os.Exit(m.Run())
}

// freePorts returns an address with two free ports behind its own.
func freePorts(t *testing.T) string {
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := l.Addr().String()
		l.Close()
		all, err := behind(address, 3)
		free := err == nil
		for _, a := range all {
			l, err := net.Listen("tcp", a)
			if free = free && err == nil; err == nil {
				l.Close()
			}
		}
		if free {
			return address
		}
	}
	t.Fatal("there are no three free ports in a row")
	return ""
}

// serveAll starts the nodes as startAll does.
func serveAll(t *testing.T) (nodes []*exec.Cmd, addresses []string) {
	broker, err := startNATS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Shutdown)
	addr := freePorts(t)
	addresses, _ = behind(addr, 3)
	for i, address := range addresses {
		node := exec.Command(os.Args[0], "-addr", addr, "-broker", broker.ClientURL(), "-node", strconv.Itoa(i+1))
		node.Stderr = os.Stderr
		if err := node.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { node.Process.Signal(syscall.SIGTERM); node.Wait() })
		nodes = append(nodes, node)
		for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			if reply, err := http.Get("http://" + address + "/healthz"); err == nil {
				reply.Body.Close()
				break
			}
			if time.Now().After(end) {
				t.Fatal(address, " does not answer")
			}
		}
	}
	return nodes, addresses
}

// Three people, a node each, talk with each other. When a node is killed, whoever was
// on it is back on the next one.
func TestThreeNodes(t *testing.T) {
	nodes, addresses := serveAll(t)
	b := browser.Start(t)
	var tabs []*browser.Tab
	for i, name := range []string{"Ann", "Bob", "Eve"} {
		tab := b.Tab()
		tab.Visit("http://" + addresses[i] + "/?name=" + name)
		tab.Shows("#state", fmt.Sprint("on node ", i+1))
		tabs = append(tabs, tab)
	}
	tabs[0].Type("#text", "Is it <b>you</b>?")
	for _, tab := range tabs {
		tab.Shows("li", "Ann: Is it <b>you</b>? node 1")
		tab.Shows("#state", "3 here")
	}
	operator := b.Tab()
	operator.Visit("http://" + addresses[1] + "/monitor")
	operator.Shows("section", "Messages of other nodes per second")
	operator.Shows("#handlers", "broker connected")
	picture(operator, "monitor", 1280, 1400)
	nodes[0].Process.Kill()
	killed := time.Now()
	tabs[0].Shows("#state", "on node 2")
	t.Logf("back after %v", time.Since(killed).Round(time.Millisecond))
	tabs[1].Shows("#state", "not heard of: node 1")
	tabs[0].Type("#text", "Here again.")
	for _, tab := range tabs {
		tab.Shows("li", "Ann: Here again. node 2")
	}
	picture(tabs[2], "chat", 600, 500)
}

// picture is for who wants to see the page.
func picture(tab *browser.Tab, name string, width, height int) {
	if dir := os.Getenv("AERYS_SCREENSHOTS"); dir != "" {
		for _, scheme := range []string{"light", "dark"} {
			tab.Prefers(scheme)
			tab.Size(width, height)
			tab.Screenshot(filepath.Join(dir, "cluster-"+name+"-"+scheme+".png"))
		}
	}
}
