package static

import (
	"bytes"
	"compress/gzip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// maxKey bounds the length of a key that is remembered although nothing is
// there, in bytes: clients choose it.
const maxKey = 1024

// cache remembers resources by key, and owns the bodies that are kept in
// memory. The lock is never held while a file is read.
type cache struct {
	source  *source
	started time.Time

	hits, misses, failures atomic.Int64
	reported               atomic.Int64 // when something unreadable was logged, on the cache's clock

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
	found := c.get(key)
	if found == nil {
		if clean := canonical(key); clean != key {
			return c.moved(clean, reload) // the two share an entry
		}
	}
	if found == nil || reload || !c.fresh(found) {
		var err error
		if found, err = c.look(key, found, reload); err != nil {
			return nil, err
		}
	}
	if found.directory {
		return c.moved(key+"/", reload)
	}
	return found, nil
}

// moved returns a redirect to key, if there is anything.
func (c *cache) moved(key string, reload bool) (*resource, error) {
	found, err := c.find(key, reload)
	if err == nil && len(found.representations) > 0 {
		found = &resource{redirect: canonical(c.source.Prefix + key)}
	}
	return found, err
}

// look asks the file system what key, which stood for known, stands for now.
func (c *cache) look(key string, known *resource, reload bool) (*resource, error) {
	c.misses.Add(1)
	before := known
	if reload {
		before = nil
	}
	loaded, err := c.source.load(key, before)
	switch {
	case err != nil && before != nil:
		return before, nil // better old than nothing
	case err != nil:
		return nil, err
	case loaded.unreadable != nil:
		c.report(loaded.unreadable)
	case known != nil && known.same(loaded):
		loaded = known
	}
	c.put(key, loaded)
	return loaded, nil
}

// report logs that something cannot be read: once a second at most, for clients
// can ask for many names in a directory that cannot be searched.
func (c *cache) report(err error) {
	now, last := c.now(), c.reported.Load()
	if (last == 0 || now-last >= int64(time.Second)) && c.reported.CompareAndSwap(last, now) {
		c.source.Logger.Warn("static: 403 for what may not be read: let the user of this process read it, and the directories on its way", "error", err)
	}
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

// put remembers r for key, for one lifetime from now; a listing only if there is
// room for its body.
func (c *cache) put(key string, r *resource) {
	if c.source.CacheEntryMaxCount == 0 || len(key) > maxKey && len(r.representations) == 0 {
		return
	}
	r.expires.Store(c.now() + int64(c.source.CacheEntryTTL))
	c.mutex.Lock()
	defer c.mutex.Unlock()
	old := c.entries[key]
	if old == r {
		return
	}
	if old != nil {
		c.release(old)
		delete(c.entries, key)
	}
	if r.listing() && !c.reserve(r.representations[0], r) {
		return
	}
	if len(c.entries) >= c.source.CacheEntryMaxCount {
		c.evict()
	}
	// A clone, as the key is part of a request's first line.
	c.entries[strings.Clone(key)] = r
}

// evict forgets one of a few entries picked at random: best one that names no
// file or is too old, so that a flood of wrong names displaces itself.
func (c *cache) evict() {
	victim, picked := "", 0
	for key, r := range c.entries {
		victim = key
		if picked++; picked == 8 || len(r.representations) == 0 || c.now() >= r.expires.Load() {
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
	if r.kept.Load() != nil || r.name == "" || r.stamp.size > c.source.BufferedFileMaxSize || r.stamp.recent() {
		return nil
	}
	c.mutex.Lock()
	reserved := c.reserve(r, owner)
	c.mutex.Unlock()
	if !reserved {
		return nil
	}
	body, err := c.source.read(r)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	_, reserved = c.buffered[r]
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

// reserve makes room for the body of r. The lock is held.
func (c *cache) reserve(r *representation, owner *resource) bool {
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

// kept is a body in memory, and the same compressed, or nil if that is no gain.
// It is used by the cache, and by whoever sends it.
type kept struct {
	body       []byte
	compressed *representation
	file       *os.File // with the same content, or nil
	users      atomic.Int64
}

// fileFrom is from what length in bytes the kernel is given a file to send
// instead of bytes to copy: a copy of 100 KiB takes twice as long.
const fileFrom = 32 << 10

// newKept keeps a body, of which whoever calls is the first user.
func newKept(body []byte, compressed *representation) *kept {
	k := &kept{body: body, compressed: compressed}
	k.users.Store(1)
	return k
}

// withFile adds a file to a body that will be sent many times, one that nobody
// else can write to, and to the same compressed. The kernel sends such a file
// without a copy, and what it sends is never half of an old and half of a new one.
func (k *kept) withFile() *kept {
	if k.compressed != nil {
		k.compressed.kept.Load().withFile()
	}
	if runtime.GOOS != "linux" || len(k.body) < fileFrom {
		return k
	}
	file, err := os.CreateTemp("", "aerys")
	if err != nil {
		return k
	}
	_, err = file.Write(k.body)
	if os.Remove(file.Name()) != nil || err != nil {
		file.Close()
		return k
	}
	k.file = file
	return k
}

// use keeps k for a user until it leaves, unless k is given up already.
func (k *kept) use() bool {
	for users := k.users.Load(); users > 0; users = k.users.Load() {
		if k.users.CompareAndSwap(users, users+1) {
			return true
		}
	}
	return false
}

// leave ends a use. The last one closes the file.
func (k *kept) leave() {
	if k.users.Add(-1) > 0 {
		return
	}
	k.file.Close() // or does nothing, where there is none
	if k.compressed != nil {
		k.compressed.drop()
	}
}

// drop gives up what is kept; requests under way go on with it.
func (r *representation) drop() {
	if old := r.kept.Swap(nil); old != nil {
		old.leave()
	}
}

// made returns a representation that is no file.
func made(body []byte, contentType, coding string, modified time.Time) *representation {
	r := &representation{stamp: stamp{size: int64(len(body))}, modified: modified, etag: contentTag(body)}
	r.kept.Store(newKept(body, nil))
	r.prepare(contentType, coding)
	return r
}

// compress returns r, with the given body, in gzip coding; nil if that is no
// gain.
func (r *representation) compress(body []byte) *representation {
	var buffer bytes.Buffer
	writer := gzip.NewWriter(&buffer)
	writer.Write(body)
	writer.Close()
	if buffer.Len() >= len(body) {
		return nil
	}
	return made(bytes.Clone(buffer.Bytes()), r.contentType[0], "gzip", r.modified)
}
