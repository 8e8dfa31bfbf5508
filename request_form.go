package aerys

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"mime"
	"mime/multipart"
	"strconv"
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
// ErrBodyTooLarge.
func (f *Field) Limit(max int64) *Field {
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
		next, err := r.fieldReader(r.Body(max...))
		for count := 1; ; count++ {
			var field *Field
			if err == nil {
				field, err = next()
			}
			if err == io.EOF {
				return
			}
			if err == nil {
				err = r.checkFieldLimits(field, count)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			field.limit, field.body = math.MaxInt64, r.input
			if !yield(field, nil) {
				return
			}
		}
	}
}

// fieldReader returns what reads one field after the other, ending in io.EOF.
func (r *Request) fieldReader(body io.Reader) (next func() (*Field, error), err error) {
	media, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err == nil && media == "application/x-www-form-urlencoded":
		form := &urlencoded{input: bufio.NewReader(body), maxName: r.options.MaxFieldLen}
		return form.next, nil
	case err == nil && media == "multipart/form-data" && parameters["boundary"] != "":
		form := multipart.NewReader(body, parameters["boundary"])
		return func() (*Field, error) { return nextPart(form) }, nil
	}
	return nil, ErrNotForm
}

// nextPart reads the head of a part of multipart/form-data (RFC 7578).
func nextPart(form *multipart.Reader) (*Field, error) {
	part, err := form.NextPart()
	if err == io.EOF {
		return nil, io.EOF
	}
	if err != nil {
		return nil, fmt.Errorf("aerys: malformed form: %w", err)
	}
	return &Field{
		Name:     part.FormName(),
		Filename: part.FileName(),
		MIMEType: or(part.Header.Get("Content-Type"), "text/plain"),
		value:    part,
	}, nil
}

func (r *Request) checkFieldLimits(field *Field, count int) error {
	switch {
	case count > r.options.MaxInputVars:
		return r.input.refuse("MaxInputVars", int64(r.options.MaxInputVars))
	case len(field.Name) > r.options.MaxFieldLen:
		return r.input.refuse("MaxFieldLen", int64(r.options.MaxFieldLen))
	}
	return nil
}

// urlencoded reads application/x-www-form-urlencoded piece by piece.
type urlencoded struct {
	input   *bufio.Reader
	maxName int
	inValue bool
}

// next reads the name of the next field.
func (u *urlencoded) next() (*Field, error) {
	if _, err := io.Copy(io.Discard, u); err != nil {
		return nil, err
	}
	var name []byte
	for len(name) <= u.maxName {
		c, separator, err := u.decode()
		switch {
		case err == io.EOF && len(name) == 0, err != nil && err != io.EOF:
			return nil, err
		case separator && c == '&' && len(name) == 0: // nothing between two of them
			continue
		case err == io.EOF, separator:
			u.inValue = c == '='
			return &Field{Name: string(name), MIMEType: "text/plain", value: u}, nil
		}
		name = append(name, c)
	}
	return &Field{Name: string(name)}, nil // refused for its length
}

// Read implements io.Reader for the value of the current field.
func (u *urlencoded) Read(p []byte) (n int, err error) {
	for u.inValue && n < len(p) {
		c, separator, err := u.decode()
		switch {
		case err == io.EOF, separator && c == '&':
			u.inValue = false
		case err != nil:
			return n, err
		default:
			p[n] = c
			n++
		}
	}
	if u.inValue || n > 0 {
		return n, nil
	}
	return 0, io.EOF
}

// decode reads one byte of a name or value, or a separator.
func (u *urlencoded) decode() (c byte, separator bool, err error) {
	c, err = u.input.ReadByte()
	if c == '+' {
		return ' ', false, nil
	}
	if c != '%' {
		return c, c == '&' || c == '=', err
	}
	digits, err := u.input.Peek(2)
	if err != nil && err != io.EOF {
		return 0, false, err
	}
	value, err := strconv.ParseUint(string(digits), 16, 8)
	if err != nil || len(digits) < 2 {
		return 0, false, fmt.Errorf("aerys: malformed form: invalid escape %q", "%"+string(digits))
	}
	u.input.Discard(2)
	return byte(value), false, nil
}
