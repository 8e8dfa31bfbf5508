package aerys

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"

	"aerys/internal/field"
	"aerys/internal/form"
)

// ErrBodyTooLarge is what reading a request's body fails with beyond a limit,
// as a *LimitError that names it. Unless the handler sets another status, the
// answer is then 413, and the connection is closed after it.
var ErrBodyTooLarge = errors.New("aerys: the request's body is too large")

// LimitError is an ErrBodyTooLarge with the limit that was passed.
type LimitError struct {
	Option string // MaxBodySize, MaxInputVars, MaxFieldLen, or Field.Limit
	Limit  int64
}

// Error names the option and its limit.
func (e *LimitError) Error() string {
	return fmt.Sprintf("%v: more than %s (%d) allows", ErrBodyTooLarge, e.Option, e.Limit)
}

// Unwrap returns ErrBodyTooLarge.
func (e *LimitError) Unwrap() error { return ErrBodyTooLarge }

// Body returns the request's body, of which Options.MaxBodySize bytes can be
// read, or max where it is given, which may be more or less; negative is no
// limit. A Read beyond fails with ErrBodyTooLarge; a body whose Content-Length
// is over the limit, or of which more was read already, fails at the first.
func (r *Request) Body(max ...int64) io.Reader {
	if r.Request.Body == nil {
		return http.NoBody
	}
	if r.input != nil && len(max) > 0 {
		r.input.raise(max[0])
	}
	return r.Request.Body
}

// limitedBody stands in the place of http.Request.Body. The transports of
// net/http read a body that they relay from a goroutine that may outlive the
// handler.
type limitedBody struct {
	io.ReadCloser
	size    int64 // as declared, or -1
	limit   atomic.Int64
	read    atomic.Int64
	failure atomic.Pointer[Error] // set once the body was refused, or broke
	outer   *limitedBody          // what it is made of, by a middleware
}

// limit puts a limit on the body of r, unless it has one.
func limit(r *http.Request, max int64) *limitedBody {
	if b, ok := r.Body.(*limitedBody); ok {
		return b
	}
	b := &limitedBody{ReadCloser: r.Body, size: r.ContentLength}
	b.raise(max)
	r.Body = b
	return b
}

// standBefore makes b one that has been made of outer, or nil, by a middleware.
func (b *limitedBody) standBefore(outer *limitedBody) {
	if b.outer = outer; outer != nil {
		b.limit.Store(outer.limit.Load())
	}
}

func (b *limitedBody) raise(max int64) {
	if max < 0 {
		max = math.MaxInt64
	}
	b.limit.Store(max)
	if b.outer != nil {
		b.outer.raise(max)
	}
}

// Read implements io.Reader.
func (b *limitedBody) Read(p []byte) (int, error) {
	if b.refused() {
		return 0, b.failure.Load().Err
	}
	limit := b.limit.Load()
	left := limit - b.read.Load()
	if b.size > limit || left < 0 {
		return 0, b.refuse("MaxBodySize", limit)
	}
	if int64(len(p)) > left { // one more, to tell the end from too much
		p = p[:left+1]
	}
	n, err := b.ReadCloser.Read(p)
	b.read.Add(int64(n))
	if int64(n) > left {
		return int(left), b.refuse("MaxBodySize", limit)
	}
	if err != nil && err != io.EOF {
		b.failed(err)
	}
	return n, err
}

// failed notes that the body cannot be read to its end.
func (b *limitedBody) failed(err error) {
	e := errorOf(err)
	switch {
	case e.Status == http.StatusRequestEntityTooLarge:
	case errors.Is(err, os.ErrDeadlineExceeded):
		e = &Error{Status: http.StatusRequestTimeout, Err: err}
	default:
		e = &Error{Status: http.StatusBadRequest, Err: err}
	}
	b.failure.CompareAndSwap(nil, e)
	if b.outer != nil {
		b.outer.failed(err)
	}
}

// refuse makes 413 the answer, and it the last one on the connection.
func (b *limitedBody) refuse(option string, limit int64) error {
	failure := &LimitError{Option: option, Limit: limit}
	if b != nil { // a handler may parse what it has put in the place of no body
		b.failed(failure)
	}
	return failure
}

// refused reports whether the body was over a limit.
func (b *limitedBody) refused() bool {
	if b == nil {
		return false
	}
	e := b.failure.Load()
	return e != nil && e.Status == http.StatusRequestEntityTooLarge
}

// JSON reads the body, one JSON value, into v, as [json.Unmarshal] does. Its size
// is limited as by [Request.Body]. The error is an [*Error] whose text is for the
// client and says where: with 415 for a Content-Type that is neither
// application/json nor one that ends in +json, or for a Content-Encoding; 413
// beyond the limit; and 400 for what is no JSON, does not fit v, or has something
// behind the value. It is the answer, through [Host.Errors], unless the action
// gives another one:
//
//	var order Order
//	if req.JSON(&order) != nil {
//		return
//	}
//
// A v that is no pointer panics.
func (r *Request) JSON(v any, max ...int64) error {
	if kind := reflect.ValueOf(v); kind.Kind() != reflect.Pointer || kind.IsNil() {
		panic(fmt.Sprintf("aerys: Request.JSON(%T): want a pointer to what the value is to be stored in", v))
	}
	if e := r.readJSON(v, max); e != nil {
		return r.failed(e)
	}
	return nil
}

func (r *Request) readJSON(v any, max []int64) *Error {
	media := field.MediaType(r.Header.Get("Content-Type"))
	if media != "application/json" && !strings.HasSuffix(media, "+json") {
		return &Error{http.StatusUnsupportedMediaType, fmt.Errorf("want Content-Type: application/json, not %.100q", media), true, nil}
	}
	if coding := strings.Join(r.Header["Content-Encoding"], ", "); coding != "" && !strings.EqualFold(coding, "identity") {
		return &Error{http.StatusUnsupportedMediaType, fmt.Errorf("want a body without Content-Encoding, not %.100q", coding), true, nil}
	}
	text, err := io.ReadAll(r.Body(max...))
	if err != nil {
		if e := errorOf(err); e.Status != http.StatusInternalServerError {
			return e
		}
		return &Error{Status: http.StatusBadRequest, Err: err}
	}
	if err := json.Unmarshal(text, v); err != nil {
		return &Error{http.StatusBadRequest, whereInJSON(text, err), true, nil}
	}
	return nil
}

// whereInJSON says what is wrong with a text, and where, without names of Go.
func whereInJSON(text []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	what, at := "", int64(0)
	switch {
	case len(bytes.TrimSpace(text)) == 0:
		return errors.New("the body is empty: want JSON")
	case errors.As(err, &syntax):
		what, at = syntax.Error(), syntax.Offset
	case errors.As(err, &kind):
		what, at = fmt.Sprintf("%.100s does not fit %.100s", kind.Value, cmp.Or(kind.Field, "here")), kind.Offset
	case strings.HasPrefix(err.Error(), "json: "): // of a field with ",string" in its tag
		return errors.New("a value is not of the type that is wanted there")
	default:
		return err
	}
	before := text[:min(max(at-1, 0), int64(len(text)))]
	line := bytes.Count(before, []byte("\n")) + 1
	return fmt.Errorf("%s, at line %d, column %d", what, line, len(before)-bytes.LastIndexByte(before, '\n'))
}

// ErrNotForm is what ParseBody and Fields fail with when the Content-Type is
// neither application/x-www-form-urlencoded nor multipart/form-data.
var ErrNotForm = errors.New("aerys: the request's body is no form: read it with Body")

// Field is one field of a form, the value of which is read from it. It is valid
// until the next one is asked for.
type Field struct {
	Name     string
	Filename string // as File.Filename; "" when it is no file
	MIMEType string // as the client says; text/plain when it does not
	value    io.Reader
	body     *limitedBody
	limit    int64
	read     int64
}

// Limit bounds the field's value, in bytes: reading more of it fails with
// ErrBodyTooLarge. Negative is no limit.
func (f *Field) Limit(max int64) *Field {
	if max < 0 {
		max = math.MaxInt64
	}
	f.limit = max
	return f
}

// Read implements io.Reader.
func (f *Field) Read(p []byte) (int, error) {
	n, err := f.value.Read(p)
	f.read += int64(n)
	if f.read > f.limit {
		return 0, f.body.refuse("Field.Limit", f.limit)
	}
	return n, err
}

// Fields returns the fields of a form as they arrive, for uploads that are not
// to be held in memory: no field is read ahead, and what the caller leaves of
// one is skipped. The body as a whole is limited as by [Request.Body], their
// number by Options.MaxInputVars and their names by Options.MaxFieldLen. After
// an error nothing follows.
//
//	for field, err := range req.Fields(10 << 30) {
//		if err != nil {
//			return err
//		}
//		…
//	}
func (r *Request) Fields(max ...int64) iter.Seq2[*Field, error] {
	return func(yield func(*Field, error) bool) {
		read := form.Fields(r.Header.Get("Content-Type"), r.Body(max...), r.options.MaxFieldLen)
		if read == nil {
			yield(nil, ErrNotForm)
			return
		}
		for count := 1; ; count++ {
			field, err := read()
			if err == io.EOF {
				return
			}
			if err == nil {
				err = r.checkFieldLimits(field.Name, count)
			}
			if err != nil {
				yield(nil, r.malformed(err))
				return
			}
			next := &Field{Name: field.Name, Filename: field.Filename, MIMEType: field.MIMEType, value: field.Value, body: r.input}
			if !yield(next.Limit(-1), nil) {
				return
			}
		}
	}
}

// malformed notes that a form is, unless it could not be read to its end.
func (r *Request) malformed(err error) error {
	if r.failure() == nil {
		e := errorOf(err)
		if e.Status != http.StatusRequestEntityTooLarge {
			e = &Error{Status: http.StatusBadRequest, Err: err, Public: true}
		}
		r.failed(e)
	}
	return err
}

func (r *Request) checkFieldLimits(name string, count int) error {
	switch {
	case count > r.options.MaxInputVars:
		return r.input.refuse("MaxInputVars", int64(r.options.MaxInputVars))
	case len(name) > r.options.MaxFieldLen:
		return r.input.refuse("MaxFieldLen", int64(r.options.MaxFieldLen))
	}
	return nil
}

// ParsedBody is a form that was sent, held in memory. It may be kept, and read
// from many goroutines.
type ParsedBody struct {
	names  []string
	fields map[string][]File
}

// File is an uploaded file.
type File struct {
	// Filename is what the client named it, made safe as a name on every system: no
	// directories or drives, no control characters, no name that is a device's, "." or
	// "..". Two files may have the same, and one may have the name of one that there is.
	Filename string
	MIMEType string // as the client says: not to be trusted
	Content  []byte
}

// ParseBody reads a form: application/x-www-form-urlencoded or
// multipart/form-data, the latter with files. Its size is limited as by
// [Request.Body], the number of fields by Options.MaxInputVars and their names
// by Options.MaxFieldLen: an error is then an ErrBodyTooLarge. Any other type
// is ErrNotForm. A malformed form is answered with 400 unless the handler answers
// itself. What was parsed once, or failed, is returned again. For what is
// not to be held in memory, see [Request.Fields].
func (r *Request) ParseBody(max ...int64) (*ParsedBody, error) {
	r.mu.Lock()
	form, err := r.form, r.formErr
	r.mu.Unlock()
	if form != nil || err != nil {
		return form, err
	}
	form, err = r.parse(max)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.form, r.formErr = form, err
	return form, err
}

func (r *Request) parse(max []int64) (*ParsedBody, error) {
	form := &ParsedBody{fields: make(map[string][]File)}
	for field, err := range r.Fields(max...) {
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(field)
		if err != nil {
			return nil, r.malformed(err)
		}
		form.add(field.Name, File{field.Filename, field.MIMEType, content})
	}
	return form, nil
}

func (b *ParsedBody) add(name string, file File) {
	if _, ok := b.fields[name]; !ok {
		b.names = append(b.names, name)
	}
	b.fields[name] = append(b.fields[name], file)
}

// Get returns the first value of a field, or "". A file's is its content.
func (b *ParsedBody) Get(name string) string {
	if values := b.fields[name]; len(values) > 0 {
		return string(values[0].Content)
	}
	return ""
}

// All returns all values of a field, in order.
func (b *ParsedBody) All(name string) (values []string) {
	for _, file := range b.fields[name] {
		values = append(values, string(file.Content))
	}
	return values
}

// Names returns the names of the fields in the order of their first values.
func (b *ParsedBody) Names() []string { return slices.Clone(b.names) }

// File returns the first file of a field; ok is false when there is none.
func (b *ParsedBody) File(name string) (file File, ok bool) {
	if files := b.Files(name); len(files) > 0 {
		return files[0], true
	}
	return File{}, false
}

// Files returns all files of a field, as <input type=file multiple> sends them.
func (b *ParsedBody) Files(name string) (files []File) {
	for _, file := range b.fields[name] {
		if file.Filename != "" {
			files = append(files, file)
		}
	}
	return files
}
