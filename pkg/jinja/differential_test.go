package jinja

import (
	"maps"
	"math/big"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// TestDifferential generates templates and contexts from a grammar and compares the
// results with those of the real Jinja2. JINJA_FUZZ_N is the number of templates and
// JINJA_FUZZ_SEED the first seed. Each seed gives one template and context.
func TestDifferential(t *testing.T) {
	n := envInt(t, "JINJA_FUZZ_N", 3000)
	seed := envInt(t, "JINJA_FUZZ_SEED", 1)
	if testing.Short() {
		n = min(n, 100)
	}
	start := time.Now()
	end, bounded := t.Deadline() // a run ends before -timeout, with its figures
	var next, tried, failed, undetermined, size atomic.Int64
	var mu sync.Mutex
	outcomes := map[string]int{}
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), 8) {
		o := startOracle(t)
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n || failed.Load() >= 10 || bounded && time.Until(end) < 15*time.Second {
					return
				}
				tried.Add(1)
				diff, want := o.compareAnswer(t, generate(uint64(seed+i)))
				size.Add(int64(len(want.Text)))
				if diff != "" && o.differsByAddress(t, uint64(seed+i)) {
					undetermined.Add(1)
					t.Logf("seed %d: the length of a text with an address in it", seed+i)
				} else if diff != "" {
					failed.Add(1)
					t.Errorf("seed %d:\n%s", seed+i, diff)
				}
				mu.Lock()
				outcomes[want.Kind]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	done := int(tried.Load())
	t.Logf("%d of %d templates from seed %d in %v, %d differences, %d undetermined; %.1f %% render text, %d bytes of it; "+
		"kinds of error of the others: %v",
		done, n, seed, time.Since(start).Round(time.Second), failed.Load(), undetermined.Load(),
		100*float64(outcomes[""])/float64(max(done, 1)), size.Load(), errorKinds(outcomes))
	if done < n && failed.Load() == 0 {
		t.Errorf("stopped by -timeout: %d templates were not tried", n-done)
	}
	if done >= 100 && outcomes[""] < done/2 {
		t.Errorf("only %d of %d templates render text: the grammar has gone astray", outcomes[""], done)
	}
}

// differsByAddress reports whether the results differ only in the length of a text with an
// object's address, which has seven to twelve digits in Python. It compares the texts
// in place of their lengths.
func (o *oracle) differsByAddress(t *testing.T, seed uint64) bool {
	r := generate(seed)
	for name, src := range r.Templates {
		r.Templates[name] = lengths.ReplaceAllString(src, "${1}string")
	}
	diff, want := o.compareAnswer(t, r)
	return diff == "" && strings.Contains(want.Text, " at 0x")
}

var lengths = regexp.MustCompile(`(\|\s*)(length|count)\b`)

func errorKinds(outcomes map[string]int) map[string]int {
	kinds := maps.Clone(outcomes)
	delete(kinds, "")
	return kinds
}

func envInt(t testing.TB, name string, otherwise int) int {
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// generate makes the request of a seed.
func generate(seed uint64) *request {
	g := &generator{r: rand.New(rand.NewPCG(seed, 0x6a696e6a61)), names: map[string]bool{}}
	r := &request{Templates: map[string]string{}, Main: "main", vars: map[string]any{}}
	for _, name := range slices.Sorted(maps.Keys(generatorVars)) {
		if g.chance(9, 10) {
			r.vars[name] = g.value(generatorVars[name], 2)
		}
	}
	r.Options = oracleOptions{
		Do: g.chance(1, 2), LoopControls: g.chance(1, 3), TrimBlocks: g.chance(1, 5), LstripBlocks: g.chance(1, 5),
		KeepTrailingNewline: g.chance(1, 5), Autoescape: g.chance(1, 5),
	}
	if g.chance(1, 12) {
		r.Options.Undefined = g.pick("strict", "chainable")
	}
	if g.chance(1, 25) {
		r.Options.LineStatementPrefix = g.pick("#", "%%", "//")
		if g.chance(1, 2) {
			r.Options.LineCommentPrefix = g.pick("##", "//-", "#")
		}
		if r.Options.LineCommentPrefix == r.Options.LineStatementPrefix {
			r.Options.LineCommentPrefix = ""
		}
	}
	g.opts = r.Options
	if seed%8 != 0 {
		r.vars = map[string]any{}
		g.typed(r)
		for name := range r.Templates {
			if name != "main" {
				r.Objects = append(r.Objects, name)
			}
		}
		slices.Sort(r.Objects)
		return r
	}
	if g.chance(1, 4) {
		g.kind = "lib"
		r.Templates["lib"] = g.library()
		g.libs = append(g.libs, "lib")
	}
	if g.chance(1, 4) {
		g.kind = "inc"
		r.Templates["inc"] = g.body(2)
		g.includes = append(g.includes, "inc")
	}
	if g.chance(1, 4) {
		g.kind = "base"
		r.Templates["base"] = g.baseTemplate()
		g.bases = append(g.bases, "base")
		if g.chance(1, 3) {
			g.kind = "mid"
			r.Templates["mid"] = g.child("base")
			g.bases = append(g.bases, "mid")
		}
	}
	g.kind, g.blocks = "main", 0
	if len(g.bases) > 0 && g.chance(4, 5) {
		r.Templates["main"] = g.child(g.bases[len(g.bases)-1])
	} else {
		r.Templates["main"] = g.body(3)
	}
	if g.chance(1, 8) {
		r.Templates["main"] = g.damage(r.Templates["main"])
	}
	return r
}

// generatorVars are the variables of the generated contexts.
var generatorVars = map[string]string{
	"i": "int", "j": "small", "f": "float", "s": "str", "t": "str", "l": "ints", "ls": "strs", "lx": "list", "d": "dict",
	"dd": "dict", "ld": "dicts", "n": "none", "b": "bool", "tp": "tuple", "h": "html",
	"u": "unicode", "x": "any", "y": "any",
	"nest": "nest",
}

type generator struct {
	r        *rand.Rand
	opts     oracleOptions
	kind     string
	libs     []string
	includes []string
	bases    []string
	locals   []string
	names    map[string]bool
	blocks   int
	loops    int
	macros   []string
	inMacro  int
	inBlock  int

	// State of the typed grammar.
	scope   []variable  // names in scope
	top     bool        // new names are at the top level
	fresh   int         // number of names made so far
	modules []libModule // templates to import
	breaks  int         // loops in which break is possible
	oddness int         // one in this many operands has a wrong type; 0: none
}

func (g *generator) chance(n, of int) bool { return g.r.IntN(of) < n }

func (g *generator) pick(list ...string) string { return list[g.r.IntN(len(list))] }

func (g *generator) intn(n int) int { return g.r.IntN(n) }

// value makes a value of a kind.
func (g *generator) value(kind string, depth int) any {
	switch kind {
	case "int":
		switch g.intn(12) {
		case 0:
			b := new(big.Int).Lsh(big.NewInt(int64(g.intn(1000)-500)), uint(g.intn(90)))
			return value.NormInt(b)
		case 1:
			return int64(g.intn(100000) - 50000)
		}
		return int64(g.intn(12) - 3)
	case "small":
		return int64(g.intn(12) - 3)
	case "float":
		switch g.intn(8) {
		case 0:
			return float64(g.intn(20) - 10)
		case 1:
			return g.r.NormFloat64() * 1e17
		case 2:
			return g.r.NormFloat64() * 1e-6
		case 3:
			return float64(g.intn(1000)) / 8
		}
		return float64(g.intn(20000)-10000) / 100
	case "str":
		return g.pick("", "a", "abc", "Hello World", "foo bar  baz", "12", " x ", "a,b,c", "a-b_c", "UPPER", "3.5",
			"line one\nline two\n\nlast",
			"%s and %d", "{} {0}", "keystone", "x=1;y=2", "O'Brien", "tab\there", "http://example.com/a?b=c",
			"42abc", "-7", "0x1f", "aaa")
	case "unicode":
		return g.pick("é", "straße", "ΑΣ", "日本語", "naïve café", "ǅ", "e\u0301", "İstanbul", "\u00a0x\u2003",
			"😀 smile", "ﬁn", "\x7f\u0080")
	case "html":
		return g.pick("<b>", "a & b", `"q"`, "<p class='x'>y</p>", "&amp;", "plain", "<!-- c --> z <i>")
	case "none":
		return nil
	case "bool":
		return g.chance(1, 2)
	case "ints", "strs", "list", "tuple", "dict", "dicts", "nest":
		return g.container(kind, depth)
	}
	if depth <= 0 {
		return g.value(g.pick("int", "float", "str", "none", "bool", "html", "unicode"), 0)
	}
	return g.value(g.pick("int", "float", "str", "none", "bool", "html", "unicode", "list", "dict", "tuple", "ints",
		"strs"), depth)
}

// container makes a list, tuple or dict of a kind.
func (g *generator) container(kind string, depth int) any {
	switch kind {
	case "ints":
		l := &List{}
		for range g.intn(6) {
			l.Items = append(l.Items, int64(g.intn(10)-2))
		}
		return l
	case "strs":
		l := &List{}
		for range g.intn(5) {
			l.Items = append(l.Items, g.value("str", 0))
		}
		return l
	case "list":
		l := &List{}
		for range g.intn(4) {
			l.Items = append(l.Items, g.value("any", depth-1))
		}
		return l
	case "tuple":
		t := Tuple{}
		for range g.intn(4) {
			t = append(t, g.value("any", depth-1))
		}
		return t
	case "dict":
		d := NewDict()
		for range g.intn(5) {
			d.Set(g.key(), g.value("any", depth-1))
		}
		return d
	case "dicts":
		l := &List{}
		for range g.intn(5) {
			d := NewDict()
			d.Set("name", g.pick("ann", "Bob", "cid", "bob", ""))
			d.Set("age", int64(g.intn(5)))
			if g.chance(4, 5) {
				d.Set("city", g.pick("NY", "ny", "CA"))
			}
			d.Set("sub", g.value("dict", 0))
			l.Items = append(l.Items, d)
		}
		return l
	default:
		return g.nested(3)
	}
}

func (g *generator) nested(depth int) any {
	l := &List{}
	for range g.intn(4) {
		if depth > 0 && g.chance(1, 2) {
			l.Items = append(l.Items, g.nested(depth-1))
		} else {
			l.Items = append(l.Items, int64(g.intn(9)))
		}
	}
	return l
}

func (g *generator) key() any {
	switch g.intn(12) {
	case 0:
		return int64(g.intn(3))
	case 1:
		return g.value(g.pick("none", "bool", "float"), 0)
	case 2:
		return Tuple{int64(1), "x"}
	}
	return g.pick("a", "b", "c", "name", "Key", "items", "x y", "age", "é")
}

// damage changes a template's source, mostly to an invalid one.
func (g *generator) damage(s string) string {
	runes := []rune(s)
	for range 1 + g.intn(3) {
		if len(runes) == 0 {
			break
		}
		i := g.intn(len(runes))
		j := min(len(runes), i+1+g.intn(6))
		switch g.intn(4) {
		case 0:
			runes = append(runes[:i:i], runes[j:]...)
		case 1:
			runes = append(runes[:i:i], append(append([]rune{}, runes[i:j]...), runes[i:]...)...)
		case 2:
			k := g.intn(len(runes))
			runes = append(runes[:i:i], append(append([]rune{}, runes[min(k, j):max(k, j)]...), runes[i:]...)...)
		default:
			extra := []rune(g.pick("{{", "}}", "{%", "%}", "{#", "#}", "-", "+", "|", "(", ")", "[", "]", "{", "}", "'", `"`,
				"\\", ".", ",", ":", "=", "~",
				"!", "$", "endfor", " if ", " in ", " is ", "\n", "*", "**", "0x", "1_0", "1e3", ".5", "{% raw %}",
				"{%- endraw +%}", "é", "not "))
			runes = append(runes[:i:i], append(extra, runes[i:]...)...)
		}
	}
	return string(runes)
}
