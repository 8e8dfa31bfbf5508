package spec_test

import (
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

// unshown are exported names that no program need know: package ws and the
// standard library do.
var unshown = []string{"Response.BeginHandshake", "Response.EndHandshake", "Response.Detach",
	"Response.Unwrap", "Response.FlushError", "LimitError.Unwrap", "Error.Unwrap"}

// TestEveryNameIsShown holds that each exported name of the packages that programs
// import is in an example: of the documentation, or among the programs.
func TestEveryNameIsShown(t *testing.T) {
	t.Chdir(top)
	shown := make(map[string]bool)
	for _, file := range sources(t) {
		if file.example() || strings.HasPrefix(path.Base(file.name), "example_") {
			ast.Inspect(file.File, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok {
					shown[id.Name] = true
				}
				return true
			})
		}
	}
	for _, file := range sources(t) {
		if file.test() || !slices.Contains([]string{".", "ws", "ws/frame", "static"}, file.dir) {
			continue
		}
		for _, name := range exported(file.File) {
			if !shown[name[strings.LastIndex(name, ".")+1:]] && !slices.Contains(unshown, name) {
				t.Errorf("%s: no example shows %s", file.name, name)
			}
		}
	}
}

// exported are the functions, methods, types, variables and constants of a file.
func exported(file *ast.File) (names []string) {
	for _, declaration := range file.Decls {
		switch d := declaration.(type) {
		case *ast.FuncDecl:
			switch {
			case !d.Name.IsExported():
			case d.Recv == nil:
				names = append(names, d.Name.Name)
			case ast.IsExported(receiver(d)):
				names = append(names, receiver(d)+"."+d.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					names = append(names, exportedOf(s.Name)...)
				case *ast.ValueSpec:
					names = append(names, exportedOf(s.Names...)...)
				}
			}
		}
	}
	return names
}

func exportedOf(ids ...*ast.Ident) (names []string) {
	for _, id := range ids {
		if id.IsExported() {
			names = append(names, id.Name)
		}
	}
	return names
}
