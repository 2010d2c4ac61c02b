// Package optionuse finds which fields of a struct the functions of a program read,
// by following references from one function to the next in the source. It is for
// tests, which compare what a command reads with what it declares; it must not know
// what the fields mean.
package optionuse

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

// Program is the type-checked source of a set of packages.
type Program struct {
	pkgs    []*packages.Package
	nodes   map[types.Object]*node
	methods map[string][]*types.Func // concrete methods by name
	fields  map[types.Object]string  // of the struct in question
	lookups []string                 // methods of the struct that take a field's name
}

// node is a function or a package variable, with what its source refers to.
type node struct {
	reads map[string]token.Position
	calls []types.Object
}

// Load type-checks the packages that match the patterns, as seen from dir. structType
// is the struct whose fields count, as import path and name ("example.com/p.Config").
// lookups are methods of it whose first argument, if constant, names what they read.
func Load(dir, structType string, lookups []string, patterns ...string) (*Program, error) {
	cfg := &packages.Config{
		Dir: dir,
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedImports | packages.NeedDeps |
			packages.NeedTypes | packages.NeedTypesInfo | packages.NeedSyntax | packages.NeedExportFile,
	}
	cfg.Mode &^= packages.NeedDeps // dependencies outside of the patterns from export data
	pkgs, err := packages.Load(cfg, patterns...)
	if err != nil {
		return nil, fmt.Errorf("loading packages: %w", err)
	}
	p := &Program{pkgs: pkgs, nodes: map[types.Object]*node{}, methods: map[string][]*types.Func{},
		fields: map[types.Object]string{}, lookups: lookups}
	path, name, _ := cutLast(structType, ".")
	for _, pkg := range pkgs {
		if len(pkg.Errors) > 0 {
			return nil, fmt.Errorf("loading %s: %v", pkg.PkgPath, pkg.Errors[0])
		}
		if pkg.PkgPath != path {
			continue
		}
		if obj := pkg.Types.Scope().Lookup(name); obj != nil {
			s, _ := obj.Type().Underlying().(*types.Struct)
			for i := range s.NumFields() {
				p.fields[s.Field(i)] = s.Field(i).Name()
			}
		}
	}
	if len(p.fields) == 0 {
		return nil, fmt.Errorf("no struct %s", structType)
	}
	for _, pkg := range pkgs {
		p.index(pkg)
	}
	return p, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// index makes the nodes of a package.
func (p *Program) index(pkg *packages.Package) {
	for _, file := range pkg.Syntax {
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				f, _ := pkg.TypesInfo.Defs[d.Name].(*types.Func)
				if f == nil || d.Body == nil {
					continue
				}
				p.nodes[f] = p.scan(pkg, d.Body)
				if d.Recv != nil {
					p.methods[f.Name()] = append(p.methods[f.Name()], f)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					v, ok := spec.(*ast.ValueSpec)
					if !ok {
						continue
					}
					for _, name := range v.Names {
						n := &node{reads: map[string]token.Position{}}
						for _, value := range v.Values {
							m := p.scan(pkg, value)
							n.calls = append(n.calls, m.calls...)
							for k, pos := range m.reads {
								n.reads[k] = pos
							}
						}
						p.nodes[pkg.TypesInfo.Defs[name]] = n
					}
				}
			}
		}
	}
}

// scan collects what a piece of source refers to. Function literals belong to the
// function they are written in.
func (p *Program) scan(pkg *packages.Package, root ast.Node) *node {
	n := &node{reads: map[string]token.Position{}}
	written := map[ast.Node]bool{}
	ast.Inspect(root, func(at ast.Node) bool {
		switch x := at.(type) {
		case *ast.AssignStmt:
			if x.Tok == token.ASSIGN {
				for _, target := range x.Lhs {
					if sel, ok := target.(*ast.SelectorExpr); ok {
						written[sel.Sel] = true
					}
				}
			}
		case *ast.CallExpr:
			if name, ok := p.lookup(pkg, x); ok {
				n.reads[name] = pkg.Fset.Position(x.Pos())
			}
		case *ast.Ident:
			obj := pkg.TypesInfo.Uses[x]
			if f, ok := obj.(*types.Func); ok {
				obj = f.Origin()
			}
			if name, ok := p.fields[obj]; ok && !written[x] {
				n.reads[name] = pkg.Fset.Position(x.Pos())
			}
			switch obj.(type) {
			case *types.Func, *types.Var:
				n.calls = append(n.calls, obj)
			}
		}
		return true
	})
	return n
}

// lookup returns the constant that a call passes to one of the struct's look-up
// methods.
func (p *Program) lookup(pkg *packages.Package, call *ast.CallExpr) (string, bool) {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) == 0 || !slices.Contains(p.lookups, sel.Sel.Name) {
		return "", false
	}
	value := pkg.TypesInfo.Types[call.Args[0]].Value
	if value == nil || value.Kind() != constant.String {
		return "", false
	}
	return constant.StringVal(value), true
}

// Reads returns the fields, and the constants passed to look-up methods, that a
// function of a package reads, directly or through what it refers to, with one place
// where each is read. References to the functions of the package named except are not
// followed.
func (p *Program) Reads(pkgPath, function string, except ...string) (map[string]token.Position, error) {
	var root types.Object
	seen := map[types.Object]bool{}
	for _, pkg := range p.pkgs {
		if pkg.PkgPath == pkgPath {
			root = pkg.Types.Scope().Lookup(function)
			for _, name := range except {
				seen[pkg.Types.Scope().Lookup(name)] = true
			}
		}
	}
	if p.nodes[root] == nil {
		return nil, fmt.Errorf("no function %s.%s", pkgPath, function)
	}
	reads := map[string]token.Position{}
	seen[root] = true
	for queue := []types.Object{root}; len(queue) > 0; queue = queue[1:] {
		n := p.nodes[queue[0]]
		if n == nil {
			continue
		}
		for name, pos := range n.reads {
			if _, ok := reads[name]; !ok {
				reads[name] = pos
			}
		}
		for _, callee := range n.calls {
			for _, target := range p.targets(callee) {
				if !seen[target] {
					seen[target] = true
					queue = append(queue, target)
				}
			}
		}
	}
	return reads, nil
}

// targets returns what a reference leads to: itself, and for a method of an interface
// the methods of all types that implement it.
func (p *Program) targets(obj types.Object) []types.Object {
	f, ok := obj.(*types.Func)
	if !ok {
		return []types.Object{obj}
	}
	recv := f.Signature().Recv()
	if recv == nil || !types.IsInterface(recv.Type()) {
		return []types.Object{obj}
	}
	iface, _ := recv.Type().Underlying().(*types.Interface)
	var targets []types.Object
	for _, m := range p.methods[f.Name()] {
		if t := m.Signature().Recv().Type(); types.Implements(t, iface) || types.Implements(types.NewPointer(t), iface) {
			targets = append(targets, m)
		}
	}
	return targets
}
