package form

import "testing"

func TestSafeName(t *testing.T) {
	for name, want := range map[string]string{
		"":                       "",
		"x.png":                  "x.png",
		"Grüße an Ж 🙂.txt":       "Grüße an Ж 🙂.txt",
		"a b (1).tar.gz":         "a b (1).tar.gz",
		".profile":               ".profile",
		"../../etc/passwd":       "passwd",
		`..\..\autoexec.bat`:     "autoexec.bat",
		`C:\Users\me\x.png`:      "x.png",
		"C:x.png":                "x.png",
		`\\server\share\x.png`:   "x.png",
		"x/":                     "_",
		".":                      "_",
		"..":                     "_",
		`a\..`:                   "_",
		"C:":                     "_",
		"...":                    "_",
		"x.exe. . ":              "x.exe",
		"x.txt:stream":           "x.txt_stream",
		"a\x00b\r\nc\x7f\u0085d": "a_b__c__d",
		`<a>"b"|c?*`:             "_a__b__c__",
		"a\xffb":                 "a_b",
		"con":                    "_con",
		"NUL.txt":                "_NUL.txt",
		"aux .tar.gz":            "_aux .tar.gz",
		"Com1":                   "_Com1",
		"LPT³.x":                 "_LPT³.x",
		"CONIN$":                 "_CONIN$",
		"nul.":                   "_nul",
		"console":                "console",
		"com10":                  "com10",
		"nullable.go":            "nullable.go",
	} {
		if got := SafeName(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
		if again := SafeName(want); again != want {
			t.Errorf("%q: %q the second time", want, again)
		}
	}
}
