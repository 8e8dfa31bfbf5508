package form

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

const (
	urlencodedType = "application/x-www-form-urlencoded; charset=utf-8"
	multipartType  = "multipart/form-data; boundary=b"
)

func TestFields(t *testing.T) {
	const parts = "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n" +
		"--b\r\nContent-Disposition: form-data; name=f; filename=\"d/x.png\"\r\nContent-Type: image/png\r\n\r\nPNG\r\n--b--\r\n"
	for _, test := range []struct {
		name, contentType, body, want string
	}{
		{"pairs", urlencodedType, "a=1&b=2", "a=1 b=2 "},
		{"escaped", urlencodedType, "a%20b+c=%26%3D+%C3%BC", "a b c=&= ü "},
		{"without values", urlencodedType, "a&b=&=c", "a= b= =c "},
		{"nothing between", urlencodedType, "&&a=1&", "a=1 "},
		{"an = in a value", urlencodedType, "a=1=2", "a=1=2 "},
		{"nothing", urlencodedType, "", ""},
		{"a bad escape", urlencodedType, "a=1&b=100%&%=%zz&c=%2&d=%%41%4", "a=1 b=100% %=%zz c=%2 d=%A%4 "},
		{"half an escape", urlencodedType, "a%2", "a%2= "},
		{"a name too long", urlencodedType, "a=1&" + strings.Repeat("n", 30) + "=2", "a=1 nnnnnnnnnnnnnnnnnnnnn= "},
		{"parts", multipartType, parts, "a=1 f(x.png image/png)=PNG "},
		{"a part that is cut off", multipartType, parts[:len(parts)-7], "a=1 f(x.png image/png)=PNG unexpected EOF"},
		{"no part", multipartType, "x", "aerys: malformed form: multipart: NextPart: EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := all(Fields(test.contentType, iotest.OneByteReader(strings.NewReader(test.body)), 20)); got != test.want {
				t.Errorf("got %q\nwant %q", got, test.want)
			}
		})
	}
}

// all writes down the fields, and the error behind them.
func all(next func() (Field, error)) (seen string) {
	for {
		f, err := next()
		switch {
		case err == io.EOF:
			return seen
		case err != nil:
			return seen + err.Error()
		}
		seen += f.Name
		if f.Filename != "" {
			seen += fmt.Sprintf("(%s %s)", f.Filename, f.MIMEType)
		}
		seen += "="
		if f.Value != nil {
			value, err := io.ReadAll(f.Value)
			if seen += string(value) + " "; err != nil {
				return seen + err.Error()
			}
		} else {
			return seen + " "
		}
	}
}

// What a reader leaves of a value is skipped.
func TestValuesAreSkipped(t *testing.T) {
	next := Fields(urlencodedType, strings.NewReader("a=123&b=2"), 20)
	for _, name := range []string{"a", "b"} {
		if f, err := next(); f.Name != name || err != nil {
			t.Errorf("%q, %v", f.Name, err)
		}
	}
	if _, err := next(); err != io.EOF {
		t.Error(err)
	}
}

func TestOtherTypes(t *testing.T) {
	for _, contentType := range []string{"", "text/plain", "multipart/form-data", "multipart/mixed; boundary=b", "a/"} {
		if Fields(contentType, nil, 0) != nil {
			t.Errorf("%q is none of a form", contentType)
		}
	}
}

func TestBodyFails(t *testing.T) {
	fault := errors.New("the network is down")
	for _, contentType := range []string{urlencodedType, multipartType} {
		next := Fields(contentType, iotest.ErrReader(fault), 20)
		if _, err := next(); !errors.Is(err, fault) {
			t.Errorf("%s: %v", contentType, err)
		}
	}
}
