package aerys

import (
	"errors"
	"io"
	"iter"
	"math"

	"aerys/internal/form"
)

// ErrNotForm is what ParseBody and Fields fail with when the Content-Type is
// neither application/x-www-form-urlencoded nor multipart/form-data.
var ErrNotForm = errors.New("aerys: the request's body is no form: read it with Body")

// Field is one field of a form, the value of which is read from it. It is valid
// until the next one is asked for.
type Field struct {
	Name     string
	Filename string // as the client named it, without directories; "" when it is no file
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
				yield(nil, err)
				return
			}
			next := &Field{Name: field.Name, Filename: field.Filename, MIMEType: field.MIMEType, value: field.Value, body: r.input}
			if !yield(next.Limit(-1), nil) {
				return
			}
		}
	}
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
