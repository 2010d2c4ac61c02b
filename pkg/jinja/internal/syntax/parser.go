package syntax

import (
	"strconv"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
)

// parser builds the tree from tokens. It accepts what Jinja2's parser accepts.
type parser struct {
	opts  *Options
	name  string
	src   string
	toks  []token
	i     int
	depth int
	// tags are the statements being parsed, outermost first.
	tags []openTag
	// ends are the end tags that are expected, outermost first.
	ends [][]string
}

type openTag struct {
	name string
	pos  int
}

// Parse parses a source. name is the name of the template in errors.
func Parse(name, source string, opts *Options) (tree *Template, err *raise.Error) {
	defer func() {
		if p := recover(); p != nil {
			r, ok := p.(*raise.Exception)
			if !ok || r.Located == nil {
				panic(p)
			}
			tree, err = nil, r.Located
		}
	}()
	src := normalizeSource(source, opts.KeepTrailingNewline)
	p := &parser{opts: opts, name: name, src: src, toks: lex(opts, src)}
	tree = &Template{Source: src, Body: p.body(nil)}
	p.checkHeight(tree, 0)
	return tree, nil
}

// checkHeight bounds the height of the tree, which the parser's depth does not bound:
// chains such as a+a+a are parsed in a loop.
func (p *parser) checkHeight(n Node, depth int) {
	if depth > maxTreeHeight {
		p.failDeep(n.Pos())
	}
	VisitChildren(n, func(c Node) { p.checkHeight(c, depth+1) })
}

func (p *parser) cur() *token {
	t := &p.toks[p.i]
	if t.typ == tokError {
		p.fail(t.pos, t.str)
	}
	return t
}

// peek returns the token after the current one.
func (p *parser) peek() *token {
	if p.i+1 >= len(p.toks) {
		return &p.toks[p.i]
	}
	t := &p.toks[p.i+1]
	if t.typ == tokError {
		p.fail(t.pos, t.str)
	}
	return t
}

func (p *parser) next() token {
	t := *p.cur()
	if p.i < len(p.toks)-1 {
		p.i++
	}
	return t
}

func (p *parser) is(typ TokenType) bool { return p.cur().typ == typ }

func (p *parser) isName(name string) bool {
	t := p.cur()
	return t.typ == tokName && t.str == name
}

func (p *parser) skip(typ TokenType) bool {
	if p.is(typ) {
		p.next()
		return true
	}
	return false
}

func (p *parser) skipName(name string) bool {
	if p.isName(name) {
		p.next()
		return true
	}
	return false
}

func (p *parser) expect(typ TokenType) token {
	if !p.is(typ) {
		p.failExpected(tokenNames[typ])
	}
	return p.next()
}

func (p *parser) expectName(name string) {
	if !p.isName(name) {
		p.failExpected(name)
	}
	p.next()
}

func (p *parser) failExpected(want string) {
	t := p.cur()
	if t.typ == tokEOF {
		p.fail(t.pos, "unexpected end of template, expected "+pystr.Repr(want)+".")
	}
	p.fail(t.pos, "expected token "+pystr.Repr(want)+", got "+pystr.Repr(t.describe()))
}

// fail raises a syntax error at an offset.
func (p *parser) fail(pos int, msg string) {
	hint := ""
	if n := len(p.tags); n > 0 && p.tags[n-1].pos != pos {
		tag := p.tags[n-1]
		line, col := raise.LineColumn(p.src, tag.pos)
		if at, _ := raise.LineColumn(p.src, pos); at != line {
			hint = "the open tag is `" + tag.name + "`, opened at line " + strconv.Itoa(line) + ", column " + strconv.Itoa(col)
		}
	}
	p.failHint(pos, msg, hint)
}

func (p *parser) failHint(pos int, msg, hint string) {
	raise.At(raise.KindSyntax, "TemplateSyntaxError", msg, hint, p.name, p.src, pos)
}

// enter counts nesting, so that no source exhausts the stack.
func (p *parser) enter() {
	if p.depth++; p.depth > maxParseDepth {
		p.failDeep(p.toks[p.i].pos)
	}
}

func (p *parser) failDeep(pos int) {
	raise.At(raise.KindLimit, "RecursionError", "template is nested too deep", "", p.name, p.src, pos)
}

func (p *parser) leave() { p.depth-- }

// maxParseDepth bounds the nesting of statements and expressions.
const maxParseDepth = 250

// maxTreeHeight bounds the height of the syntax tree.
const maxTreeHeight = 4000

// failUnknown raises the error of an unknown tag, or of the end of the source.
func (p *parser) failUnknown(tag string, pos int, eof bool) {
	var msg []string
	if eof {
		msg = append(msg, "Unexpected end of template.")
	} else {
		msg = append(msg, "Encountered unknown tag "+pystr.Repr(tag)+".")
	}
	hint := ""
	if n := len(p.ends); n > 0 {
		expected := false
		for _, ends := range p.ends {
			for _, e := range ends {
				expected = expected || e == tag && !eof
			}
		}
		var names []string
		for _, e := range p.ends[n-1] {
			names = append(names, pystr.Repr(e))
		}
		looking := strings.Join(names, " or ")
		if expected {
			msg = append(msg,
				"You probably made a nesting mistake. Jinja is expecting this tag, but currently looking for "+looking+".")
		} else {
			msg = append(msg, "Jinja was looking for the following tags: "+looking+".")
		}
	}
	if n := len(p.tags); n > 0 {
		open := p.tags[n-1]
		msg = append(msg, "The innermost block that needs to be closed is "+pystr.Repr(open.name)+".")
		line, col := raise.LineColumn(p.src, open.pos)
		hint = "`" + open.name + "` was opened at line " + strconv.Itoa(line) + ", column " + strconv.Itoa(col)
	}
	if !eof && hint == "" || !eof && !strings.HasPrefix(tag, "end") {
		if s := raise.Suggest(tag, p.knownTags()); s != "" {
			hint = s
		}
	}
	p.failHint(pos, strings.Join(msg, " "), hint)
}

func (p *parser) knownTags() []string {
	tags := []string{"for", "if", "block", "extends", "print", "macro", "include", "from", "import", "set", "with",
		"autoescape", "call", "filter", "raw"}
	if n := len(p.ends); n > 0 {
		tags = append(tags, p.ends[n-1]...)
	}
	if p.opts.Do {
		tags = append(tags, "do")
	}
	if p.opts.LoopControls {
		tags = append(tags, "break", "continue")
	}
	return tags
}

// body parses text, print statements and statements up to one of the end tags.
func (p *parser) body(ends []string) []Node {
	p.enter()
	defer p.leave()
	var body, data []Node
	if ends != nil {
		p.ends = append(p.ends, ends)
	}
	flush := func() {
		if len(data) > 0 {
			body = append(body, &Output{pos(data[0].Pos()), data})
			data = nil
		}
	}
	for !p.is(tokEOF) {
		switch t := p.cur(); t.typ {
		case tokData:
			data = append(data, &TemplateData{pos(t.pos), t.str})
			p.next()
		case tokVariableBegin:
			p.next()
			data = append(data, p.tuple(true, false))
			p.expect(tokVariableEnd)
		case tokBlockBegin:
			flush()
			p.next()
			if ends != nil && p.is(tokName) {
				for _, e := range ends {
					if p.cur().str == e {
						p.ends = p.ends[:len(p.ends)-1]
						return body
					}
				}
			}
			body = append(body, p.statement())
			p.expect(tokBlockEnd)
		default:
			p.fail(t.pos, "unexpected "+pystr.Repr(t.describe()))
		}
	}
	flush()
	if ends != nil {
		p.ends = p.ends[:len(p.ends)-1]
	}
	return body
}

// statements parses a body up to one of the end tags; drop consumes that tag.
func (p *parser) statements(drop bool, ends ...string) []Node {
	p.skip(tokColon)
	p.expect(tokBlockEnd)
	body := p.body(ends)
	if p.is(tokEOF) {
		p.ends = append(p.ends, ends)
		p.failUnknown("", p.cur().pos, true)
	}
	if drop {
		p.next()
	}
	return body
}

func (p *parser) statement() Node {
	t := p.cur()
	if t.typ != tokName {
		p.fail(t.pos, "tag name expected")
	}
	p.tags = append(p.tags, openTag{t.str, t.pos})
	n := p.statementOf(*t)
	p.tags = p.tags[:len(p.tags)-1]
	return n
}

func (p *parser) statementOf(t token) Node {
	switch t.str {
	case "for":
		return p.forStatement()
	case "if":
		return p.ifStatement()
	case "block":
		return p.blockStatement()
	case "extends":
		p.next()
		return &Extends{pos(t.pos), p.expression(true)}
	case "print":
		return p.printStatement(t)
	case "macro":
		return p.macroStatement(t)
	case "include":
		return p.includeStatement(t)
	case "from":
		return p.fromStatement()
	case "import":
		return p.importStatement(t)
	case "set":
		return p.setStatement(t)
	case "with":
		return p.withStatement()
	case "autoescape":
		p.next()
		n := &Autoescape{pos: pos(t.pos), Enabled: p.expression(true)}
		n.Body = p.statements(true, "endautoescape")
		return &Scope{pos(t.pos), []Node{n}}
	case "call":
		return p.callStatement(t)
	case "filter":
		p.next()
		n := &FilterBlock{pos: pos(t.pos)}
		n.Filter = p.filters(nil, true).(*Filter)
		n.Body = p.statements(true, "endfilter")
		return n
	case "do":
		if p.opts.Do {
			p.next()
			return &ExprStatement{pos(t.pos), p.tuple(true, false)}
		}
	case "break", "continue":
		if p.opts.LoopControls {
			p.next()
			return &LoopControl{pos(t.pos), t.str == "break"}
		}
	}
	p.tags = p.tags[:len(p.tags)-1]
	p.failUnknown(t.str, t.pos, false)
	return nil
}
