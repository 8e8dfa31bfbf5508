package static

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"aerys/internal/field"
)

// cacheControl returns the Cache-Control of the file name (RFC 9111 §5.2.2).
func (o *Options) cacheControl(name string) string {
	if o.CacheControl != nil {
		if value := o.CacheControl(name); value != "" {
			return value
		}
	}
	switch {
	case o.ExpiresPeriod < 0, name == o.Fallback:
		return "no-cache"
	case hashed(name):
		return "max-age=31536000, immutable" // a year
	}
	return fmt.Sprintf("max-age=%d", o.ExpiresPeriod/time.Second)
}

// hashed reports whether a bundler put a hash of the content into name, so that
// the name never gets another content. In doubt it does not: an immutable file
// cannot be called back, and any other is asked for once a week.
//
//	app.3f2a9c1b.js, 151cfcfa1bd74779aadb.png   webpack, Parcel: hexadecimal
//	chunk-5XQ3ZK2A.js                           esbuild: base32
//	index-BZk3f9aX.css, index-B-k3f9aX.js       Vite, Rollup: base64url
func hashed(name string) bool {
	dir, base := path.Split(name)
	if match := hexHash.FindStringSubmatch(base); match != nil {
		hash := match[1] + match[2]
		return digitThenLetter.MatchString(hash) && !year.MatchString(hash) && !uuid.MatchString(base)
	}
	match := mixedHash.FindStringSubmatch(base)
	if match == nil || match[1] == strings.ToLower(match[1]) {
		return false
	}
	hash, ordinary := match[1], wordsAndNumbers
	switch code := codeName.MatchString(base); {
	case hash == strings.ToUpper(hash):
		return base32.MatchString(hash) && (code || digitThenLetter.MatchString(hash))
	case code && strings.HasSuffix(dir, "assets/"): // nearly for sure it is Vite's
		ordinary = word
	case code:
		ordinary = words
	}
	parts := strings.FieldsFunc(hash, func(r rune) bool { return r == '-' || r == '_' })
	return slices.ContainsFunc(parts, func(part string) bool { return !ordinary.MatchString(part) })
}

var (
	hexHash   = regexp.MustCompile(`(?:.[.-]([0-9a-f]{8,})|^([0-9a-f]{20}))\.`)
	mixedHash = regexp.MustCompile(`.-([0-9A-Za-z_-]{8})\.`)
	base32    = regexp.MustCompile(`^[A-Z2-7]*$`) // has no year: none of them is without 0, 1, 8 and 9
	codeName  = regexp.MustCompile(`\.(js|mjs|cjs|css)(\.map)?$`)

	// What hashes rarely look like, and names that people give do.
	digitThenLetter = regexp.MustCompile(`[0-9].*[A-Za-z]`)
	year            = regexp.MustCompile(`^(19|20)[0-9]{2}|(19|20)[0-9]{2}$`)
	uuid            = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	word            = regexp.MustCompile(`^([A-Z]?[a-z]+|[A-Z]+)?[0-9]*$`)
	words           = regexp.MustCompile(`^([A-Z]?[a-z]+([A-Z][a-z]+)*|[A-Z]+)?[0-9]*$`)
	wordsAndNumbers = regexp.MustCompile(`^[0-9]*[A-Z]*[a-z]*([A-Z][a-z]+)*[A-Z]*[0-9]*$`)
)

// contentType returns the Content-Type of the file name.
func (o *Options) contentType(name string) string {
	extension := strings.ToLower(path.Ext(name))
	value := cmp.Or(o.MimeTypes[extension], mimeTypes[extension], o.DefaultMimeType)
	if o.OmitCharset {
		return value
	}
	return field.WithCharset(value, o.DefaultTextCharset)
}

// mimeTypes are the types that IANA has registered for extensions, or else those
// in use. It is a table of our own, so that an answer does not depend on the
// machine.
var mimeTypes = map[string]string{
	".html": "text/html", ".htm": "text/html", ".xhtml": "application/xhtml+xml",
	".css": "text/css", ".js": "text/javascript", ".mjs": "text/javascript", ".cjs": "text/javascript", ".wasm": "application/wasm",
	".json": "application/json", ".map": "application/json", ".jsonld": "application/ld+json",
	".geojson": "application/geo+json", ".webmanifest": "application/manifest+json",
	".xml": "application/xml", ".xsl": "application/xml", ".xsd": "application/xml", ".dtd": "application/xml-dtd",
	".atom": "application/atom+xml", ".rss": "application/rss+xml", ".rdf": "application/rdf+xml",
	".txt": "text/plain", ".log": "text/plain", ".md": "text/markdown", ".csv": "text/csv", ".tsv": "text/tab-separated-values",
	".ics": "text/calendar", ".vcf": "text/vcard", ".vtt": "text/vtt", ".srt": "application/x-subrip", ".ttml": "application/ttml+xml",
	".yaml": "application/yaml", ".yml": "application/yaml", ".toml": "application/toml", ".sql": "application/sql",
	".ndjson": "application/x-ndjson", ".gpx": "application/gpx+xml", ".kml": "application/vnd.google-earth.kml+xml",

	".svg": "image/svg+xml", ".png": "image/png", ".apng": "image/apng", ".jpg": "image/jpeg", ".jpeg": "image/jpeg",
	".jfif": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp", ".avif": "image/avif", ".jxl": "image/jxl",
	".heic": "image/heic", ".heif": "image/heif", ".jp2": "image/jp2", ".bmp": "image/bmp",
	".ico": "image/vnd.microsoft.icon", ".cur": "image/vnd.microsoft.icon", ".tif": "image/tiff", ".tiff": "image/tiff",
	".psd":  "image/vnd.adobe.photoshop",
	".woff": "font/woff", ".woff2": "font/woff2", ".ttf": "font/ttf", ".otf": "font/otf", ".ttc": "font/collection",
	".eot": "application/vnd.ms-fontobject",
	".glb": "model/gltf-binary", ".gltf": "model/gltf+json", ".stl": "model/stl", ".obj": "model/obj", ".usdz": "model/vnd.usdz+zip",

	".mp3": "audio/mpeg", ".m4a": "audio/mp4", ".aac": "audio/aac", ".flac": "audio/flac",
	".ogg": "audio/ogg", ".oga": "audio/ogg", ".opus": "audio/ogg", ".wav": "audio/wav", ".weba": "audio/webm",
	".mid": "audio/midi", ".midi": "audio/midi", ".aif": "audio/aiff", ".aiff": "audio/aiff",
	".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm", ".ogv": "video/ogg", ".mpg": "video/mpeg", ".mpeg": "video/mpeg",
	".mov": "video/quicktime", ".mkv": "video/matroska", ".avi": "video/x-msvideo", ".3gp": "video/3gpp",
	".m3u8": "application/vnd.apple.mpegurl", ".mpd": "application/dash+xml", ".ts": "video/mp2t", ".m4s": "video/iso.segment",

	".pdf": "application/pdf", ".rtf": "application/rtf", ".epub": "application/epub+zip", ".ps": "application/postscript",
	".doc": "application/msword", ".xls": "application/vnd.ms-excel", ".ppt": "application/vnd.ms-powerpoint",
	".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	".odt":  "application/vnd.oasis.opendocument.text", ".ods": "application/vnd.oasis.opendocument.spreadsheet",
	".odp": "application/vnd.oasis.opendocument.presentation",

	".zip": "application/zip", ".gz": "application/gzip", ".tgz": "application/gzip", ".zst": "application/zstd",
	".jar": "application/java-archive", ".torrent": "application/x-bittorrent",
	".7z": binary, ".br": binary, ".bz2": binary, ".rar": binary, ".tar": binary, ".xz": binary,
	".bin": binary, ".apk": binary, ".deb": binary, ".rpm": binary, ".dmg": binary, ".iso": binary,
	".exe": binary, ".msi": binary, ".img": binary, ".sqlite": binary, ".parquet": binary,
}

const binary = "application/octet-stream"
