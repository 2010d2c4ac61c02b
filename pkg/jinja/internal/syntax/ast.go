package syntax

// Node is a node of the syntax tree. Pos is its offset in the source of the template,
// in bytes.
type Node interface{ Pos() int }

type pos int

func (p pos) Pos() int { return int(p) }

// NameContext is the use of a name: load, store or parameter.
type NameContext uint8

const (
	// Load reads it.
	Load NameContext = iota
	// Store sets it.
	Store
	// Param declares it: the target of a with statement, or a parameter of a macro.
	Param
)

// The expressions, as in the syntax tree of Jinja2.
type (
	Name struct {
		pos
		Name    string
		Context NameContext
	}
	NamespaceRef struct {
		pos
		Name, Attr string
	}
	Const struct {
		pos
		Value any
	}
	TemplateData struct {
		pos
		Data string
	}
	Tuple struct {
		pos
		Items []Node
	}
	List struct {
		pos
		Items []Node
	}
	Pair struct{ Key, Value Node }
	Dict struct {
		pos
		Items []Pair
	}
	Conditional struct {
		pos
		Test, Then, OrElse Node // OrElse may be nil
	}
	Binary struct {
		pos
		Op          TokenType
		Left, Right Node
	}
	Logical struct {
		pos
		Or          bool
		Left, Right Node
	}
	Not struct {
		pos
		Expr Node
	}
	Unary struct {
		pos
		Negative bool
		Expr     Node
	}
	Concat struct {
		pos
		Items []Node
	}
	Operand struct {
		Op   CompareOp
		Pos  int
		Expr Node
	}
	Compare struct {
		pos
		Expr Node
		Ops  []Operand
	}
	Getattr struct {
		pos
		Expr Node
		Attr string
	}
	Getitem struct {
		pos
		Expr, Arg Node
	}
	Slice struct {
		pos
		Start, Stop, Step Node // each may be nil
	}
	Keyword struct {
		Name  string
		Value Node
	}
	Arguments struct {
		Positional []Node
		Keywords   []Keyword
		Star       Node
		StarStar   Node
	}
	Call struct {
		pos
		Expr Node
		Arguments
	}
	Filter struct {
		pos
		Expr Node // nil in filter blocks
		Name string
		Arguments
	}
	Test struct {
		pos
		Expr Node
		Name string
		Arguments
	}
)

// CompareOp is a comparison operator.
type CompareOp uint8

const (
	// The comparison operators.
	Equal CompareOp = iota
	NotEqual
	Greater
	GreaterEqual
	Less
	LessEqual
	In
	NotIn
)

// The statements, as in the syntax tree of Jinja2.
type (
	Template struct {
		pos
		// Source is the source that offsets refer to: \n is its only line break.
		Source string
		Body   []Node
	}
	Output struct {
		pos
		Items []Node
	}
	Extends struct {
		pos
		Template Node
	}
	For struct {
		pos
		Target, Iter Node
		Body, OrElse []Node
		Test         Node
		Recursive    bool
	}
	If struct {
		pos
		Test   Node
		Body   []Node
		Elifs  []Node // of *If
		OrElse []Node
	}
	Macro struct {
		pos
		Name     string
		Args     []*Name
		Defaults []Node
		Body     []Node
	}
	CallBlock struct {
		pos
		Call     *Call
		Args     []*Name
		Defaults []Node
		Body     []Node
	}
	FilterBlock struct {
		pos
		Body   []Node
		Filter *Filter
	}
	With struct {
		pos
		Targets, Values []Node
		Body            []Node
	}
	Block struct {
		pos
		Name             string
		Body             []Node
		Scoped, Required bool
	}
	Include struct {
		pos
		Template      Node
		WithContext   bool
		IgnoreMissing bool
	}
	Import struct {
		pos
		Template    Node
		Target      string
		WithContext bool
	}
	ImportedName struct{ Name, Alias string }
	FromImport   struct {
		pos
		Template    Node
		Names       []ImportedName
		WithContext bool
	}
	ExprStatement struct {
		pos
		Expr Node
	}
	Assign struct {
		pos
		Target, Expr Node
	}
	AssignBlock struct {
		pos
		Target Node
		Filter *Filter
		Body   []Node
	}
	LoopControl struct {
		pos
		Break bool
	}
	Scope struct {
		pos
		Body []Node
	}
	// Autoescape is an autoescape statement without its scope.
	Autoescape struct {
		pos
		Enabled Node
		Body    []Node
	}
)

// VisitChildren calls f for the children of a node, in the order of the fields of
// Jinja2's nodes: the results of Jinja2's searches depend on it.
func VisitChildren(n Node, f func(Node)) {
	one := func(n Node) {
		if n != nil {
			f(n)
		}
	}
	all := func(list []Node) {
		for _, n := range list {
			f(n)
		}
	}
	args := func(a *Arguments) {
		all(a.Positional)
		for _, k := range a.Keywords {
			f(k.Value)
		}
		one(a.Star)
		one(a.StarStar)
	}
	switch n := n.(type) {
	case *Tuple:
		all(n.Items)
	case *List:
		all(n.Items)
	case *Dict:
		for _, p := range n.Items {
			f(p.Key)
			f(p.Value)
		}
	case *Conditional:
		f(n.Test)
		f(n.Then)
		one(n.OrElse)
	case *Binary:
		f(n.Left)
		f(n.Right)
	case *Logical:
		f(n.Left)
		f(n.Right)
	case *Not:
		f(n.Expr)
	case *Unary:
		f(n.Expr)
	case *Concat:
		all(n.Items)
	case *Compare:
		f(n.Expr)
		for _, o := range n.Ops {
			f(o.Expr)
		}
	case *Getattr:
		f(n.Expr)
	case *Getitem:
		f(n.Expr)
		f(n.Arg)
	case *Slice:
		one(n.Start)
		one(n.Stop)
		one(n.Step)
	case *Call:
		f(n.Expr)
		args(&n.Arguments)
	case *Filter:
		one(n.Expr)
		args(&n.Arguments)
	case *Test:
		f(n.Expr)
		args(&n.Arguments)
	default:
		visitStatement(n, f, all)
	}
}

func visitStatement(n Node, f func(Node), all func([]Node)) {
	names := func(list []*Name) {
		for _, n := range list {
			f(n)
		}
	}
	switch n := n.(type) {
	case *Template:
		all(n.Body)
	case *Output:
		all(n.Items)
	case *Extends:
		f(n.Template)
	case *For:
		f(n.Target)
		f(n.Iter)
		all(n.Body)
		all(n.OrElse)
		if n.Test != nil {
			f(n.Test)
		}
	case *If:
		f(n.Test)
		all(n.Body)
		all(n.Elifs)
		all(n.OrElse)
	case *Macro:
		names(n.Args)
		all(n.Defaults)
		all(n.Body)
	case *CallBlock:
		f(n.Call)
		names(n.Args)
		all(n.Defaults)
		all(n.Body)
	case *FilterBlock:
		all(n.Body)
		f(n.Filter)
	case *With:
		all(n.Targets)
		all(n.Values)
		all(n.Body)
	case *Block:
		all(n.Body)
	case *Include:
		f(n.Template)
	case *Import:
		f(n.Template)
	case *FromImport:
		f(n.Template)
	case *ExprStatement:
		f(n.Expr)
	case *Assign:
		f(n.Target)
		f(n.Expr)
	case *AssignBlock:
		f(n.Target)
		if n.Filter != nil {
			f(n.Filter)
		}
		all(n.Body)
	case *Scope:
		all(n.Body)
	case *Autoescape:
		f(n.Enabled)
		all(n.Body)
	}
}

// Walk calls f for a node and its descendants. If f returns false, it does not visit
// the children.
func Walk(n Node, f func(Node) bool) {
	if !f(n) {
		return
	}
	VisitChildren(n, func(c Node) { Walk(c, f) })
}
