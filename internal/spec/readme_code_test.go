package spec_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What the README shows and names is there, compiles, and has the numbers that
// it says.

// TestReadmeGo compiles all Go of the README as if it were directories under example:
// each program, and what is no program as one package, in which later pieces may
// use what earlier ones declare.
func TestReadmeGo(t *testing.T) {
	t.Chdir(top)
	files := map[string]string{"snippets/prelude.go": prelude, "snippets/dist/index.html": ""}
	for i, code := range blocks(read(t, "README.md"), "go") {
		switch {
		case strings.HasPrefix(code, "package main\n"):
			files[fmt.Sprintf("program%d/main.go", i)] = code
		case strings.Contains(code, "autocert."):
			partOf(t, code, read(t, "example/autocert/main.go"))
		default:
			files[fmt.Sprintf("snippets/snippet%d.go", i)] = inPackage(code)
		}
	}
	compiles(t, files)
}

// TestPackageDocs compiles the programs that the documentation of packages begins with.
func TestPackageDocs(t *testing.T) {
	t.Chdir(top)
	files := make(map[string]string)
	for _, dir := range []string{".", "ws", "static"} {
		doc := ""
		for _, file := range sources(t) {
			if file.dir == dir && file.Doc != nil && !file.test() {
				doc = file.Doc.Text()
			}
		}
		program := regexp.MustCompile(`(?s)\n\tpackage main\n(?:\t[^\n]*\n|\n)+`).FindString(doc)
		if program == "" {
			t.Errorf("the documentation of %s shows no program", dir)
			continue
		}
		files["doc"+strings.Trim(dir, ".")+"/main.go"] = strings.ReplaceAll(program, "\n\t", "\n")
	}
	compiles(t, files)
}

// blocks are the fenced ones of a language.
func blocks(text, language string) (code []string) {
	for _, block := range regexp.MustCompile("(?s)\n```"+language+"\n(.*?)```").FindAllStringSubmatch(text, -1) {
		code = append(code, block[1])
	}
	return code
}

// partOf compares code with a program of another module, whatever its indentation.
func partOf(t *testing.T, code, program string) {
	t.Helper()
	unindented := regexp.MustCompile(`(?m)^\s+`)
	if !strings.Contains(unindented.ReplaceAllString(program, ""), unindented.ReplaceAllString(code, "")) {
		t.Errorf("the example does not have\n%s", code)
	}
}

// prelude is what a reader of the README thinks of.
const prelude = `package main

import "aerys"

func home(*aerys.Request, *aerys.Response)     {}
func showUser(*aerys.Request, *aerys.Response) {}
func guard(*aerys.Request, *aerys.Response)    {}
func main()                                    {}
`

// packages are those that the README's code uses, by the names that it does.
var packages = []string{"aerys", "aerys/static", "aerys/ws", "embed", "errors", "fmt", "html", "io", "io/fs", "log", "log/slog",
	"net/http", "net/http/httptest", "net/netip", "os", "testing", "time"}

// inPackage makes a file of declarations, or of statements.
func inPackage(code string) string {
	if !regexp.MustCompile(`^(func|type|var|const|//go:embed) ?`).MatchString(code) {
		for _, defined := range regexp.MustCompile(`(?m)^(\w+)(?:, (\w+))* :=`).FindAllStringSubmatch(code, -1) {
			code += "_ = " + defined[1] + "\n"
		}
		code = "func _(host *aerys.Host, router *aerys.Routes, endpoint *ws.Endpoint, id ws.ClientID) {\n{\n" + code + "}\n}\n"
	}
	text := "package main\n\n"
	for _, name := range packages {
		if regexp.MustCompile(`\b` + name[strings.LastIndex(name, "/")+1:] + `\.`).MatchString(code) {
			text += fmt.Sprintf("import %q\n", name)
		}
	}
	return text + code
}

// compiles builds files that are not there, below a directory of example.
func compiles(t *testing.T, files map[string]string) {
	t.Helper()
	dir, overlaid, dirs := t.TempDir(), make(map[string]string), []string{"build"}
	for name, text := range files {
		here, err := filepath.Abs(filepath.Join("example/readme", name))
		if err != nil {
			t.Fatal(err)
		}
		there := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		if err := os.WriteFile(there, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		overlaid[here] = there
		if strings.HasSuffix(name, ".go") {
			dirs = append(dirs, "./readme/"+filepath.ToSlash(filepath.Dir(name)))
		}
	}
	replace, _ := json.Marshal(map[string]any{"Replace": overlaid})
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, replace, 0o600); err != nil {
		t.Fatal(err)
	}
	slices.Sort(dirs[1:])
	command := exec.Command("go", slices.Insert(slices.Compact(dirs), 1, "-overlay", overlay)...)
	command.Dir = "example"
	if output, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

// TestReadingOrder holds that the README's ways through the code lead along what
// there is: ten stops each.
func TestReadingOrder(t *testing.T) {
	t.Chdir(top)
	stops := regexp.MustCompile("(?m)^\\| (\\d+) \\| `([^`]+)` \\| `([^`]+)` \\| (\\d{4} §[^|]+) \\| [^|]+ \\|$").FindAllStringSubmatch(read(t, "README.md"), -1)
	if len(stops) != 20 {
		t.Errorf("there are %d stops, want 20", len(stops))
	}
	for i, stop := range stops {
		if want := fmt.Sprint(i%10 + 1); stop[1] != want {
			t.Errorf("stop %s is number %s of its way", stop[1], want)
		}
		file, err := parser.ParseFile(token.NewFileSet(), stop[2], nil, 0)
		if err != nil {
			t.Error(err)
		} else if !slices.ContainsFunc(file.Decls, func(d ast.Decl) bool { return nameOf(d) == stop[3] }) {
			t.Errorf("%s has no %s", stop[2], stop[3])
		}
	}
}

// nameOf is a function's name, with its receiver's, as Go's own tools write it.
func nameOf(declaration ast.Decl) string {
	f, ok := declaration.(*ast.FuncDecl)
	if !ok || f.Recv == nil {
		if ok {
			return f.Name.Name
		}
		return ""
	}
	if _, pointer := f.Recv.List[0].Type.(*ast.StarExpr); pointer {
		return "(*" + receiver(f) + ")." + f.Name.Name
	}
	return receiver(f) + "." + f.Name.Name
}

// TestLimits compares the README's table of limits with the options: each that is
// a number or a time has its row, with the default that its comment has.
func TestLimits(t *testing.T) {
	t.Chdir(top)
	text := read(t, "README.md")
	for _, name := range []string{"host_options.go", "ws/options.go", "static/options.go"} {
		for option, comment := range limits(t, name) {
			row := regexp.MustCompile("(?m)^\\| `" + option + "` \\| ([^|]+) \\|").FindStringSubmatch(text)
			if row == nil {
				t.Errorf("%s: %s has no row", name, option)
				continue
			}
			defaults := regexp.MustCompile(`(?s)Defaults?\s+([^;:,]+?)(?:[.;:,]\s|\.$|\s+and (\S+)\.)`).FindStringSubmatch(comment)
			if defaults == nil {
				continue // the comment tells how it is found
			}
			want := strings.Trim(strings.Join(strings.Fields(defaults[1]), " "), `"`)
			if option == "MaxQueuedMessages" {
				want = defaults[2]
			}
			if !strings.HasPrefix(row[1], want) {
				t.Errorf("%s: %s is %q in the README, and %q in its comment", name, option, row[1], want)
			}
		}
	}
}

// limits are the options of a file that are numbers or times, with their comments.
func limits(t *testing.T, name string) map[string]string {
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	found, comment := make(map[string]string), ""
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok && spec.Name.Name != "Options" {
			return false
		}
		field, ok := n.(*ast.Field)
		if !ok || len(field.Names) == 0 || !field.Names[0].IsExported() {
			return true
		}
		if field.Doc != nil {
			comment = field.Doc.Text() // of both, where two share one
		}
		switch kind := field.Type.(type) {
		case *ast.Ident:
			if kind.Name == "int" || kind.Name == "int64" {
				found[field.Names[0].Name] = comment
			}
		case *ast.SelectorExpr:
			if kind.Sel.Name == "Duration" {
				found[field.Names[0].Name] = comment
			}
		}
		return true
	})
	return found
}

// mostInExample is how many lines of code, without blanks and comments, an example
// has that is to be read whole.
const mostInExample = 200

// TestExamples holds that each program under example can be read whole, listens
// where it is told to, has a test, and is in the README.
func TestExamples(t *testing.T) {
	t.Chdir(top)
	programs, err := filepath.Glob("example/*/main.go")
	if err != nil {
		t.Fatal(err)
	}
	readme := read(t, "README.md")
	for _, program := range programs {
		dir, lines := filepath.ToSlash(filepath.Dir(program)), 0
		if !strings.Contains(readme, dir+"` |") {
			t.Errorf("README.md has no row for %s", dir)
		}
		if dir == "example/versus" {
			continue
		}
		files, _ := filepath.Glob(dir + "/*.go")
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				lines += codeLines(read(t, file))
			}
		}
		if lines > mostInExample {
			t.Errorf("%s has %d lines of code, want %d at most", dir, lines, mostInExample)
		}
		if _, err := os.Stat(dir + "/main_test.go"); err != nil {
			t.Error(err)
		}
		// The handshake is the README's word: it listens on port 1337.
		if !strings.Contains(read(t, program), `("addr", "`) && dir != "example/handshake" {
			t.Errorf("%s has no -addr", dir)
		}
	}
}
