package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"aerys"
)

type file struct {
	ID   string `json:"id"` // and its name on disk: that of the client could be anything
	Name string `json:"name"`
	Size int64  `json:"size"`
}

// api is the files, and who listens to what happens to them.
type api struct {
	sync.Mutex
	dir, token string
	files      map[string]file
	listeners  map[chan string]bool
}

func newAPI(dir, token string) *api {
	return &api{dir: dir, token: token, files: make(map[string]file), listeners: make(map[chan string]bool)}
}

func (a *api) list(_ *aerys.Request, res *aerys.Response) {
	a.Lock()
	all := slices.SortedFunc(maps.Values(a.files), func(f, g file) int { return strings.Compare(f.Name+f.ID, g.Name+g.ID) })
	a.Unlock()
	res.JSON(append([]file{}, all...)) // [], not null
}

// upload takes the first file of a form. No more of it is in memory than what
// one read brings.
func (a *api) upload(req *aerys.Request, res *aerys.Response) {
	for field, err := range req.Fields(1 << 30) {
		if err != nil {
			res.Fail(err)
			return
		}
		if field.Filename == "" {
			continue
		}
		f := file{ID: rand.Text(), Name: field.Filename}
		if f.Size, err = a.save(f, io.TeeReader(field, &progress{a, f, req.ContentLength, 0})); err != nil {
			res.Fail(err)
			return
		}
		a.put(f)
		res.SetStatus(http.StatusCreated).SetHeader("Location", "/files/"+f.ID).JSON(f)
		return
	}
	res.Fail(&aerys.Error{Status: http.StatusBadRequest, Err: errors.New("the form has no file"), Public: true})
}

// save writes a file, or nothing.
func (a *api) save(f file, content io.Reader) (size int64, err error) {
	on, err := os.Create(filepath.Join(a.dir, f.ID))
	if err != nil {
		return 0, err
	}
	size, err = io.Copy(on, content)
	if err = errors.Join(err, on.Close()); err != nil {
		os.Remove(on.Name())
	}
	return size, err
}

// progress tells of each tenth of an upload.
type progress struct {
	*api
	file
	all, came int64
}

func (p *progress) Write(b []byte) (int, error) {
	before := p.came
	if p.came += int64(len(b)); p.all > 0 && p.came*10/p.all > before*10/p.all {
		p.tell("progress", map[string]any{"id": p.ID, "name": p.Name, "percent": p.came * 100 / p.all})
	}
	return len(b), nil
}

// known is the file that a request names, or has it answered with 404.
func (a *api) known(req *aerys.Request, res *aerys.Response) (f file, ok bool) {
	a.Lock()
	defer a.Unlock()
	if f, ok = a.files[req.PathValue("id")]; !ok {
		res.SetStatus(http.StatusNotFound)
	}
	return f, ok
}

func (a *api) put(f file) {
	a.Lock()
	a.files[f.ID] = f
	a.Unlock()
	a.tell("changed", f)
}

func (a *api) download(req *aerys.Request, res *aerys.Response) {
	if f, ok := a.known(req, res); ok {
		res.SetHeader("Content-Type", "application/octet-stream").
			SetHeader("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": f.Name}))
		http.ServeFile(res, req.Request, filepath.Join(a.dir, f.ID))
	}
}

func (a *api) rename(req *aerys.Request, res *aerys.Response) {
	var change struct{ Name string }
	f, ok := a.known(req, res)
	if !ok || req.JSON(&change) != nil {
		return // the answer is 404, 400, 413 or 415
	}
	f.Name = change.Name
	a.put(f)
	res.JSON(f)
}

func (a *api) remove(req *aerys.Request, res *aerys.Response) {
	if f, ok := a.known(req, res); ok {
		a.Lock()
		delete(a.files, f.ID)
		a.Unlock()
		os.Remove(filepath.Join(a.dir, f.ID))
		a.tell("removed", f)
		res.SetStatus(http.StatusNoContent).End()
	}
}

// tell never waits: who is behind by 64 events is sent away, comes back, and
// asks for the list.
func (a *api) tell(event string, data any) {
	text, _ := json.Marshal(data)
	a.Lock()
	defer a.Unlock()
	for to := range a.listeners {
		select {
		case to <- "event: " + event + "\ndata: " + string(text) + "\n\n":
		default:
			delete(a.listeners, to)
			close(to)
		}
	}
}

// events are server-sent ones, until the client leaves or the server stops.
func (a *api) events(req *aerys.Request, res *aerys.Response) {
	mine := make(chan string, 64)
	a.Lock()
	a.listeners[mine] = true
	a.Unlock()
	defer func() { a.Lock(); delete(a.listeners, mine); a.Unlock() }()
	res.SetHeader("Content-Type", "text/event-stream").SetHeader("Cache-Control", "no-store")
	for res.Flush() == nil {
		select {
		case event, open := <-mine:
			if !open {
				return
			}
			res.WriteString(event)
		case <-req.Context().Done():
			return
		case <-req.Stopping():
			return
		}
	}
}
