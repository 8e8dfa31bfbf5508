package loop

import "os"

// pipeMost is what may come of a file after it was closed.
const pipeMost = pipeSize

// limitPipes is for before a loop sends files.
func limitPipes(l *Loop, most int) { l.engine.(*epoll).pipes.most = most }

// pipesTaken returns how many pipes are in use.
func pipesTaken(l *Loop) int {
	p := &l.engine.(*epoll).pipes
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.made - len(p.free)
}

// descriptors returns how many files are open.
func descriptors() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}
