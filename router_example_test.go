package aerys_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"

	"aerys"
)

// An API under a prefix of its own, guarded by what it uses, is merged into the
// router of the site. What no route knows falls through to the host's next
// action.
func ExampleRouter() {
	guard := func(req *aerys.Request, res *aerys.Response) {
		if req.Header.Get("Authorization") == "" {
			res.SetStatus(http.StatusUnauthorized).End("Who are you?")
		}
	}
	api := aerys.Router().
		Use(guard).
		Get(`/users/{id:\d+}`, func(req *aerys.Request, res *aerys.Response) {
			fmt.Fprintf(res, "This is user %s.", req.PathValue("id"))
		}).
		Prefix("/api")
	site := aerys.Router().
		Use(api).
		Get("/about/?", func(_ *aerys.Request, res *aerys.Response) { res.End("About us.") })
	host := new(aerys.Host).Use(site, http.NotFoundHandler())

	for _, target := range []string{"/about", "/about/", "/api/users/7", "/api/users/me"} {
		w := httptest.NewRecorder()
		host.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
		fmt.Printf("%s: %d %s%s\n", target, w.Code, w.Header().Get("Location"), w.Body)
	}
	// Output:
	// /about: 200 About us.
	// /about/: 302 /about
	// /api/users/7: 401 Who are you?
	// /api/users/me: 404 404 page not found
}

// Middleware wraps the actions that follow it.
func ExampleMiddleware() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	logged := func(next aerys.Handler) aerys.Handler {
		return aerys.HandlerFunc(func(req *aerys.Request, res *aerys.Response) {
			next.Serve(req, res)
			logger.Info("request", "path", req.URL.Path, "status", res.Status())
		})
	}
	host := new(aerys.Host).Use(logged, func(_ *aerys.Request, res *aerys.Response) {
		res.SetStatus(http.StatusTeapot).End("I am a teapot.")
	})
	host.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/coffee", nil))
	// Output:
	// level=INFO msg=request path=/coffee status=418
}
