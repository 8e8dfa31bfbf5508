//go:build unix

package aerys

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
)

// A process finds the sockets it inherits as systemd's sd_listen_fds(3) has
// it: descriptors from 3 on, counted by LISTEN_FDS, for the process LISTEN_PID.
// One that takes over from an older one is not told its own id, which is not
// known before it exists, but that of the older one, and the descriptor after
// the sockets is a pipe in which it says that it serves.
const (
	variableCount    = "LISTEN_FDS"
	variableProcess  = "LISTEN_PID"
	variableNames    = "LISTEN_FDNAMES"
	variableHandOver = "AERYS_HANDOVER"
)

// inherit returns the sockets that were handed to this process, from a
// descriptor on, and a func to call once it serves.
func inherit(first int) (inherited []net.Listener, serving func(), err error) {
	count, _ := strconv.Atoi(os.Getenv(variableCount))
	activated := os.Getenv(variableProcess) == strconv.Itoa(os.Getpid())
	handedOver := os.Getenv(variableHandOver) == strconv.Itoa(os.Getppid())
	for _, name := range [...]string{variableCount, variableProcess, variableNames, variableHandOver} {
		os.Unsetenv(name) // what this process starts has none of it
	}
	serving = func() {}
	if !activated && !handedOver {
		return nil, serving, nil
	}
	for i := range count {
		file := os.NewFile(uintptr(first+i), "inherited socket")
		l, err := net.FileListener(file)
		file.Close()
		if err != nil {
			return nil, nil, fmt.Errorf("aerys: inherited descriptor %d: want a listening stream socket: %w", first+i, err)
		}
		inherited = append(inherited, l)
	}
	if handedOver {
		syscall.CloseOnExec(first + count)
		pipe := os.NewFile(uintptr(first+count), "hand-over")
		serving = func() {
			pipe.Write([]byte{1})
			pipe.Close()
		}
	}
	return inherited, serving, nil
}

// handOverSignals returns the signals that ask for a hand-over.
func handOverSignals() chan os.Signal {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR2)
	return signals
}

// handOverOn hands over at a signal, and then ends ctx by done.
func (sv *service) handOverOn(ctx context.Context, signals chan os.Signal, done context.CancelCauseFunc) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
		}
		pid, err := sv.handOver()
		if err == nil {
			sv.options.Logger.Info("aerys: a new process has taken over", "pid", pid)
			done(errHandedOver)
			return
		}
		sv.options.Logger.Error("aerys: hand-over failed, serving on", "error", err)
	}
}

// handOver starts the program anew with the sockets of this one, and returns
// when that serves.
func (sv *service) handOver() (pid int, err error) {
	path, err := exec.LookPath(os.Args[0])
	if err != nil {
		return 0, err
	}
	notice, pipe, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer notice.Close()
	pid, err = sv.fork(path, pipe)
	pipe.Close()
	if err != nil {
		return 0, err
	}
	ended := make(chan struct{})
	go func() {
		reap(pid)
		close(ended)
	}()
	if n, _ := notice.Read(make([]byte, 1)); n == 0 {
		<-ended
		return pid, errors.New("the new process ended before it served")
	}
	for _, l := range sv.listeners {
		if unix, ok := l.bound.(*net.UnixListener); ok {
			unix.SetUnlinkOnClose(false)
		}
	}
	return pid, nil
}

// fork starts path with copies of the sockets and the pipe. (os/exec would
// switch the sockets, which both processes share, to blocking mode.)
func (sv *service) fork(path string, pipe *os.File) (pid int, err error) {
	descriptors := []uintptr{0, 1, 2}
	for _, l := range sv.listeners {
		file, err := l.bound.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			return 0, err
		}
		defer file.Close()
		descriptors = append(descriptors, descriptor(file))
	}
	environment := append(os.Environ(), variableCount+"="+strconv.Itoa(len(sv.listeners)),
		variableHandOver+"="+strconv.Itoa(os.Getpid()))
	return syscall.ForkExec(path, os.Args, &syscall.ProcAttr{Env: environment, Files: append(descriptors, descriptor(pipe))})
}

// descriptor returns a file's, without the change to blocking mode of Fd.
func descriptor(file *os.File) (fd uintptr) {
	if raw, err := file.SyscallConn(); err == nil {
		raw.Control(func(n uintptr) { fd = n })
	}
	return fd
}

// reap waits for a child, so that it does not stay as a zombie.
func reap(pid int) {
	if process, err := os.FindProcess(pid); err == nil {
		process.Wait()
	}
}
