//go:build unix

package listen

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
	"time"
)

// A process finds the sockets it inherits as systemd's sd_listen_fds(3) has
// it: descriptors from 3 on, counted by LISTEN_FDS, for the process LISTEN_PID.
// One that takes over from an older one is not told its own id, which is not
// known before it exists, but that of the older one, and the descriptor after
// the sockets is a pipe in which it says that it serves. Until then it has a
// process group of its own.
const (
	variableCount    = "LISTEN_FDS"
	variableProcess  = "LISTEN_PID"
	variableNames    = "LISTEN_FDNAMES"
	variableHandOver = "AERYS_HANDOVER"
)

// Inherit returns the sockets that were handed to this process, from a
// descriptor on, and a func to call once it serves: that tells whoever waits for it.
func Inherit(first int) (inherited []net.Listener, serving func() error, err error) {
	count, _ := strconv.Atoi(os.Getenv(variableCount))
	activated := os.Getenv(variableProcess) == strconv.Itoa(os.Getpid())
	handedOver := os.Getenv(variableHandOver) == strconv.Itoa(os.Getppid())
	for _, name := range [...]string{variableCount, variableProcess, variableNames, variableHandOver} {
		os.Unsetenv(name) // what this process starts has none of it
	}
	serving = func() error { return Notify("READY=1") }
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
		serving = func() error { // the service manager takes only the older one's word
			joinGroup(os.Getppid())
			defer pipe.Close()
			_, err := pipe.Write([]byte{1})
			return err
		}
	}
	return inherited, serving, nil
}

// StopSignals returns the signals that ask for a stop, and SIGHUP.
func StopSignals() chan os.Signal {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	return signals
}

// HandOverSignals returns the signals that ask for a hand-over.
func HandOverSignals() chan os.Signal {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR2)
	return signals
}

// HandOver starts the program anew with these sockets, and returns when that
// serves. A process that does not come to that in time is killed, with all that it
// has started, for they have the sockets.
func HandOver(ctx context.Context, sockets []net.Listener, patience time.Duration) (pid int, err error) {
	path, err := exec.LookPath(os.Args[0])
	if err != nil {
		return 0, err
	}
	notice, pipe, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer notice.Close()
	pid, err = fork(path, sockets, pipe)
	pipe.Close()
	if err != nil {
		return 0, err
	}
	if err := awaitSuccessor(ctx, notice, patience); err != nil {
		syscall.Kill(-pid, syscall.SIGKILL)
		syscall.Kill(pid, syscall.SIGKILL)
		return pid, fmt.Errorf("%w (%v)", err, reap(pid))
	}
	go reap(pid)
	return pid, nil
}

// awaitSuccessor waits for the byte by which a new process says that it serves.
func awaitSuccessor(ctx context.Context, notice *os.File, patience time.Duration) error {
	notice.SetReadDeadline(time.Now().Add(patience))
	stop := context.AfterFunc(ctx, func() { notice.SetReadDeadline(time.Now()) })
	defer stop()
	_, err := notice.Read(make([]byte, 1))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the new process does not serve after %v and is killed", patience)
	}
	return errors.New("the new process ended before it served, or closed the descriptor to say so")
}

// fork starts path with copies of the sockets and the pipe. (os/exec would
// switch the sockets, which both processes share, to blocking mode.)
func fork(path string, sockets []net.Listener, pipe *os.File) (pid int, err error) {
	descriptors := []uintptr{0, 1, 2}
	for _, socket := range sockets {
		file, err := socket.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			return 0, err
		}
		defer file.Close()
		descriptors = append(descriptors, descriptor(file))
	}
	environment := append(os.Environ(), variableCount+"="+strconv.Itoa(len(sockets)),
		variableHandOver+"="+strconv.Itoa(os.Getpid()))
	return syscall.ForkExec(path, os.Args, &syscall.ProcAttr{Env: environment, Files: append(descriptors, descriptor(pipe)),
		Sys: &syscall.SysProcAttr{Setpgid: true}})
}

// descriptor returns a file's, without the change to blocking mode of Fd.
func descriptor(file *os.File) (fd uintptr) {
	if raw, err := file.SyscallConn(); err == nil {
		raw.Control(func(n uintptr) { fd = n })
	}
	return fd
}

// reap waits for a child, so that it does not stay as a zombie, and returns how
// it ended.
func reap(pid int) *os.ProcessState {
	process, err := os.FindProcess(pid)
	if err != nil {
		return nil
	}
	state, _ := process.Wait()
	return state
}
