package http1

// watch has the client's leaving noticed, as soon as nothing of the request is
// to be read any more: who reads the body notices it by itself, and bytes that
// follow the request say that the client is there.
func (c *Conn) watch(w *response) {
	c.life.Lock()
	defer c.life.Unlock()
	w.watched = true
	c.beginWatch(w)
}

// bodyEnded tells that the body was read to its end. The body's lock is held.
func (c *Conn) bodyEnded(w *response) {
	behind := len(c.input.rest) > 0
	c.life.Lock()
	defer c.life.Unlock()
	if !behind {
		w.allRead = true
		c.beginWatch(w)
	}
}

// beginWatch begins what is wanted and possible. life is held.
func (c *Conn) beginWatch(w *response) {
	if !w.watched || !w.allRead || w.over || c.watching.Load() {
		return
	}
	c.watching.Store(true)
	if c.transport.PeerEnded() {
		go c.Gone()
	}
}

// endWatch is called by whoever is the next to read, or gives the connection
// away. With it a response may be over.
func (c *Conn) endWatch(w *response, over bool) {
	c.life.Lock()
	defer c.life.Unlock()
	w.watched, w.allRead = false, false
	if c.watching.Load() {
		c.watching.Store(false)
	}
	if over {
		w.over, c.current = true, nil
	}
}
