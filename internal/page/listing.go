package page

import (
	"bytes"
	_ "embed" // for the page
	"fmt"
	"html/template"
	"time"
)

//go:embed listing.html
var listingPage string

var listing = template.Must(template.New("listing").Parse(listingPage))

// Listing is what a directory has in it.
type Listing struct {
	Title   string
	Way     []Entry // from the root to here
	Entries []Entry
	More    int // entries that are left out
}

// Entry is an entry of a directory, or a directory on the way to it.
type Entry struct {
	Name, URL string
	Bytes     int64 // of a file
	Directory bool
	Modified  time.Time
}

// HTML renders the listing.
func (l *Listing) HTML() ([]byte, error) {
	var buffer bytes.Buffer
	err := listing.Execute(&buffer, l)
	return buffer.Bytes(), err
}

// Size is a file's size as people write it, and empty of a directory.
func (e Entry) Size() string {
	switch {
	case e.Directory:
		return ""
	case e.Bytes < 1000:
		return fmt.Sprint(e.Bytes, " B")
	}
	value, unit := float64(e.Bytes)/1000, 0
	for value >= 999.5 {
		value, unit = value/1000, unit+1
	}
	if value < 9.95 {
		return fmt.Sprintf("%.1f %cB", value, "kMGTPE"[unit])
	}
	return fmt.Sprintf("%.0f %cB", value, "kMGTPE"[unit])
}
