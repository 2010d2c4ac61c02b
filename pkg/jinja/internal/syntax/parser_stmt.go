package syntax

import (
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
)

func (p *parser) forStatement() Node {
	n := &For{pos: pos(p.next().pos)}
	n.Target = p.assignTarget(false)
	p.expectName("in")
	n.Iter = p.tuple(false, false)
	if p.skipName("if") {
		n.Test = p.expression(true)
	}
	n.Recursive = p.skipName("recursive")
	n.Body = p.statements(false, "endfor", "else")
	if p.next().str != "endfor" {
		n.OrElse = p.statements(true, "endfor")
	}
	return n
}

func (p *parser) ifStatement() Node {
	first := &If{pos: pos(p.next().pos)}
	n := first
	for {
		n.Test = p.tuple(false, false)
		n.Body = p.statements(false, "elif", "else", "endif")
		switch p.next().str {
		case "elif":
			n = &If{pos: pos(p.cur().pos)}
			first.Elifs = append(first.Elifs, n)
			continue
		case "else":
			first.OrElse = p.statements(true, "endif")
		}
		return first
	}
}

func (p *parser) withStatement() Node {
	n := &With{pos: pos(p.next().pos)}
	for !p.is(tokBlockEnd) {
		if len(n.Targets) > 0 {
			p.expect(tokComma)
		}
		target := p.assignTarget(false)
		setCtx(target, Param)
		n.Targets = append(n.Targets, target)
		p.expect(tokAssign)
		n.Values = append(n.Values, p.expression(true))
	}
	n.Body = p.statements(true, "endwith")
	return n
}

func (p *parser) printStatement(t token) Node {
	p.next()
	n := &Output{pos: pos(t.pos)}
	for !p.is(tokBlockEnd) {
		if len(n.Items) > 0 {
			p.expect(tokComma)
		}
		n.Items = append(n.Items, p.expression(true))
	}
	return n
}

func (p *parser) macroStatement(t token) Node {
	p.next()
	n := &Macro{pos: pos(t.pos)}
	n.Name = p.assignName().Name
	n.Args, n.Defaults = p.signature()
	n.Body = p.statements(true, "endmacro")
	return n
}

func (p *parser) includeStatement(t token) Node {
	p.next()
	n := &Include{pos: pos(t.pos), Template: p.expression(true), WithContext: true}
	if p.isName("ignore") && p.peek().typ == tokName && p.peek().str == "missing" {
		n.IgnoreMissing = true
		p.next()
		p.next()
	}
	p.importContext(&n.WithContext)
	return n
}

func (p *parser) importStatement(t token) Node {
	p.next()
	n := &Import{pos: pos(t.pos), Template: p.expression(true)}
	p.expectName("as")
	n.Target = p.assignName().Name
	p.importContext(&n.WithContext)
	return n
}

func (p *parser) setStatement(t token) Node {
	p.next()
	target := p.assignTarget(true)
	if p.skip(tokAssign) {
		return &Assign{pos(t.pos), target, p.tuple(true, false)}
	}
	p.checkAssigned()
	filter, _ := p.filters(nil, false).(*Filter)
	return &AssignBlock{pos(t.pos), target, filter, p.statements(true, "endset")}
}

// checkAssigned raises the error, with a hint, for what cannot follow the name in a set tag and
// is often written there.
func (p *parser) checkAssigned() {
	hint := ""
	switch {
	case p.is(Sub):
		hint = "names of variables have underscores, not hyphens"
	case p.is(tokEq):
		hint = "= assigns a value; == compares values"
	default:
		return
	}
	t := p.cur()
	p.failHint(t.pos, "expected token 'end of statement block', got "+pystr.Repr(t.describe()), hint)
}

func (p *parser) callStatement(t token) Node {
	p.next()
	n := &CallBlock{pos: pos(t.pos)}
	if p.is(tokLParen) {
		n.Args, n.Defaults = p.signature()
	}
	call, ok := p.expression(true).(*Call)
	if !ok {
		p.fail(t.pos, "expected call")
	}
	n.Call = call
	n.Body = p.statements(true, "endcall")
	return n
}

func (p *parser) blockStatement() Node {
	n := &Block{pos: pos(p.next().pos)}
	if t := p.cur(); p.is(tokLBrace) {
		p.failHint(t.pos, "expected token 'name', got "+pystr.Repr(t.describe()),
			"the name of a block is written as it is, not as an expression")
	}
	n.Name = p.expect(tokName).str
	n.Scoped = p.skipName("scoped")
	n.Required = p.skipName("required")
	if p.is(Sub) {
		p.fail(p.cur().pos,
			"Block names in Jinja have to be valid Python identifiers and may not contain hyphens, use an underscore instead.")
	}
	n.Body = p.statements(true, "endblock")
	if n.Required {
		for _, child := range n.Body {
			if !onlySpace(child) {
				p.fail(p.cur().pos, "Required blocks can only contain comments or whitespace")
			}
		}
	}
	p.skipName(n.Name)
	return n
}

// onlySpace reports whether a statement prints only white space.
func onlySpace(n Node) bool {
	out, ok := n.(*Output)
	if !ok {
		return false
	}
	for _, item := range out.Items {
		d, ok := item.(*TemplateData)
		if !ok || strings.TrimFunc(d.Data, pystr.IsSpace) != "" {
			return false
		}
	}
	return true
}

// importContext parses "with context" or "without context".
func (p *parser) importContext(withContext *bool) bool {
	t := p.cur()
	if t.typ != tokName || t.str != "with" && t.str != "without" {
		return false
	}
	if l := p.peek(); l.typ != tokName || l.str != "context" {
		return false
	}
	*withContext = p.next().str == "with"
	p.next()
	return true
}

func (p *parser) fromStatement() Node {
	n := &FromImport{pos: pos(p.next().pos)}
	n.Template = p.expression(true)
	p.expectName("import")
	for {
		if len(n.Names) > 0 {
			p.expect(tokComma)
		}
		if !p.is(tokName) {
			p.expect(tokName)
		}
		if p.importContext(&n.WithContext) {
			break
		}
		target := p.assignName()
		if strings.HasPrefix(target.Name, "_") {
			p.fail(target.Pos(), "names starting with an underline can not be imported")
		}
		name := ImportedName{target.Name, target.Name}
		if p.skipName("as") {
			name.Alias = p.assignName().Name
		}
		n.Names = append(n.Names, name)
		if p.importContext(&n.WithContext) || !p.is(tokComma) {
			break
		}
	}
	return n
}

func (p *parser) signature() (args []*Name, defaults []Node) {
	p.expect(tokLParen)
	for !p.is(tokRParen) {
		if len(args) > 0 {
			p.expect(tokComma)
		}
		arg := p.assignName()
		arg.Context = Param
		if p.skip(tokAssign) {
			defaults = append(defaults, p.expression(true))
		} else if len(defaults) > 0 {
			p.fail(p.cur().pos, "non-default argument follows default argument")
		}
		args = append(args, arg)
	}
	p.expect(tokRParen)
	return args, defaults
}

// assignName parses a name that is assigned to.
func (p *parser) assignName() *Name {
	t := p.expect(tokName)
	n := &Name{pos(t.pos), t.str, Store}
	if !canAssign(n) {
		p.fail(t.pos, "can't assign to 'name'")
	}
	return n
}

func (p *parser) assignTarget(withNamespace bool) Node {
	if withNamespace && p.peek().typ == tokDot {
		t := p.expect(tokName)
		p.next()
		return &NamespaceRef{pos(t.pos), t.str, p.expect(tokName).str}
	}
	target := p.tupleOf(p.primary, false)
	setCtx(target, Store)
	if !canAssign(target) {
		p.fail(target.Pos(), "can't assign to "+pystr.Repr(NodeName(target)))
	}
	return target
}

func setCtx(n Node, ctx NameContext) {
	Walk(n, func(n Node) bool {
		if n, ok := n.(*Name); ok {
			n.Context = ctx
		}
		return true
	})
}

func canAssign(n Node) bool {
	switch n := n.(type) {
	case *Name:
		switch n.Name {
		case "true", "false", "none", "True", "False", "None":
			return false
		}
		return true
	case *Tuple:
		for _, item := range n.Items {
			if !canAssign(item) {
				return false
			}
		}
		return true
	}
	return false
}

// NodeName returns the name of a node in Jinja2's message that it cannot be assigned
// to.
func NodeName(n Node) string {
	switch n := n.(type) {
	case *Name:
		return "name"
	case *Const:
		return "const"
	case *Tuple:
		return "tuple"
	case *List:
		return "list"
	case *Dict:
		return "dict"
	case *Call:
		return "call"
	case *Getattr:
		return "getattr"
	case *Getitem:
		return "getitem"
	case *Filter:
		return "filter"
	case *Test:
		return "test"
	case *Binary:
		return map[TokenType]string{
			Add:      "add",
			Sub:      "sub",
			Mul:      "mul",
			Div:      "div",
			FloorDiv: "floordiv",
			Mod:      "mod",
			Pow:      "pow",
		}[n.Op]
	}
	return "expression"
}
