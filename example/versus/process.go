package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// process is a server in a process of its own.
type process struct {
	pid       int
	addr      string
	blind     bool // it is the floor
	encrypted bool
	stop      func()
}

// start runs this program again, as a server, on the given core or on all (-1).
func start(name string, core int, flags ...string) *process {
	self, err := os.Executable()
	must(err)
	args := append([]string{self, "serve", name}, flags...)
	if core >= 0 {
		args = append([]string{"taskset", "-c", strconv.Itoa(core)}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	if core >= 0 {
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	}
	cmd.Stderr = os.Stderr
	_, err = cmd.StdinPipe() // ends with this process
	must(err)
	out, err := cmd.StdoutPipe()
	must(err)
	must(cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	addr, listening := strings.CutPrefix(strings.TrimSpace(line), "listening ")
	stop := func() {
		cmd.Process.Kill()
		cmd.Wait()
	}
	if !listening {
		stop()
		panic(fault{fmt.Errorf("%s does not listen: %q %w", name, line, err)})
	}
	return &process{cmd.Process.Pid, addr, name == floor, strings.HasSuffix(name, encrypted), stop}
}

// cpu is the user and system time that the server has used, read from its CPU
// clock, which counts finer than /proc.
func (p *process) cpu() time.Duration {
	const sched = 2 // CPUCLOCK_SCHED of the kernel's posix-timers.h
	clock := uint32(^p.pid)<<3 | sched
	var t syscall.Timespec
	_, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, uintptr(clock), uintptr(unsafe.Pointer(&t)), 0)
	if errno != 0 {
		must(errno)
	}
	return time.Duration(t.Nano())
}

// rss is the server's resident memory in bytes. Garbage that is not collected
// yet counts, the kernel's socket buffers do not.
func (p *process) rss() (bytes float64) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.pid))
	must(err)
	_, after, _ := strings.Cut(string(text), "Rss:")
	_, err = fmt.Sscan(after, &bytes)
	must(err)
	return bytes * 1024
}
