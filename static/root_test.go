package static

import (
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"aerys"
)

var site = map[string]string{
	"index.html":                  "<h1>start</h1>",
	"test.txt":                    "test",
	"a b/ü.txt":                   "umlaut",
	"docs/index.htm":              "docs",
	"docs/page":                   "page",
	"empty/":                      "",
	"zero.txt":                    "",
	"private/key":                 "secret",
	".env":                        "secret",
	".git/config":                 "secret",
	"docs/.draft":                 "secret",
	".well-known/security.txt":    "contact",
	".well-known/.hidden":         "secret",
	"assets/app.3f2a9c1b.js":      "hash",
	"assets/unknown.Zzz":          "what",
	"assets/FOTO.JPG":             "foto",
	"assets/bundle.wasm":          "wasm",
	"assets/api.json":             "{}",
	"assets/notes.md":             "# notes",
	"assets/archive-2024.tar.gz":  "tgz",
	"assets/index-BZk3f9aX.css":   "css",
	"assets/poster-Summer24.html": "poster",
}

// An answer holds what RFC 9110 wants of it, and nothing follows it; what is no
// file is left to the next action.
func TestFiles(t *testing.T) {
	address := serve(t, Root(tree(t, site)), next)
	check(t, address, []row{
		{"GET /test.txt", 200, `Content-Type: text/plain; charset=utf-8
			Content-Length: 4
			Accept-Ranges: bytes
			Last-Modified: Fri, 01 Mar 2024 12:00:00 GMT
			Cache-Control: max-age=604800
			X-Content-Type-Options: nosniff
			Vary:
			Content-Encoding:`, "test"},
		{"HEAD /test.txt", 200, "Content-Length: 4\nContent-Type: text/plain; charset=utf-8", ""},
		{"HEAD /test.txt\nRange: bytes=1-2", 200, "Content-Length: 4\nContent-Range:", ""},
		{"GET /zero.txt", 200, "Content-Length: 0", ""},
		{"GET /test.txt?query", 200, "", "test"},
		{"GET /a%20b/%C3%BC.txt", 200, "", "umlaut"},
		{"GET /%74est.txt", 200, "", "test"},

		{"GET /", 200, "Content-Type: text/html; charset=utf-8", "<h1>start</h1>"},
		{"GET /docs/", 200, "", "docs"},
		{"GET /docs", 301, "Location: /docs/", "Moved Permanently\n"},
		{"GET /docs?a=%2F&b", 301, "Location: /docs/?a=%2F&b", "*"},
		{"HEAD /docs", 301, "Location: /docs/", ""},
		{"GET /docs/page", 200, "Content-Type: text/plain; charset=utf-8", "page"},
		{"GET //docs//page", 301, "Location: /docs/page", "*"},
		{"GET /docs/../docs//.././", 301, "Location: /", "*"},

		{"GET /nothing", 404, "Etag:\nCache-Control:\nAccept-Ranges:", "next"},
		{"GET /test.txt/", 404, "", "next"},
		{"GET /test.txt/more", 404, "", "next"},
		{"GET /empty/", 404, "", "next"},
		{"GET /empty", 404, "", "next"},
		{"POST /nothing", 404, "Allow:", "next"},

		{"OPTIONS /test.txt", 204, "Allow: GET, HEAD, OPTIONS\nAccept-Ranges: bytes", ""},
		{"POST /test.txt", 405, "Allow: GET, HEAD, OPTIONS", "*"},
		{"DELETE /docs/", 405, "Allow: GET, HEAD, OPTIONS", "*"},
		{"PUT /docs", 405, "Allow: GET, HEAD, OPTIONS", "*"},

		{"GET /assets/FOTO.JPG", 200, "Content-Type: image/jpeg", "foto"},
		{"GET /assets/bundle.wasm", 200, "Content-Type: application/wasm", "wasm"},
		{"GET /assets/api.json", 200, "Content-Type: application/json", "{}"},
		{"GET /assets/unknown.Zzz", 200, "Content-Type: text/plain; charset=utf-8", "what"},
		{"GET /assets/archive-2024.tar.gz", 200, "Content-Type: application/gzip\nContent-Encoding:", "tgz"},
		{"GET /assets/app.3f2a9c1b.js", 200, "Cache-Control: max-age=31536000, immutable", "hash"},
		{"GET /assets/index-BZk3f9aX.css", 200, "Cache-Control: max-age=31536000, immutable", "css"},
		{"GET /assets/poster-Summer24.html", 200, "Cache-Control: max-age=604800", "poster"},
	})
}

// What must not be reached, whatever it looks like: each row is 400 or 404.
func TestAttacks(t *testing.T) {
	dir := tree(t, site)
	outside := tree(t, map[string]string{"x": "secret", "private/key": "secret"})
	sibling := dir + "-private"
	if err := os.Rename(outside, sibling); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sibling) })
	os.Symlink(filepath.Join(sibling, "x"), filepath.Join(dir, "link"))
	os.Symlink(filepath.Join("..", filepath.Base(sibling)), filepath.Join(dir, "up"))
	os.Symlink("test.txt", filepath.Join(dir, "inside"))

	guard := aerys.Router().Get("/private/{rest:.*}", func(_ *aerys.Request, res *aerys.Response) { res.SetStatus(403).End() })
	address := serve(t, guard, Root(dir), next)
	for _, target := range []string{
		"/..%5c..%5cx", "/..%5Cx", "/%2e%2e%5cx", "/..\\x", "/%252e%252e/x", "/%255c", "/..%2fx", "/%2e%2e%2Fx",
		"/private%2fkey", "/private%2Fkey", "/private%5ckey", "/./private%2fkey",
		"/test.txt%00", "/%00", "/test.txt%00.html", "/%ff%fe", "/" + strings.Repeat("a", 5000), "/" + strings.Repeat("a/", 5000),
		"/link", "/up/x", "/up/", "/../x", "/../../../../etc/passwd", "/" + filepath.Base(sibling) + "/x",
		"-private/key", "../x", "x", "/-private/key", "/http://localhost/x",
		"/.env", "/.git/config", "/.git/", "/%2egit/config", "/docs/.draft", "/.well-known/.hidden", "/.well-known/../.env",
		"/test.txt::$DATA", "/COM1", "/nul", "/test.txt.", "/%20test.txt",
	} {
		got := ask(t, address, "GET "+target)
		if got.StatusCode != 400 && got.StatusCode != 404 || strings.Contains(got.body, "secret") {
			t.Errorf("GET %.80s: %d %.100q (%v)", target, got.StatusCode, got.body, got.err)
		}
	}
	check(t, address, []row{
		{"GET /inside", 200, "", "test"},
		{"GET /private/key", 403, "", ""},
		{"GET //private/key", 301, "Location: /private/key", "*"},
		{"GET /docs/../private/key", 301, "Location: /private/key", "*"},
		{"GET //evil.com/", 404, "Location:", "next"},
		{"GET /\\evil.com/", 404, "Location:", "next"},
		{"GET /..", 301, "Location: /", "*"},
		{"GET //docs", 301, "Location: /docs/", "*"},
		{"GET /.well-known/security.txt", 200, "", "contact"},
		{"GET /docs/page\nRange: bytes=" + strings.Repeat("0-0,", 250_000), 200, "Content-Length: 4", "page"},
	})
}

func TestDotFiles(t *testing.T) {
	address := serve(t, Root(tree(t, site), Options{DotFiles: true}), next)
	check(t, address, []row{
		{"GET /.env", 200, "", "secret"},
		{"GET /.git/config", 200, "", "secret"},
		{"GET /..env", 404, "", "next"},
	})
}

// A prefix is taken off by us or by net/http; redirects keep it.
func TestPrefix(t *testing.T) {
	dir := tree(t, site)
	address := serve(t, Root(dir, Options{Prefix: "/assets/"}), next)
	check(t, address, []row{
		{"GET /assets/test.txt", 200, "", "test"},
		{"GET /assets/", 200, "", "<h1>start</h1>"},
		{"GET /assets", 301, "Location: /assets/", "*"},
		{"GET /assets/docs", 301, "Location: /assets/docs/", "*"},
		{"GET /assets//docs/", 301, "Location: /assets/docs/", "*"},
		{"GET /assetstest.txt", 404, "", "next"},
		{"GET /test.txt", 404, "", "next"},
	})
	mux := http.NewServeMux()
	mux.Handle("/one/", http.StripPrefix("/one", Root(dir)))
	mux.Handle("/two/", http.StripPrefix("/two/", Root(dir)))
	server := httptest.NewServer(mux)
	defer server.Close()
	check(t, server.Listener.Addr().String(), []row{
		{"GET /one/", 200, "", "<h1>start</h1>"},
		{"GET /one/test.txt", 200, "", "test"},
		{"GET /one/docs", 301, "Location: /one/docs/", "*"},
		{"GET /one/missing", 404, "", "404 page not found\n"},
		{"GET /two/", 200, "", "<h1>start</h1>"},
		{"GET /two/test.txt", 200, "", "test"},
		{"GET /two/docs", 301, "Location: /two/docs/", "*"},
	})
	mounted := serve(t, aerys.Router().Mount("/m/{who}", Root(dir)).Mount("/list", Root(dir+"/assets", Options{Listing: true})), next)
	check(t, mounted, []row{
		{"GET /m/a/", 200, "", "<h1>start</h1>"},
		{"GET /m/a", 200, "", "<h1>start</h1>"}, // as for who rewrites a path to "/"
		{"GET /m/a/test.txt", 200, "", "test"},
		{"GET /m/a%20b/docs", 301, "Location: /m/a%20b/docs/", "*"},
		{"GET /m/a//docs", 301, "Location: /m/a/docs/", "*"},
		{"GET /m/a%2Fb%5C/docs", 301, "Location: /m/a%2Fb%5C/docs/", "*"},
		{"GET /m/ü\"/docs", 301, "Location: /m/%C3%BC%22/docs/", "*"},
		{"GET /list", 301, "Location: /list/", "*"},
		{"GET /list?q=/", 301, "Location: /list/?q=/", "*"},
		{"GET /list/", 200, "", "*"},
		{"GET /list/notes.md", 200, "", "# notes"},
		{"GET /m", 404, "", "next"},
	})
	check(t, serve(t, aerys.Router().Mount("/{host}", Root(dir)), next), []row{
		{"GET /\\evil.com/docs", 301, "Location: /%5Cevil.com/docs/", "*"},
		{"GET /%5Cevil.com/docs", 301, "Location: /%5Cevil.com/docs/", "*"},
		{"GET /%2Fevil.com/docs", 301, "Location: /%2Fevil.com/docs/", "*"},
	})
	stripped := httptest.NewServer(http.StripPrefix("/bare", Root(dir)))
	defer stripped.Close()
	check(t, stripped.Listener.Addr().String(), []row{
		{"GET /bare", 301, "Location: /bare/", "*"},
		{"GET /bare?", 301, "Location: /bare/", "*"},
		{"GET /bare/", 200, "", "<h1>start</h1>"},
		{"GET /bare/docs", 301, "Location: /bare/docs/", "*"},
	})
}

func TestFallback(t *testing.T) {
	address := serve(t, Root(tree(t, site), Options{Fallback: "index.html"}), next)
	check(t, address, []row{
		{"GET /users/7", 200, "Cache-Control: no-cache\nVary: Accept\nContent-Type: text/html; charset=utf-8", "<h1>start</h1>"},
		{"HEAD /users/7", 200, "Content-Length: 14", ""},
		{"GET /users/jane.doe\nAccept: text/html,*/*;q=0.8", 200, "", "<h1>start</h1>"},
		{"GET /missing.png\nAccept: image/*", 404, "", "next"},
		{"GET /missing.js", 404, "", "next"},
		{"POST /users/7", 404, "", "next"},
		{"GET /test.txt", 200, "Vary:", "test"},
		{"GET /index.html", 200, "Cache-Control: no-cache", "<h1>start</h1>"},
		{"GET /", 200, "Cache-Control: no-cache\nVary:", "<h1>start</h1>"},
		{"GET /docs/page", 200, "Cache-Control: max-age=604800", "page"},
	})
	own := serve(t, Root(tree(t, site), Options{Fallback: "index.html", CacheControl: func(name string) string {
		return map[string]string{"index.html": "max-age=5"}[name]
	}}))
	for _, path := range []string{"/", "/index.html", "/users/7"} {
		check(t, own, []row{{"GET " + path, 200, "Cache-Control: max-age=5", "<h1>start</h1>"}})
	}
}

// What does not exist below some paths is not answered with the start page.
func TestFallbackExcept(t *testing.T) {
	address := serve(t, Root(tree(t, site), Options{Prefix: "/app", Fallback: "index.html", FallbackExcept: []string{"/api", "/docs/"}}), next)
	check(t, address, []row{
		{"GET /app/api", 404, "", "next"},
		{"GET /app/api/", 404, "", "next"},
		{"GET /app/api/users/7\nAccept: text/html", 404, "", "next"},
		{"GET /app//api/x", 404, "", "next"},
		{"GET /app/x/../api/x", 404, "", "next"},
		{"GET /app/./docs/x", 404, "", "next"},
		{"GET /app/docs/page", 200, "", "page"},
		{"GET /app/docs/", 200, "", "docs"},
		{"GET /app/apis", 200, "", "<h1>start</h1>"},
		{"GET /app/x/api", 200, "", "<h1>start</h1>"},
		{"GET /app/API", 200, "", "<h1>start</h1>"},
	})
}

func TestOrigins(t *testing.T) {
	dir := tree(t, site)
	some := serve(t, Root(dir, Options{Origins: []string{"https://a.example", "http://localhost:3000"}}))
	check(t, some, []row{
		{"GET /test.txt\nOrigin: https://a.example", 200, "Access-Control-Allow-Origin: https://a.example\nVary: Origin", "test"},
		{"GET /test.txt\nOrigin: https://b.example", 200, "Access-Control-Allow-Origin:\nVary: Origin", "test"},
		{"GET /test.txt", 200, "Access-Control-Allow-Origin:\nVary: Origin", "test"},
		{"OPTIONS /test.txt\nOrigin: http://localhost:3000\nAccess-Control-Request-Method: GET", 204,
			"Access-Control-Allow-Methods: GET, HEAD, OPTIONS\nAccess-Control-Max-Age: 86400", ""},
	})
	for request, status := range map[string]int{"GET /docs": 301, "GET //test.txt": 301, "POST /test.txt": 405, "OPTIONS /docs": 204,
		"GET /test.txt\nIf-Match: \"a\"": 412, "GET /test.txt\nRange: bytes=9-": 416, "GET /test.txt\nIf-None-Match: *": 304} {
		vary := "\nVary: Origin"
		if status >= 400 {
			vary += ", Accept" // how the error is shown
		}
		check(t, some, []row{
			{request, status, "Access-Control-Allow-Origin:" + vary, "*"},
			{request + "\nOrigin: https://a.example", status, "Access-Control-Allow-Origin: https://a.example" + vary, "*"},
		})
	}
	all := serve(t, Root(dir, Options{Origins: []string{"*"}}))
	check(t, all, []row{{"GET /test.txt\nOrigin: https://b.example", 200, "Access-Control-Allow-Origin: *\nVary:", "test"}})
}

// What a middleware set before stays.
func TestMiddleware(t *testing.T) {
	before := func(next aerys.Handler) aerys.Handler {
		return aerys.Handler(handlerFunc(func(req *aerys.Request, res *aerys.Response) {
			res.SetHeader("Vary", "Cookie").SetHeader("Cache-Control", "private")
			next.Serve(req, res)
		}))
	}
	address := serve(t, aerys.Middleware(before), Root(tree(t, site), Options{Origins: []string{"https://a.example"}}))
	check(t, address, []row{{"GET /test.txt", 200, "Vary: Cookie, Origin\nCache-Control: private", "test"}})
}

// A host shows the errors as it shows all, with the fields that belong to them; a
// server of net/http gets the same in plain text.
func TestErrors(t *testing.T) {
	source := &guarded{FS: os.DirFS(tree(t, site)), unreadable: " docs/page "}
	files := FS(source, Options{Logger: slog.New(slog.DiscardHandler)})
	failing := FS(&broken{FS: fstest.MapFS{}, err: syscall.EMFILE})
	show := func(_ *aerys.Request, res *aerys.Response, e *aerys.Error) { res.End("{", fmt.Sprint(e.Status), "}") }
	for _, test := range []struct {
		request, field, value string
		status                int
		files                 *Files
		field2                string // and another
	}{
		{"GET /docs/page", "", "", 403, files, ""},
		{"POST /test.txt", "", "", 405, files, "Allow: GET, HEAD, OPTIONS"},
		{"GET /test.txt", "If-Match", `"a"`, 412, files, "Etag: "},
		{"GET /test.txt", "Range", "bytes=4-", 416, files, "Content-Range: bytes */4"},
		{"GET /test.txt", "", "", 503, failing, "Retry-After: 1"},
	} {
		name, want, _ := strings.Cut(test.field2, ": ")
		method, path, _ := strings.Cut(test.request, " ")
		for body, handler := range map[string]http.Handler{
			fmt.Sprintf("{%d}", test.status):         new(aerys.Host).Errors(show).Use(test.files),
			http.StatusText(test.status) + "\n":      test.files,
			"<title>" + fmt.Sprint(test.status, " "): new(aerys.Host).Use(test.files),
		} {
			request, recorder := httptest.NewRequest(method, path, nil), httptest.NewRecorder()
			if test.field != "" {
				request.Header.Set(test.field, test.value)
			}
			handler.ServeHTTP(recorder, request)
			if recorder.Code != test.status || !strings.Contains(recorder.Body.String(), body) || name != "" && recorder.Header().Get(name) != want {
				t.Errorf("%s: %d %q %v, want %q", test.request, recorder.Code, recorder.Body, recorder.Header(), body)
			}
		}
	}
}

type handlerFunc func(*aerys.Request, *aerys.Response)

func (h handlerFunc) Serve(req *aerys.Request, res *aerys.Response) { h(req, res) }

func TestCacheControl(t *testing.T) {
	dir := tree(t, site)
	own := serve(t, Root(dir, Options{CacheControl: func(name string) string {
		if name == "docs/page" {
			return "no-store"
		}
		return ""
	}, MimeTypes: map[string]string{".zzz": "text/x-zzz", ".json": "application/x-own"}, DefaultTextCharset: "latin1"}))
	check(t, own, []row{
		{"GET /docs/page", 200, "Cache-Control: no-store", "page"},
		{"GET /test.txt", 200, "Cache-Control: max-age=604800\nContent-Type: text/plain; charset=latin1", "test"},
		{"GET /assets/unknown.Zzz", 200, "Content-Type: text/x-zzz; charset=latin1", "what"},
		{"GET /assets/api.json", 200, "Content-Type: application/x-own", "{}"},
	})
	never := serve(t, Root(dir, Options{ExpiresPeriod: -1, Indexes: []string{}}), next)
	check(t, never, []row{
		{"GET /assets/app.3f2a9c1b.js", 200, "Cache-Control: no-cache", "hash"},
		{"GET /", 404, "", "next"},
	})
}

// Of what webpack, Parcel, esbuild, Vite and Rollup write, and of what people do.
func TestHashed(t *testing.T) {
	for _, name := range strings.Fields(`
		app.3f2a9c1b.js style.0abcdef1.min.css 2.9f86d081.chunk.js main.3f2a9c1b0d1e2f3a4b5c.js main.3f2a9c1b.js.map
		chunk-0123456789abcdef0123.css logo.5d5d9eef.svg 151cfcfa1bd74779aadb.png img/logo-3f2a9c1b.webp
		a/b/main-5XQ3ZK2A.js chunk-EMMPVGLW.js index-OTJFNSP4.css icon-5XQ3ZK2A.svg chunk-JQ7R6NZP.mjs
		assets/index-BZk3f9aX.css assets/index-DiwrgTda.css assets/index-DVoHNO1Y.js assets/react-CHdo91hT.svg
		index-B-k3f9aX.js index-D_x8sQ1a.js index-_x8sQ1aB.js vendor-BfibREyH.js index-legacy-BZk3f9aX.js inter-latin-C1nco2VV.woff2
		index-BZk3f9aX.js.map index-BZk3f9aX.js.gz`) {
		if !hashed(name) {
			t.Errorf("%s is not taken for hashed", name)
		}
	}
	for _, name := range strings.Fields(`
		report-2026Q3AB.pdf IMG-20240101.jpg IMG-20240101-WA0001.jpg photo-20240131.jpg backup-20240101.js 2024-12-31.js
		photo-2024feb3.jpg log-12dec2023.txt report-20260131a.pdf style.abcdef01.min.css 3f2a9c1b.js my-document.js
		jquery-3.6.0.min.js export-summer2024.csv Spring-Summer24.html word-facade.css a.b.c 507f1f77bcf86cd799439011.jpg
		550e8400-e29b-41d4-a716-44665544000a.png avatar-550e8400-e29b-41d4-a716-44665544000a.png
		icon-iPhoneXS.png shot-iPhone15.jpg logo-3D-Model.png logo-v2-Final.png lang-en_US-GB.js lang-pt-PT-AO.js page-TextArea.html
		js/ui-CheckBox.js app-Summer24.css page-Composer.js assets/page-Composer.js assets/theme-Summer24.css app-Overview.js
		setup-VERSION2.exe readme-MARKDOWN.txt report-REVISION.pdf data-12345678.json a-2ndFloor.svg BZk3f9aX.js opensans-regular.woff2`) {
		if hashed(name) {
			t.Errorf("%s is taken for hashed", name)
		}
	}
}

func TestMediaTypes(t *testing.T) {
	options := Options{DefaultMimeType: "text/plain", DefaultTextCharset: "utf-8"}
	for name, want := range map[string]string{
		"live.m3u8": "application/vnd.apple.mpegurl", "film.mpd": "application/dash+xml", "0.TS": "video/mp2t", "0.m4s": "video/iso.segment",
		"a.cjs": "text/javascript; charset=utf-8", "a.heic": "image/heic", "a.heif": "image/heif", "a.jxl": "image/jxl",
		"a.glb": "model/gltf-binary", "a.gltf": "model/gltf+json", "a.srt": "application/x-subrip", "a.vtt": "text/vtt; charset=utf-8",
		"a.apng": "image/apng", "a.weba": "audio/webm", "a.toml": "application/toml", "a.tsv": "text/tab-separated-values; charset=utf-8",
		"a.odp": "application/vnd.oasis.opendocument.presentation", "a.": "text/plain; charset=utf-8",
	} {
		if got := options.contentType(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	for extension, value := range mimeTypes {
		if _, _, err := mime.ParseMediaType(value); err != nil || extension != strings.ToLower(extension) || extension[0] != '.' {
			t.Errorf("%s: %s: %v", extension, value, err)
		}
	}
}

// Without a charset of ours none is added by the host either, and a net/http
// server sends no empty one.
func TestOmitCharset(t *testing.T) {
	files := Root(tree(t, site), Options{OmitCharset: true, MimeTypes: map[string]string{".md": "text/markdown; charset=latin1"}})
	server := httptest.NewServer(files)
	defer server.Close()
	for _, address := range []string{serve(t, files), server.Listener.Addr().String()} {
		check(t, address, []row{
			{"GET /test.txt", 200, "Content-Type: text/plain", "test"},
			{"HEAD /", 200, "Content-Type: text/html", ""},
			{"GET /test.txt\nRange: bytes=1-2", 206, "Content-Type: text/plain", "es"},
			{"GET /assets/notes.md", 200, "Content-Type: text/markdown; charset=latin1", "# notes"},
			{"GET /assets/api.json", 200, "Content-Type: application/json", "{}"},
		})
		if got := ask(t, address, "GET /test.txt\nRange: bytes=1-1,3-3"); !strings.Contains(got.body, "Content-Type: text/plain\r\n") {
			t.Errorf("parts: %q", got.body)
		}
	}
}

func TestPanics(t *testing.T) {
	dir := tree(t, site)
	for want, make := range map[string]func(){
		`static.Root("/no/such/directory")`: func() { Root("/no/such/directory") },
		`test.txt`:                          func() { Root(filepath.Join(dir, "test.txt")) },
		`static.FS(nil)`:                    func() { FS(nil) },
		`one Options`:                       func() { FS(fstest.MapFS{}, Options{}, Options{}) },
		`Prefix "assets"`:                   func() { Root(dir, Options{Prefix: "assets"}) },
		`Prefix "/a/../b"`:                  func() { Root(dir, Options{Prefix: "/a/../b"}) },
		`Indexes: "a/b"`:                    func() { Root(dir, Options{Indexes: []string{"a/b"}}) },
		`Fallback "nothing"`:                func() { Root(dir, Options{Fallback: "nothing"}) },
		`Fallback "docs" is no file`:        func() { Root(dir, Options{Fallback: "docs"}) },
		`FallbackExcept: write "api" like`:  func() { Root(dir, Options{FallbackExcept: []string{"api"}}) },
		`FallbackExcept: write "/" like`:    func() { Root(dir, Options{FallbackExcept: []string{"/"}}) },
		`MimeTypes: write "md"`:             func() { Root(dir, Options{MimeTypes: map[string]string{"md": "a/b"}}) },
		`MimeTypes[".md"]`:                  func() { Root(dir, Options{MimeTypes: map[string]string{".md": "a b"}}) },
		`DefaultMimeType "/"`:               func() { Root(dir, Options{DefaultMimeType: "/"}) },
		`DefaultTextCharset "a;b"`:          func() { Root(dir, Options{DefaultTextCharset: "a;b"}) },
		`Origins: write "example.com"`:      func() { Root(dir, Options{Origins: []string{"example.com"}}) },
		`Origins: write "https://a.b/"`:     func() { Root(dir, Options{Origins: []string{"https://a.b/"}}) },
		`Origins: write "*"`:                func() { Root(dir, Options{Origins: []string{"*", "https://a.b"}}) },
	} {
		t.Run(want, func(t *testing.T) {
			defer func() {
				if message, _ := recover().(string); !strings.Contains(message, want) {
					t.Errorf("panics with %q", message)
				}
			}()
			make()
		})
	}
}

// HTTP/2 has the same answers.
func TestHTTP2(t *testing.T) {
	server := httptest.NewUnstartedServer(new(aerys.Host).Use(Root(tree(t, site), Options{BufferedFileMaxCount: -1})))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	response, err := server.Client().Get(server.URL + "/docs")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	if string(body) != "docs" || response.ProtoMajor != 2 || response.ContentLength != 4 {
		t.Errorf("%s: %q, length %d", response.Proto, body, response.ContentLength)
	}
}
