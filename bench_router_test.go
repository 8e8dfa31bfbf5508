package aerys

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
)

// benchmarkRouter asks a router that knows the patterns for the paths in turn;
// one operation is all of them.
func benchmarkRouter(b *testing.B, routes, requests [][2]string) {
	router := Router()
	for _, route := range routes {
		router.Route(route[0], route[1], func(*Request, *Response) {})
	}
	exchanges := make([]*exchange, len(requests))
	for i, request := range requests {
		r := httptest.NewRequest(request[0], request[1], nil)
		exchanges[i] = newExchange(httptest.NewRecorder(), r, Options{}.withDefaults())
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, x := range exchanges {
			router.Serve(&x.request, &x.response)
		}
	}
}

func BenchmarkRouterStatic(b *testing.B) {
	benchmarkRouter(b, githubRoutes, [][2]string{{"GET", "/user/repos"}})
}

func BenchmarkRouterParameters(b *testing.B) {
	for _, count := range []int{1, 5, 20} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			var pattern strings.Builder
			for i := range count {
				fmt.Fprintf(&pattern, "/{v%d}", i)
			}
			path := strings.Repeat("/test", count)
			benchmarkRouter(b, [][2]string{{"GET", pattern.String()}}, [][2]string{{"GET", path}})
		})
	}
}

func BenchmarkRouterGitHub(b *testing.B) {
	requests := make([][2]string, len(githubRoutes))
	for i, route := range githubRoutes {
		requests[i] = [2]string{route[0], strings.NewReplacer("{", "", "}", "").Replace(route[1])}
	}
	benchmarkRouter(b, githubRoutes, requests)
}
