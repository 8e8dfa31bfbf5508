package static_test

import (
	"embed"
	"fmt"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"

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

// A single-page application: its bundler put hashes into the names of scripts,
// which makes them immutable, and every page is index.html.
func ExampleOptions() {
	application := static.Options{
		Fallback: "index.html",
		CacheControl: func(name string) string {
			if name == "index.html" {
				return "no-cache"
			}
			return "" // by ExpiresPeriod
		},
	}
	site, err := fs.Sub(embedded, ".")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { fmt.Println(recover()) }()
	static.FS(site, application)
	// Output: static.FS: Fallback "index.html": open index.html: file does not exist; name a file inside the root
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
