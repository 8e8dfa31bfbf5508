package spec_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// top is where the module is.
const top = "../.."

// imports says what each package of the library may import of the others.
// Nobody imports anything else but the standard library, and example programs
// import what they like of both.
var imports = map[string][]string{
	".":                          {"aerys/internal/compress", "aerys/internal/field", "aerys/internal/form", "aerys/internal/http1", "aerys/internal/listen", "aerys/internal/loop", "aerys/internal/outlet", "aerys/internal/page", "aerys/internal/pattern", "aerys/internal/serve"},
	"internal/loop":              nil,
	"internal/loop/looptest":     {"aerys/internal/loop"}, // of tests
	"internal/compress":          {"aerys/internal/field"},
	"internal/listen":            {"aerys/internal/punycode"},
	"internal/punycode":          nil,
	"internal/form":              nil,
	"internal/page":              {"aerys/internal/field"},
	"internal/field":             nil,
	"internal/pattern":           nil,
	"internal/http1":             {"aerys/internal/loop"},
	"internal/serve":             {"aerys/internal/http1", "aerys/internal/listen", "aerys/internal/loop", "aerys/internal/page"},
	"internal/outlet":            {"aerys/internal/http1", "aerys/internal/loop"},
	"internal/spec":              nil, // of tests
	"ws/frame":                   nil,
	"ws":                         {"aerys", "aerys/internal/field", "aerys/internal/loop", "aerys/internal/outlet", "aerys/ws/frame", "aerys/ws/internal/deflate"},
	"ws/internal/deflate":        {"aerys/internal/field", "aerys/ws/frame"},
	"ws/xconnect":                {"aerys/internal/serve", "aerys/ws/xconnect/internal/early"},
	"ws/xconnect/internal/early": nil,
	"static":                     {"aerys", "aerys/internal/field", "aerys/internal/page"},
}

func TestImports(t *testing.T) {
	t.Chdir(top)
	for _, file := range sources(t) {
		for _, spec := range file.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			if why := forbidden(file, imported); why != "" {
				t.Errorf("%s imports %q: %s", file.name, imported, why)
			}
		}
	}
}

// forbidden says why a file must not import a package, or "".
func forbidden(file source, imported string) string {
	first, _, _ := strings.Cut(imported, "/")
	allowed, known := imports[file.dir]
	switch {
	case imported == "unsafe" || imported == "C":
		return "there is none of it here"
	case strings.Contains(first, "."):
		return "there is only the standard library"
	case file.example() || file.test():
		return ""
	case !known:
		return "say in this test what package " + file.dir + " may import"
	case first == "aerys" && !slices.Contains(allowed, imported):
		return "this turns the import graph around"
	case file.dir == "ws/frame" && first == "net":
		return "framing knows no network"
	}
	return ""
}

// TestNothingRunsUnasked: an import alone does nothing, but for that whose name says
// so.
func TestNothingRunsUnasked(t *testing.T) {
	t.Chdir(top)
	for _, file := range sources(t) {
		if strings.HasPrefix(file.dir, "ws/xconnect") {
			continue
		}
		for _, declaration := range file.Decls {
			if f, ok := declaration.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s has an init function", file.name)
			}
		}
	}
	walk(t, func(name string) {
		if slices.Contains([]string{".s", ".c", ".h", ".cc", ".syso"}, path.Ext(name)) {
			t.Errorf("%s: everything is written in Go", name)
		}
	})
}

func TestExportedNamesAreDocumented(t *testing.T) {
	t.Chdir(top)
	for _, file := range sources(t) {
		if file.example() || file.test() {
			continue
		}
		for _, declaration := range file.Decls {
			for _, name := range undocumented(declaration) {
				t.Errorf("%s: %s has no comment", file.name, name)
			}
		}
	}
}

// undocumented returns the exported names that a declaration leaves unexplained.
func undocumented(declaration ast.Decl) (names []string) {
	switch d := declaration.(type) {
	case *ast.FuncDecl:
		if d.Name.IsExported() && d.Doc == nil && (d.Recv == nil || ast.IsExported(receiver(d))) {
			names = append(names, d.Name.Name)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && d.Doc == nil && s.Doc == nil {
					names = append(names, s.Name.Name)
				}
			case *ast.ValueSpec:
				if s.Names[0].IsExported() && d.Doc == nil && s.Doc == nil && s.Comment == nil {
					names = append(names, s.Names[0].Name)
				}
			}
		}
	}
	return names
}

// receiver returns the name of a method's type.
func receiver(method *ast.FuncDecl) string {
	of := method.Recv.List[0].Type
	if pointer, ok := of.(*ast.StarExpr); ok {
		of = pointer.X
	}
	if generic, ok := of.(*ast.IndexExpr); ok {
		of = generic.X
	}
	return of.(*ast.Ident).Name
}

func TestModuleRequiresNothing(t *testing.T) {
	t.Chdir(top)
	if got, want := read(t, "go.mod"), "module aerys\n\ngo 1.24.2\n"; got != want {
		t.Errorf("go.mod is %q, want %q", got, want)
	}
	if _, err := os.Stat("go.sum"); err == nil {
		t.Error("there is a go.sum")
	}
}

// TestNoTemplates: whatever uses text/template makes the linker keep every exported
// method, as a template might call it: 1.7 MB of a small program.
func TestNoTemplates(t *testing.T) {
	t.Chdir(top)
	output, err := exec.Command("go", "list", "-deps", ".", "./ws", "./static").Output()
	if err != nil {
		t.Fatal(err)
	}
	dependencies := strings.Fields(string(output))
	for _, heavy := range []string{"html/template", "text/template"} {
		if slices.Contains(dependencies, heavy) {
			t.Errorf("the library depends on %s", heavy)
		}
	}
	if !slices.Contains(dependencies, "aerys/internal/page") {
		t.Error("the dependencies are", dependencies)
	}
}

// rooms are the source files at the top level.
var rooms = []string{"doc.go", "router.go", "host.go", "host_action.go", "host_options.go", "host_server.go", "middleware.go",
	"request.go", "request_body.go", "response.go", "response_write.go"}

func TestTopLevel(t *testing.T) {
	t.Chdir(top)
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	known := regexp.MustCompile(`^(\..*|(bench|example)_test\.go|go\.mod|README\.md|LICENSE|ws|static|example|internal|vendor|.*\.(out|test|prof))$`)
	for _, entry := range entries {
		name := entry.Name()
		if tests, ok := strings.CutSuffix(name, "_test.go"); ok && !slices.Contains([]string{"bench", "example"}, tests) {
			name = strings.TrimSuffix(tests, "_linux") + ".go" // they are of that file
		}
		if !slices.Contains(rooms, name) && !known.MatchString(name) {
			t.Errorf("%s has no place at the top level", entry.Name())
		}
	}
}

// mostLines is how long a file may be that is to be read from top to bottom, and
// mostTestLines one whose tables are looked up.
const mostLines, mostTestLines = 500, 800

func TestFilesAreShort(t *testing.T) {
	t.Chdir(top)
	for _, file := range sources(t) {
		most := mostLines
		if file.test() {
			most = mostTestLines
		}
		if n := strings.Count(read(t, file.name), "\n"); n > most {
			t.Errorf("%s has %d lines, want %d at most", file.name, n, most)
		}
	}
}

// source is a Go file of this module.
type source struct {
	*ast.File
	positions *token.FileSet
	name, dir string // from the module's root, with slashes
}

func (s source) line(at token.Pos) int { return s.positions.Position(at).Line }

func (s source) test() bool    { return strings.HasSuffix(s.name, "_test.go") }
func (s source) example() bool { return strings.HasPrefix(s.name, "example/") }

// sources parses all files, also those for other systems.
func sources(t *testing.T) (files []source) {
	positions := token.NewFileSet()
	walk(t, func(name string) {
		if path.Ext(name) != ".go" {
			return
		}
		file, err := parser.ParseFile(positions, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, source{file, positions, name, path.Dir(name)})
	})
	return files
}

// walk visits the files of this module, but not those of modules inside it.
func walk(t *testing.T, visit func(name string)) {
	root := os.DirFS(".")
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			if err == nil {
				visit(name)
			}
			return err
		}
		_, other := fs.Stat(root, path.Join(name, "go.mod"))
		if name != "." && (other == nil || entry.Name()[0] == '.' || entry.Name() == "vendor" || entry.Name() == "testdata") {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
