package aerys

import (
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// kept is what a handler has handed to goroutines that outlive it.
type kept struct {
	req    *Request
	res    *Response
	writer io.Writer // that a filter writes to
	id     string
	file   *os.File
}

// late uses all that there is of a request and a response that are over.
func (k kept) late() {
	k.req.Param("id")
	k.req.Params("id")
	k.req.PathValue("x")
	k.req.CookieValue("x")
	k.req.Local("x")
	k.req.SetLocal("x", k.id)
	k.req.Info()
	k.req.ParseBody()
	io.ReadAll(k.req.Body(1))
	io.ReadAll(k.req.Request.Body)
	_ = k.req.URL.String() + k.req.Header.Get("X") + k.req.Host + k.req.Method
	k.res.Header().Set("X-Late", k.id)
	k.res.SetStatus(202).SetHeader("X-Late", k.id).AddHeader("X-Late", k.id).
		SetCookie(&http.Cookie{Name: "late", Value: "x"}).Push("/late", nil).Filter(upperFilter)
	k.res.WriteHeader(203)
	k.res.Hijack()
	k.res.BeginHandshake()
	k.res.EndHandshake()
	k.res.Err()
	k.res.Unwrap().WriteHeader(204)
	io.WriteString(k.res.Unwrap(), k.id)
	controller := http.NewResponseController(k.res)
	controller.SetWriteDeadline(time.Now())
	controller.SetReadDeadline(time.Now())
	controller.EnableFullDuplex()
	k.overlapping()
	k.res.ReadFrom(io.NewSectionReader(k.file, 0, 3000))
	k.res.End(k.id)
}

// overlapping is what may also be done while the handler returns, for it shows
// in the answer to the same client only.
func (k kept) overlapping() {
	k.res.State()
	k.res.Status()
	k.res.Write([]byte(k.id))
	k.res.WriteString(k.id)
	io.Copy(k.res, strings.NewReader(k.id))
	io.WriteString(k.writer, k.id)
	k.res.Flush()
}

func upperFilter(w io.Writer) io.WriteCloser { return upper{w, nil} }

// keeping is a filter that lets others have what it writes to.
type keeping struct{ io.Writer }

func (keeping) Close() error { return nil }

// TestKeptForLater has handlers keep what they were given, and goroutines use
// all of it while they return and later, while others are answered: no answer
// has anything of another one.
func TestKeptForLater(t *testing.T) {
	file, _ := randomFile(t, 3000)
	const clients, requests = 6, 12
	for _, protocol := range testedProtocols {
		t.Run(protocol, func(t *testing.T) {
			var users sync.WaitGroup
			defer users.Wait()
			over := make(chan kept, 10)
			defer close(over)
			for range 4 {
				users.Add(1)
				go func() {
					defer users.Done()
					for k := range over {
						users.Add(1)
						go func() { defer users.Done(); k.late() }()
						k.late()
					}
				}()
			}
			var served atomic.Int32
			var previous sync.Map // by client: its answer has come, so it is over
			_, url, client := runProtocol(t, protocol, Options{}, new(Host).Use(func(req *Request, res *Response) {
				id := req.Param("id")
				k := kept{req: req, res: res, id: id, file: file}
				name, _, _ := strings.Cut(id, ".")
				res.SetHeader("X-Id", id)
				res.Filter(func(w io.Writer) io.WriteCloser { k.writer = w; return keeping{w} })
				body := strings.Repeat(id, len(name)*1000)
				if before, ok := previous.Swap(name, &k); ok {
					over <- *before.(*kept)
				}
				switch served.Add(1) % 4 {
				case 0:
					res.End(body)
				case 1:
					res.WriteString(body)
				case 2:
					res.WriteString(body)
					go k.overlapping()
				default:
					res.WriteString(body)
					res.Flush()
					go k.overlapping()
				}
			}))
			own(t, client, url, clients, requests, "", nil)
		})
	}
}
