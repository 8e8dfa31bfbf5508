package spec_test

import (
	"go/ast"
	"go/build"
	"go/importer"
	"go/scanner"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mostInCircle is how many files may use each other, so that none of them can be
// read alone.
const mostInCircle = 6

func TestCircles(t *testing.T) {
	t.Chdir(top)
	exports := exportData(t)
	for dir, files := range byPackage(t) {
		uses := fileUses(t, exports, dir, files)
		for _, circle := range circles(uses) {
			if len(circle) > mostInCircle {
				t.Errorf("%s: %d files use each other, want %d at most: %s", dir, len(circle), mostInCircle, strings.Join(circle, " "))
			}
		}
	}
}

// Bounds in lines: of a function, of all functions on average, and of the whole
// library without blanks and comments, for all systems: who adds takes away.
const (
	mostInFunction = 45
	mostOnAverage  = 11
	mostInAll      = 20_000
)

func TestFunctionsAreShort(t *testing.T) {
	t.Chdir(top)
	functions, lines := 0, 0
	for _, file := range sources(t) {
		if file.example() || file.test() {
			continue
		}
		for _, declaration := range file.Decls {
			if f, ok := declaration.(*ast.FuncDecl); ok {
				n := file.line(f.End()) - file.line(f.Pos()) + 1
				functions, lines = functions+1, lines+n
				if n > mostInFunction {
					t.Errorf("%s: %s has %d lines, want %d at most", file.name, f.Name.Name, n, mostInFunction)
				}
			}
		}
	}
	if lines > mostOnAverage*functions {
		t.Errorf("%d functions have %d lines, want %d on average at most", functions, lines, mostOnAverage)
	}
}

func TestLibraryIsSmall(t *testing.T) {
	t.Chdir(top)
	all := 0
	for _, file := range sources(t) {
		if !file.example() && !file.test() {
			all += codeLines(read(t, file.name))
		}
	}
	t.Logf("%d lines of code", all)
	if all > mostInAll {
		t.Errorf("the library has %d lines of code, want %d at most", all, mostInAll)
	}
}

// codeLines counts the lines that hold more than comments.
func codeLines(text string) int {
	file := token.NewFileSet().AddFile("", -1, len(text))
	var s scanner.Scanner
	s.Init(file, []byte(text), nil, 0)
	lines := map[int]bool{}
	for {
		at, what, literal := s.Scan()
		switch {
		case what == token.EOF:
			return len(lines)
		case what == token.SEMICOLON && literal == "\n":
			continue // which nobody wrote
		}
		for i := range strings.Count(literal, "\n") + 1 {
			lines[file.Line(at)+i] = true
		}
	}
}

// byPackage returns the source files of the library that this system compiles.
func byPackage(t *testing.T) map[string][]source {
	packages := map[string][]source{}
	for _, file := range sources(t) {
		if file.example() || file.test() {
			continue
		}
		if match, err := build.Default.MatchFile(file.dir, filepath.Base(file.name)); err != nil {
			t.Fatal(err)
		} else if match {
			packages[file.dir] = append(packages[file.dir], file)
		}
	}
	return packages
}

// exportData returns the files that say what each package exports.
func exportData(t *testing.T) map[string]string {
	command := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", "./...")
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for line := range strings.Lines(string(output)) {
		name, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		files[name] = file
	}
	return files
}

// fileUses returns which files of a package mention names, methods and fields
// that others declare.
func fileUses(t *testing.T, exports map[string]string, dir string, files []source) map[string][]string {
	positions := files[0].positions
	info := types.Info{Uses: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: importer.ForCompiler(positions, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })}
	var trees []*ast.File
	for _, file := range files {
		trees = append(trees, file.File)
	}
	here, err := config.Check(dir, positions, trees, &info)
	if err != nil {
		t.Fatal(err)
	}
	in := func(at token.Pos) string { return filepath.Base(positions.Position(at).Filename) }
	uses := map[string][]string{}
	for mention, object := range info.Uses {
		user, used := in(mention.Pos()), in(object.Pos())
		if object.Pkg() == here && user != used && !slices.Contains(uses[user], used) {
			uses[user] = append(uses[user], used)
		}
	}
	return uses
}

// circles returns the groups of files from each of which a way leads to all
// others of it.
func circles(uses map[string][]string) (groups [][]string) {
	reached := map[string]map[string]bool{}
	for file := range uses {
		reached[file] = map[string]bool{}
		for ways := uses[file]; len(ways) > 0; ways = ways[1:] {
			if next := ways[0]; !reached[file][next] {
				reached[file][next] = true
				ways = append(ways, uses[next]...)
			}
		}
	}
	grouped := map[string]bool{}
	for _, file := range slices.Sorted(maps.Keys(uses)) {
		if grouped[file] {
			continue
		}
		var group []string
		for other := range reached[file] {
			if reached[other][file] {
				group, grouped[other] = append(group, other), true
			}
		}
		if len(group) > 1 {
			slices.Sort(group)
			groups = append(groups, group)
		}
	}
	return groups
}
