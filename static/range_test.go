package static

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"testing"
)

// RFC 9110 §14: the file has 10 bytes, 0123456789.
func TestRanges(t *testing.T) {
	dir := tree(t, map[string]string{"ten": "0123456789", "zero": ""})
	rows := []row{
		{"GET /ten\nRange: bytes=0-0", 206, "Content-Range: bytes 0-0/10\nContent-Length: 1", "0"},
		{"GET /ten\nRange: bytes=1-2", 206, "Content-Range: bytes 1-2/10\nAccept-Ranges: bytes", "12"},
		{"GET /ten\nRange: bytes=8-", 206, "Content-Range: bytes 8-9/10", "89"},
		{"GET /ten\nRange: bytes=0-", 206, "Content-Range: bytes 0-9/10", "0123456789"},
		{"GET /ten\nRange: bytes=5-99", 206, "Content-Range: bytes 5-9/10", "56789"},
		{"GET /ten\nRange: bytes=5-99999999999999999999999", 206, "Content-Range: bytes 5-9/10", "56789"},
		{"GET /ten\nRange: bytes=-1", 206, "Content-Range: bytes 9-9/10", "9"},
		{"GET /ten\nRange: bytes=-3", 206, "Content-Range: bytes 7-9/10", "789"},
		{"GET /ten\nRange: bytes=-99", 206, "Content-Range: bytes 0-9/10", "0123456789"},
		{"GET /ten\nRange: Bytes= 1-1 ,\t", 206, "Content-Range: bytes 1-1/10", "1"},
		{"GET /ten\nRange: bytes=20-,1-1", 206, "Content-Range: bytes 1-1/10", "1"},

		{"GET /ten\nRange: bytes=10-", 416, "Content-Range: bytes */10\nCache-Control:\nAccept-Ranges:", "*"},
		{"GET /ten\nRange: bytes=10-20,30-", 416, "Content-Range: bytes */10", "*"},
		{"GET /ten\nRange: bytes=-0", 416, "Content-Range: bytes */10", "*"},
		{"GET /ten\nRange: bytes=99999999999999999999999-", 416, "Content-Range: bytes */10", "*"},

		{"GET /zero\nRange: bytes=0-", 200, "Content-Range:\nContent-Length: 0", ""},
		{"GET /zero\nRange: bytes=0-99", 200, "Content-Range:", ""},
		{"GET /zero\nRange: bytes=-5", 200, "Content-Range:", ""},
		{"GET /zero\nRange: bytes=5-9,-0", 200, "Content-Range:", ""},
		{"GET /ten\nRange: bytes=2-1", 200, "Content-Range:", "0123456789"},
		{"GET /ten\nRange: bytes=a-b", 200, "", "0123456789"},
		{"GET /ten\nRange: bytes=-", 200, "", "0123456789"},
		{"GET /ten\nRange: bytes=--1", 200, "", "0123456789"},
		{"GET /ten\nRange: bytes=1", 200, "", "0123456789"},
		{"GET /ten\nRange: bytes=+1-2", 200, "", "0123456789"},
		{"GET /ten\nRange: bytes=", 200, "", "0123456789"},
		{"GET /ten\nRange: lines=1-2", 200, "", "0123456789"},
		{"GET /ten\nRange: 1-2", 200, "", "0123456789"},
		{"GET /ten\nRange: bytes=0-0\nRange: bytes=1-1", 200, "", "0123456789"},
		{"GET /ten\nRange: bytes=0-9,0-0", 200, "", "0123456789"},
		{"GET /ten\nRange: bytes=" + strings.Repeat("20-,", 16) + "1-1", 200, "", "0123456789"},
		{"GET /ten\nRange: bytes=" + strings.Repeat("20-,", 15) + "1-1", 206, "", "1"},
	}
	for _, options := range []Options{{}, {BufferedFileMaxCount: -1}} {
		check(t, serve(t, Root(dir, options)), rows)
	}
}

func TestMultipart(t *testing.T) {
	dir := tree(t, map[string]string{"ten.html": "0123456789"})
	for _, options := range []Options{{}, {BufferedFileMaxCount: -1}} {
		got := ask(t, serve(t, Root(dir, options)), "GET /ten.html\nRange: bytes=7-, 0-1,-1,99-")
		media, parameters, err := mime.ParseMediaType(got.Header.Get("Content-Type"))
		if got.StatusCode != 206 || media != "multipart/byteranges" || err != nil || got.Header["Content-Range"] != nil {
			t.Fatalf("status %d, header %v", got.StatusCode, got.Header)
		}
		if got.ContentLength != int64(len(got.body)) {
			t.Errorf("Content-Length %d, body of %d", got.ContentLength, len(got.body))
		}
		parts, list := multipart.NewReader(strings.NewReader(got.body), parameters["boundary"]), ""
		for {
			part, err := parts.NextRawPart()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(part)
			list += fmt.Sprint(part.Header.Get("Content-Range"), " ", part.Header.Get("Content-Type"), " ", string(body), "\n")
		}
		const kind = " text/html; charset=utf-8 "
		if list != "bytes 7-9/10"+kind+"789\nbytes 0-1/10"+kind+"01\nbytes 9-9/10"+kind+"9\n" {
			t.Errorf("parts:\n%s", list)
		}
	}
}

// A file that cannot seek has ranges only in memory.
func TestSequentialFile(t *testing.T) {
	var archive bytes.Buffer
	writer := zip.NewWriter(&archive)
	file, _ := writer.CreateHeader(&zip.FileHeader{Name: "ten", Modified: changed, Method: zip.Deflate})
	io.WriteString(file, "0123456789")
	writer.Close()
	reader, err := zip.NewReader(bytes.NewReader(archive.Bytes()), int64(archive.Len()))
	if err != nil {
		t.Fatal(err)
	}
	check(t, serve(t, FS(reader)), []row{{"GET /ten\nRange: bytes=1-2", 206, "", "12"}})
	check(t, serve(t, FS(reader, Options{BufferedFileMaxCount: -1})), []row{
		{"GET /ten", 200, "Content-Length: 10", "0123456789"},
		{"GET /ten\nRange: bytes=1-2", 200, "Content-Range:", "0123456789"},
	})
}
