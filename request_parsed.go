package aerys

import (
	"io"
	"slices"
)

// ParsedBody is a form that was sent, held in memory. It may be kept, and read
// from many goroutines.
type ParsedBody struct {
	names  []string
	fields map[string][]File
}

// File is an uploaded file.
type File struct {
	Filename string // as the client named it, without directories
	MIMEType string // as the client says: not to be trusted
	Content  []byte
}

// ParseBody reads a form: application/x-www-form-urlencoded or
// multipart/form-data, the latter with files. Its size is limited as by
// [Request.Body], the number of fields by Options.MaxInputVars and their names
// by Options.MaxFieldLen: an error is then an ErrBodyTooLarge. Any other type
// is ErrNotForm. What was parsed once, or failed, is returned again. For what is
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
			return nil, err
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
