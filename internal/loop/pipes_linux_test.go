package loop

import "os"

// pipeMost is what may come of a file after it was closed.
const pipeMost = pipeSize

// limitPipes is for before a loop sends files.
func limitPipes(l *Loop, most int) { l.pipes.most = most }

// pipesTaken returns how many pipes are in use.
func pipesTaken(l *Loop) int {
	l.pipes.mu.Lock()
	defer l.pipes.mu.Unlock()
	return l.pipes.made - len(l.pipes.free)
}

// descriptors returns how many files are open.
func descriptors() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}
