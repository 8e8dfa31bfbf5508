package static

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// maxKey bounds the length of a key that is remembered, in bytes: clients
// choose keys, also of what does not exist.
const maxKey = 1024

// cache remembers resources by key, and owns the bodies that are kept in
// memory. The lock is never held while a file is read.
type cache struct {
	source  *source
	started time.Time

	hits, misses, failures atomic.Int64

	mutex    sync.RWMutex
	entries  map[string]*resource
	buffered map[*representation]*resource // whose body is kept, or being read; nil: none is any more
}

func newCache(s *source) *cache {
	return &cache{source: s, started: time.Now(), entries: map[string]*resource{}, buffered: map[*representation]*resource{}}
}

// find returns what key stands for. Only errors of the file system itself are
// errors; what cannot be found does not exist.
func (c *cache) find(key string, reload bool) (*resource, error) {
	known := c.get(key)
	if known != nil && !reload && c.fresh(known) {
		return known, nil
	}
	c.misses.Add(1)
	loaded, err := c.source.load(key)
	if err != nil && known != nil && !reload {
		return known, nil // better old than nothing
	}
	if err != nil {
		return nil, err
	}
	if known != nil && known.same(loaded) {
		loaded = known
	}
	c.put(key, loaded)
	return loaded, nil
}

func (c *cache) get(key string) *resource {
	c.mutex.RLock()
	defer c.mutex.RUnlock()
	return c.entries[key]
}

// now is the time on the cache's clock, which nobody sets.
func (c *cache) now() int64 { return int64(time.Since(c.started)) }

// fresh reports whether r may be used without a look at the file system. When
// r gets too old, one caller is told so, and looks; others go on meanwhile.
func (c *cache) fresh(r *resource) bool {
	now, expires := c.now(), r.expires.Load()
	if now < expires || !r.expires.CompareAndSwap(expires, now+int64(c.source.CacheEntryTTL)) {
		c.hits.Add(1)
		return true
	}
	return false
}

// put remembers r for key, for one lifetime from now.
func (c *cache) put(key string, r *resource) {
	if c.source.CacheEntryMaxCount == 0 || len(key) > maxKey {
		return
	}
	r.expires.Store(c.now() + int64(c.source.CacheEntryTTL))
	c.mutex.Lock()
	defer c.mutex.Unlock()
	old, known := c.entries[key]
	if old == r {
		return
	}
	if known {
		c.release(old)
	} else if len(c.entries) >= c.source.CacheEntryMaxCount {
		c.evict()
	}
	// A clone, as the key is part of a request's first line.
	c.entries[strings.Clone(key)] = r
}

// evict forgets one of a few entries picked at random: best one that names
// nothing or is too old, so that a flood of wrong names displaces itself.
func (c *cache) evict() {
	victim, picked := "", 0
	for key, r := range c.entries {
		victim = key
		if picked++; picked == 8 || !r.exists() || c.now() >= r.expires.Load() {
			break
		}
	}
	c.release(c.entries[victim])
	delete(c.entries, victim)
}

// release gives up the bodies of r; requests under way keep theirs.
func (c *cache) release(r *resource) {
	for _, representation := range r.representations {
		delete(c.buffered, representation)
		representation.drop()
	}
}

// keep reads r, which belongs to owner, into memory, if there is room for it and
// nobody else does so.
func (c *cache) keep(r *representation, owner *resource) error {
	if r.kept.Load() != nil || !c.reserve(r, owner) {
		return nil
	}
	body, err := c.source.read(r)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	_, reserved := c.buffered[r]
	switch {
	case body == nil:
		delete(c.buffered, r)
	case reserved:
		r.kept.Store(body)
	default: // meanwhile others needed the room
		body.leave()
	}
	return err
}

// reserve makes room for the body of r.
func (c *cache) reserve(r *representation, owner *resource) bool {
	if r.stamp.size > c.source.BufferedFileMaxSize || r.stamp.recent() {
		return false
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if _, taken := c.buffered[r]; taken || c.buffered == nil {
		return false
	}
	if len(c.buffered) >= c.source.BufferedFileMaxCount && !c.dropIdle() {
		return false
	}
	c.buffered[r] = owner
	return true
}

// dropIdle gives up one body that nobody asked for lately.
func (c *cache) dropIdle() bool {
	now := c.now()
	for r, owner := range c.buffered {
		if now >= owner.expires.Load() {
			delete(c.buffered, r)
			r.drop()
			return true
		}
	}
	return false
}

// clear gives up all bodies, and keeps none from now on.
func (c *cache) clear() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for r := range c.buffered {
		r.drop()
	}
	c.buffered = nil
}

func (c *cache) figures() Figures {
	c.mutex.RLock()
	defer c.mutex.RUnlock()
	figures := Figures{
		Entries:       len(c.entries),
		BufferedFiles: len(c.buffered),
		Hits:          c.hits.Load(),
		Misses:        c.misses.Load(),
		Failures:      c.failures.Load(),
	}
	for r := range c.buffered {
		if kept := r.kept.Load(); kept != nil {
			figures.BufferedBytes += int64(len(kept.body))
			if kept.compressed != nil {
				figures.BufferedBytes += kept.compressed.stamp.size
			}
		}
	}
	return figures
}
