package static_test

import (
	"embed"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing/fstest"

	"aerys"
	"aerys/static"
)

// What the routes do not answer is looked for in a directory; what is not
// there either gets a page of its own.
func ExampleRoot() {
	router := aerys.Router().Get("/hello", func(req *aerys.Request, res *aerys.Response) { res.End("Hello!") })
	notFound := func(req *aerys.Request, res *aerys.Response) { res.SetStatus(404).End("Nothing here.") }

	host := new(aerys.Host).Use(router, static.Root("../example/static/site"), notFound)

	for _, path := range []string{"/hello", "/files/fox.txt", "/nothing"} {
		recorder := httptest.NewRecorder()
		host.ServeHTTP(recorder, httptest.NewRequest("GET", path, nil))
		fmt.Println(recorder.Code, recorder.Body)
	}
	// Output:
	// 200 Hello!
	// 200 The quick brown fox jumps over the lazy dog.
	//
	// 404 Nothing here.
}

//go:embed example_test.go
var embedded embed.FS

// Files can be part of the program, and served by net/http as well.
func ExampleFS() {
	files := static.FS(embedded, static.Options{Prefix: "/source"})
	http.Handle("/source/", files)

	recorder := httptest.NewRecorder()
	http.DefaultServeMux.ServeHTTP(recorder, httptest.NewRequest("GET", "/source/example_test.go", nil))
	fmt.Println(recorder.Code, recorder.Header().Get("Cache-Control"))
	// Output: 200 max-age=604800
}

// A single-page application: every page is index.html, which browsers ask for each
// time; its bundler put hashes into the names of scripts, which they never ask for
// again; and what its API does not have is no page.
func ExampleOptions() {
	site := fstest.MapFS{
		"index.html":               {Data: []byte("<script src=/assets/index-BZk3f9aX.js></script>")},
		"assets/index-BZk3f9aX.js": {Data: []byte("alert('Hello!')")},
	}
	files := static.FS(site, static.Options{Fallback: "index.html", FallbackExcept: []string{"/api"}})

	for _, path := range []string{"/", "/users/7", "/assets/index-BZk3f9aX.js", "/api/nothing"} {
		recorder := httptest.NewRecorder()
		files.ServeHTTP(recorder, httptest.NewRequest("GET", path, nil))
		fmt.Println(path, recorder.Code, recorder.Header().Get("Cache-Control"))
	}
	// Output:
	// / 200 no-cache
	// /users/7 200 no-cache
	// /assets/index-BZk3f9aX.js 200 max-age=31536000, immutable
	// /api/nothing 404
}

// What the cache is worth.
func ExampleFiles_Monitor() {
	files := static.FS(embedded)
	for range 3 {
		files.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/example_test.go", nil))
	}
	var figures static.Figures = files.Monitor().(static.Figures)
	fmt.Println(figures.Hits, "of", figures.Hits+figures.Misses)
	// Output: 2 of 3
}
