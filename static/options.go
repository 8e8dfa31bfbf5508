package static

import (
	"cmp"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"mime"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Options are the settings of Root and FS. The zero value of each field stands
// for the default that its comment names; a negative number switches a cache
// off.
type Options struct {
	// Prefix is a path that requests start with and file names do not: with
	// "/assets", the file a.css is served as /assets/a.css. Requests outside
	// of it fall through. Default "".
	Prefix string

	// Indexes are the names that are looked for, in this order, when a
	// directory is asked for. Default "index.html", "index.htm"; an empty
	// list that is not nil: none.
	Indexes []string

	// Fallback is the file that answers GET and HEAD for what does not exist,
	// with 200: a single-page application's start page. It answers for names
	// without an extension, and for any name when a browser asks for a page
	// (Accept names text/html); a missing picture is still missing. Nothing
	// after this action sees such requests: put routes before it. Under every one
	// of its names clients must ask for it each time, unless CacheControl says
	// otherwise. Default "".
	Fallback string

	// FallbackExcept are paths, such as "/api", for which Fallback does not answer,
	// nor for what is below them: what does not exist there falls through. They
	// come after the Prefix. Default none.
	FallbackExcept []string

	// Listing shows a directory that has no index. By default it falls through. Of
	// more than 10,000 entries the page has those that come first, as many as fit
	// 2 MiB. It is kept in memory while there is room in BufferedFileMaxCount,
	// whatever its size.
	Listing bool

	// DotFiles serves files and directories whose name starts with a dot. By
	// default they do not exist, but for /.well-known (RFC 8615).
	DotFiles bool

	// Origins are those whose pages may read the files (CORS), such as
	// "https://example.com"; "*" is every origin. Default none.
	Origins []string

	// MimeTypes maps extensions such as ".md", in lower case, to types, before
	// the table that comes with this package. The machine's own table is never
	// asked.
	MimeTypes map[string]string

	// DefaultMimeType is for extensions that nobody knows. Default "text/plain".
	DefaultMimeType string

	// DefaultTextCharset is added to text types that name no charset.
	// Default "utf-8".
	DefaultTextCharset string

	// OmitCharset leaves text types that name no charset as they are, for files of
	// several charsets that say theirs inside. The DefaultTextCharset of the host
	// is not added either.
	OmitCharset bool

	// ExpiresPeriod is for how long clients may use a file without asking
	// again; in Cache-Control, so whole seconds count. Files that carry a hash of
	// their content in their name, as bundlers write it (app.3f2a9c1b.js,
	// index-BZk3f9aX.css), may be used for a year and are immutable (RFC 8246). A
	// hash that might be a word or a number is not taken for one, save that of
	// scripts and styles in a directory named assets, as Vite writes them. Default
	// 7 days; negative: they must ask each time.
	ExpiresPeriod time.Duration

	// CacheControl returns the Cache-Control of a file; "" leaves it to
	// ExpiresPeriod. name is the path inside the root, such as "docs/a.html".
	CacheControl func(name string) string

	// OmitEtagInode makes entity tags from size and modification time only,
	// for several servers that hold copies of the same files.
	OmitEtagInode bool

	// DisableCompression sends files as they are. By default a.css.br,
	// a.css.zst and a.css.gz answer for a.css when the client accepts their
	// coding and they are neither empty nor older than a.css, and text that is
	// kept in memory is kept compressed as well, by gzip.
	DisableCompression bool

	// CacheEntryTTL is for how long what is known of a name is used before the
	// file system is asked again. Default 10 s; negative: it is always asked, and
	// files without a time are read for their tags.
	CacheEntryTTL time.Duration

	// CacheEntryMaxCount bounds how many names are remembered. Default 2048;
	// negative: none.
	CacheEntryMaxCount int

	// BufferedFileMaxCount bounds how many files are kept in memory. Default
	// 50; negative: none.
	BufferedFileMaxCount int

	// BufferedFileMaxSize bounds the size in bytes of a file kept in memory.
	// Larger ones are read, by the kernel where that is possible, each time
	// they are sent. On Linux what is 32 KiB or more is also kept in a file
	// without a name, below os.TempDir, for the kernel to send. Default 512 KiB.
	BufferedFileMaxSize int64

	// Logger receives what the system forbids to read, once a second at most.
	// Default slog.Default().
	Logger *slog.Logger

	// Debug makes a request with Cache-Control or Pragma no-cache, as browsers
	// send when the user reloads, look at the file system. Not for production.
	Debug bool

	vary []string // what every answer depends on
}

// complete replaces zero values by their defaults and reports mistakes.
func (o *Options) complete(source fs.FS) error {
	if o.Indexes == nil {
		o.Indexes = []string{"index.html", "index.htm"}
	}
	o.DefaultMimeType = cmp.Or(o.DefaultMimeType, "text/plain")
	o.DefaultTextCharset = cmp.Or(o.DefaultTextCharset, "utf-8")
	o.Logger = cmp.Or(o.Logger, slog.Default())
	o.ExpiresPeriod = cmp.Or(o.ExpiresPeriod, 7*24*time.Hour)
	o.CacheEntryTTL = cmp.Or(o.CacheEntryTTL, 10*time.Second)
	o.CacheEntryMaxCount = cmp.Or(o.CacheEntryMaxCount, 2048)
	o.BufferedFileMaxCount = cmp.Or(o.BufferedFileMaxCount, 50)
	o.BufferedFileMaxSize = cmp.Or(o.BufferedFileMaxSize, 512<<10)
	if o.CacheEntryTTL < 0 || o.CacheEntryMaxCount < 0 {
		o.CacheEntryMaxCount, o.BufferedFileMaxCount = 0, 0
	}
	o.Origins = slices.Clone(o.Origins)
	if len(o.Origins) > 0 && o.Origins[0] != "*" {
		o.vary = []string{"Origin"}
	}
	return cmp.Or(o.checkNames(), o.checkFallback(source), o.checkTypes(), o.checkOrigins())
}

func (o *Options) checkNames() error {
	o.Prefix = strings.TrimSuffix(o.Prefix, "/")
	if o.Prefix != "" && !isPath(o.Prefix) {
		return fmt.Errorf("Prefix %q: write it like \"/assets\"", o.Prefix)
	}
	for _, index := range o.Indexes {
		if !fs.ValidPath(index) || index == "." || strings.Contains(index, "/") {
			return fmt.Errorf("Indexes: %q is no file name", index)
		}
	}
	return nil
}

// isPath reports whether path is clean, with a slash in front and none behind.
func isPath(path string) bool {
	return strings.HasPrefix(path, "/") && fs.ValidPath(path[1:]) && path != "/."
}

func (o *Options) checkFallback(source fs.FS) error {
	o.FallbackExcept = slices.Clone(o.FallbackExcept)
	for i, except := range o.FallbackExcept {
		o.FallbackExcept[i] = strings.TrimSuffix(except, "/")
		if !isPath(o.FallbackExcept[i]) {
			return fmt.Errorf("FallbackExcept: write %q like \"/api\"", except)
		}
	}
	if o.Fallback == "" {
		return nil
	}
	info, err := fs.Stat(source, o.Fallback)
	if err != nil {
		return fmt.Errorf("Fallback %q: %w; name a file inside the root", o.Fallback, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("Fallback %q is no file", o.Fallback)
	}
	return nil
}

func (o *Options) checkTypes() error {
	for extension, value := range o.MimeTypes {
		if !strings.HasPrefix(extension, ".") || extension != strings.ToLower(extension) {
			return fmt.Errorf("MimeTypes: write %q like \".md\", in lower case", extension)
		}
		if _, _, err := mime.ParseMediaType(value); err != nil {
			return fmt.Errorf("MimeTypes[%q] %q: %w", extension, value, err)
		}
	}
	if _, _, err := mime.ParseMediaType(o.DefaultMimeType); err != nil {
		return fmt.Errorf("DefaultMimeType %q: %w", o.DefaultMimeType, err)
	}
	if strings.ContainsAny(o.DefaultTextCharset, " \t\r\n;\"") {
		return fmt.Errorf("DefaultTextCharset %q: write it like \"utf-8\"", o.DefaultTextCharset)
	}
	o.MimeTypes = maps.Clone(o.MimeTypes)
	return nil
}

func (o *Options) checkOrigins() error {
	for _, origin := range o.Origins {
		address, err := url.Parse(origin)
		full := err == nil && address.Scheme != "" && address.Host != "" && address.Scheme+"://"+address.Host == origin
		if !full && (origin != "*" || len(o.Origins) > 1) {
			return fmt.Errorf("Origins: write %q like \"https://example.com\", or \"*\" alone", origin)
		}
	}
	return nil
}
