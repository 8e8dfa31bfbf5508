package aerys

import "aerys/internal/loop/looptest"

// Pass lets seconds pass for the connections of a server.
func Pass(s *Server, seconds int) { looptest.Pass(s.current.Load().loop, seconds) }

// PassWhile lets seconds pass until something that waits for them has ended. No
// test beside it may be at work: each second would wait for that, too.
func PassWhile(s *Server, something func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		something()
	}()
	for {
		select {
		case <-ended:
			return
		default:
			Pass(s, 1)
		}
	}
}
