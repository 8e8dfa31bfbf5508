// Package form reads the fields of a form one after another, as they arrive.
package form

import (
	"bufio"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"strconv"
)

// Field is one field of a form. Its value is to be read before the next field is
// asked for; what is left of it is skipped.
type Field struct {
	Name     string
	Filename string // by SafeName; "" when it is no file
	MIMEType string // as the client says; text/plain when it does not
	Value    io.Reader
}

// plain is the type of a value that names none.
const plain = "text/plain"

// Fields returns what reads one field after the other, until io.EOF, or nil if
// contentType is none of a form. Of a name that is longer than maxName it reads
// one byte more, and no value.
func Fields(contentType string, body io.Reader, maxName int) (next func() (Field, error)) {
	media, parameters, err := mime.ParseMediaType(contentType)
	switch {
	case err == nil && media == "application/x-www-form-urlencoded":
		return (&urlencoded{input: bufio.NewReader(body), maxName: maxName}).next
	case err == nil && media == "multipart/form-data" && parameters["boundary"] != "":
		parts := multipart.NewReader(body, parameters["boundary"])
		return func() (Field, error) { return nextPart(parts) }
	}
	return nil
}

// nextPart reads the head of a part of multipart/form-data (RFC 7578).
func nextPart(parts *multipart.Reader) (f Field, err error) {
	part, err := parts.NextPart()
	if err == io.EOF {
		return f, io.EOF
	}
	if err != nil {
		return f, fmt.Errorf("aerys: malformed form: %w", err)
	}
	f = Field{part.FormName(), SafeName(part.FileName()), part.Header.Get("Content-Type"), part}
	if f.MIMEType == "" {
		f.MIMEType = plain
	}
	return f, nil
}

// urlencoded reads application/x-www-form-urlencoded piece by piece.
type urlencoded struct {
	input   *bufio.Reader
	maxName int
	inValue bool
}

// next reads the name of the next field.
func (u *urlencoded) next() (f Field, err error) {
	if _, err := io.Copy(io.Discard, u); err != nil {
		return f, err
	}
	var name []byte
	for len(name) <= u.maxName {
		c, separator, err := u.decode()
		switch {
		case err == io.EOF && len(name) == 0, err != nil && err != io.EOF:
			return f, err
		case separator && c == '&' && len(name) == 0: // nothing between two of them
			continue
		case err == io.EOF, separator:
			u.inValue = c == '='
			return Field{Name: string(name), MIMEType: plain, Value: u}, nil
		}
		name = append(name, c)
	}
	return Field{Name: string(name)}, nil // too long
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

// decode reads one byte of a name or value, or a separator. A percent sign that
// begins no escape stands for itself (URL Standard, percent-decoding).
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
		return '%', false, nil
	}
	u.input.Discard(2)
	return byte(value), false, nil
}
