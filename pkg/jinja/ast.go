package jinja

// node is a node of the syntax tree. Offsets are bytes in the normalized source.
type node interface{ at() int }

type pos int

func (p pos) at() int { return int(p) }

// nameCtx says what a name in the tree is for.
type nameCtx uint8

const (
	ctxLoad nameCtx = iota
	ctxStore
	ctxParam
)

// Expressions.
type (
	nName struct {
		pos
		name string
		ctx  nameCtx
	}
	nNSRef struct {
		pos
		name, attr string
	}
	nConst struct {
		pos
		val any
	}
	nTemplateData struct {
		pos
		data string
	}
	nTuple struct {
		pos
		items []node
	}
	nList struct {
		pos
		items []node
	}
	nPair struct{ key, val node }
	nDict struct {
		pos
		items []nPair
	}
	nCond struct {
		pos
		test, then, orElse node // orElse may be nil
	}
	nBin struct {
		pos
		op          tokenType
		left, right node
	}
	nLogic struct {
		pos
		or          bool
		left, right node
	}
	nNot struct {
		pos
		expr node
	}
	nUnary struct {
		pos
		neg  bool
		expr node
	}
	nConcat struct {
		pos
		items []node
	}
	operand struct {
		op   cmpOp
		pos  int
		expr node
	}
	nCompare struct {
		pos
		expr node
		ops  []operand
	}
	nGetattr struct {
		pos
		expr node
		attr string
	}
	nGetitem struct {
		pos
		expr, arg node
	}
	nSlice struct {
		pos
		start, stop, step node // each may be nil
	}
	keyword struct {
		name string
		val  node
	}
	nArgs struct {
		args      []node
		kwargs    []keyword
		dynArgs   node
		dynKwargs node
	}
	nCall struct {
		pos
		expr node
		nArgs
	}
	nFilter struct {
		pos
		expr node // nil in filter blocks
		name string
		nArgs
	}
	nTest struct {
		pos
		expr node
		name string
		nArgs
	}
)

type cmpOp uint8

const (
	cmpEq cmpOp = iota
	cmpNe
	cmpGt
	cmpGe
	cmpLt
	cmpLe
	cmpIn
	cmpNotIn
)

// Statements.
type (
	nTemplate struct {
		pos
		// source is the source with \n as its only line break, which offsets refer to.
		source string
		body   []node
	}
	nOutput struct {
		pos
		items []node
	}
	nExtends struct {
		pos
		template node
	}
	nFor struct {
		pos
		target, iter node
		body, orElse []node
		test         node
		recursive    bool
	}
	nIf struct {
		pos
		test   node
		body   []node
		elifs  []node // of *nIf
		orElse []node
	}
	nMacro struct {
		pos
		name     string
		args     []*nName
		defaults []node
		body     []node
	}
	nCallBlock struct {
		pos
		call     *nCall
		args     []*nName
		defaults []node
		body     []node
	}
	nFilterBlock struct {
		pos
		body   []node
		filter *nFilter
	}
	nWith struct {
		pos
		targets, values []node
		body            []node
	}
	nBlock struct {
		pos
		name             string
		body             []node
		scoped, required bool
	}
	nInclude struct {
		pos
		template      node
		withContext   bool
		ignoreMissing bool
	}
	nImport struct {
		pos
		template    node
		target      string
		withContext bool
	}
	importName  struct{ name, alias string }
	nFromImport struct {
		pos
		template    node
		names       []importName
		withContext bool
	}
	nExprStmt struct {
		pos
		expr node
	}
	nAssign struct {
		pos
		target, expr node
	}
	nAssignBlock struct {
		pos
		target node
		filter *nFilter
		body   []node
	}
	nLoopControl struct {
		pos
		brk bool
	}
	nScope struct {
		pos
		body []node
	}
	// nAutoescape is the content of an autoescape statement's scope.
	nAutoescape struct {
		pos
		enabled node
		body    []node
	}
)

// visitChildren calls f for the children of a node in the order of the fields
// that Jinja2 gives its nodes, which its searches depend on.
func visitChildren(n node, f func(node)) {
	one := func(n node) {
		if n != nil {
			f(n)
		}
	}
	all := func(list []node) {
		for _, n := range list {
			f(n)
		}
	}
	args := func(a *nArgs) {
		all(a.args)
		for _, k := range a.kwargs {
			f(k.val)
		}
		one(a.dynArgs)
		one(a.dynKwargs)
	}
	switch n := n.(type) {
	case *nTuple:
		all(n.items)
	case *nList:
		all(n.items)
	case *nDict:
		for _, p := range n.items {
			f(p.key)
			f(p.val)
		}
	case *nCond:
		f(n.test)
		f(n.then)
		one(n.orElse)
	case *nBin:
		f(n.left)
		f(n.right)
	case *nLogic:
		f(n.left)
		f(n.right)
	case *nNot:
		f(n.expr)
	case *nUnary:
		f(n.expr)
	case *nConcat:
		all(n.items)
	case *nCompare:
		f(n.expr)
		for _, o := range n.ops {
			f(o.expr)
		}
	case *nGetattr:
		f(n.expr)
	case *nGetitem:
		f(n.expr)
		f(n.arg)
	case *nSlice:
		one(n.start)
		one(n.stop)
		one(n.step)
	case *nCall:
		f(n.expr)
		args(&n.nArgs)
	case *nFilter:
		one(n.expr)
		args(&n.nArgs)
	case *nTest:
		f(n.expr)
		args(&n.nArgs)
	default:
		visitStatement(n, f, all)
	}
}

func visitStatement(n node, f func(node), all func([]node)) {
	names := func(list []*nName) {
		for _, n := range list {
			f(n)
		}
	}
	switch n := n.(type) {
	case *nTemplate:
		all(n.body)
	case *nOutput:
		all(n.items)
	case *nExtends:
		f(n.template)
	case *nFor:
		f(n.target)
		f(n.iter)
		all(n.body)
		all(n.orElse)
		if n.test != nil {
			f(n.test)
		}
	case *nIf:
		f(n.test)
		all(n.body)
		all(n.elifs)
		all(n.orElse)
	case *nMacro:
		names(n.args)
		all(n.defaults)
		all(n.body)
	case *nCallBlock:
		f(n.call)
		names(n.args)
		all(n.defaults)
		all(n.body)
	case *nFilterBlock:
		all(n.body)
		f(n.filter)
	case *nWith:
		all(n.targets)
		all(n.values)
		all(n.body)
	case *nBlock:
		all(n.body)
	case *nInclude:
		f(n.template)
	case *nImport:
		f(n.template)
	case *nFromImport:
		f(n.template)
	case *nExprStmt:
		f(n.expr)
	case *nAssign:
		f(n.target)
		f(n.expr)
	case *nAssignBlock:
		f(n.target)
		if n.filter != nil {
			f(n.filter)
		}
		all(n.body)
	case *nScope:
		all(n.body)
	case *nAutoescape:
		f(n.enabled)
		all(n.body)
	}
}

// walk calls f for a node and all below it; f returns false to stay above.
func walk(n node, f func(node) bool) {
	if !f(n) {
		return
	}
	visitChildren(n, func(c node) { walk(c, f) })
}
