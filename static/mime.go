package static

import (
	"cmp"
	"path"
	"strings"
)

// contentType returns the Content-Type of the file name.
func (o *Options) contentType(name string) string {
	extension := strings.ToLower(path.Ext(name))
	value := cmp.Or(o.MimeTypes[extension], mimeTypes[extension], o.DefaultMimeType)
	if strings.HasPrefix(value, "text/") && !strings.Contains(strings.ToLower(value), "charset=") {
		value += "; charset=" + o.DefaultTextCharset
	}
	return value
}

// mimeTypes are the types that IANA has registered for extensions. It is a
// table of our own, so that an answer does not depend on the machine.
var mimeTypes = map[string]string{
	".html": "text/html", ".htm": "text/html", ".xhtml": "application/xhtml+xml",
	".css": "text/css", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm",
	".json": "application/json", ".map": "application/json", ".jsonld": "application/ld+json",
	".geojson": "application/geo+json", ".webmanifest": "application/manifest+json",
	".xml": "application/xml", ".xsl": "application/xml", ".atom": "application/atom+xml", ".rss": "application/rss+xml",
	".txt": "text/plain", ".log": "text/plain", ".md": "text/markdown", ".csv": "text/csv",
	".ics": "text/calendar", ".vtt": "text/vtt", ".yaml": "application/yaml", ".yml": "application/yaml",

	".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg",
	".gif": "image/gif", ".webp": "image/webp", ".avif": "image/avif", ".bmp": "image/bmp",
	".ico": "image/vnd.microsoft.icon", ".tif": "image/tiff", ".tiff": "image/tiff",
	".woff": "font/woff", ".woff2": "font/woff2", ".ttf": "font/ttf", ".otf": "font/otf",
	".mp3": "audio/mpeg", ".m4a": "audio/mp4", ".aac": "audio/aac", ".flac": "audio/flac",
	".ogg": "audio/ogg", ".oga": "audio/ogg", ".opus": "audio/ogg", ".wav": "audio/wav",
	".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm", ".ogv": "video/ogg",
	".mov": "video/quicktime", ".mkv": "video/matroska",

	".pdf": "application/pdf", ".rtf": "application/rtf", ".epub": "application/epub+zip",
	".doc": "application/msword", ".xls": "application/vnd.ms-excel", ".ppt": "application/vnd.ms-powerpoint",
	".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	".odt":  "application/vnd.oasis.opendocument.text", ".ods": "application/vnd.oasis.opendocument.spreadsheet",

	".zip": "application/zip", ".gz": "application/gzip", ".tgz": "application/gzip", ".zst": "application/zstd",
	".7z": binary, ".br": binary, ".bz2": binary, ".rar": binary, ".tar": binary, ".xz": binary,
	".bin": binary, ".apk": binary, ".deb": binary, ".rpm": binary, ".dmg": binary, ".iso": binary,
	".exe": binary, ".msi": binary,
}

const binary = "application/octet-stream"
