package form

import (
	"cmp"
	"regexp"
	"strings"
	"unicode"
)

// SafeName makes a name that a client chose one for a file of any system: what
// stands in front of the last separator, of whatever system, is left out, as are
// the dots and spaces at the end that Windows does not see; characters that it
// does not take become "_", which also stands in front of the names of its
// devices. Only "" stays "".
func SafeName(name string) string {
	if name == "" {
		return ""
	}
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	if len(name) > 1 && name[1] == ':' { // a drive
		name = name[2:]
	}
	name = strings.TrimRight(strings.Map(safeRune, strings.ToValidUTF8(name, "_")), ". ")
	if device.MatchString(name) {
		return "_" + name
	}
	return cmp.Or(name, "_")
}

func safeRune(r rune) rune {
	if unicode.IsControl(r) || strings.ContainsRune(`<>:"|?*`, r) {
		return '_'
	}
	return r
}

// device matches the names that Windows has for devices in every directory, with
// whatever extension.
var device = regexp.MustCompile(`(?i)^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\.|$)`)
