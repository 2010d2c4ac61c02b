package jinja

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// oracle is a process that runs the real Jinja2 for the whole test.
type oracle struct {
	mu  sync.Mutex
	in  io.WriteCloser
	out *bufio.Reader
}

// answer is the result of rendering a template.
type answer struct {
	Text    string            `json:"text"`
	Kind    string            `json:"kind"`
	Error   string            `json:"error"`
	Texts   map[string]answer `json:"texts"`
	Version string            `json:"version"`
	// Dirs are the attributes of values, by the name of their type.
	Dirs map[string][]string `json:"dirs"`
}

type oracleOptions struct {
	Do                  bool   `json:"do,omitempty"`
	LoopControls        bool   `json:"loop_controls,omitempty"`
	Undefined           string `json:"undefined,omitempty"`
	TrimBlocks          bool   `json:"trim_blocks,omitempty"`
	LstripBlocks        bool   `json:"lstrip_blocks,omitempty"`
	KeepTrailingNewline bool   `json:"keep_trailing_newline,omitempty"`
	Autoescape          bool   `json:"autoescape,omitempty"`
	LineStatementPrefix string `json:"line_statement_prefix,omitempty"`
	LineCommentPrefix   string `json:"line_comment_prefix,omitempty"`
}

// request is a template to render on both sides.
type request struct {
	Templates map[string]string `json:"templates"`
	Main      string            `json:"main"`
	Vars      any               `json:"vars"`
	Options   oracleOptions     `json:"options"`
	// Objects are templates that the variables parent_NAME (and part, for inc) are
	// bound to.
	Objects []string `json:"objects,omitempty"`

	vars map[string]any
}

// testdata returns the path of a file, from the package's directory, in which its tests run.
func testdata(parts ...string) string {
	return filepath.Join(append([]string{"..", "..", "testdata", "jinja"}, parts...)...)
}

// startOracle starts the original. Without Debian's python3-jinja2 the test is
// skipped.
func startOracle(t testing.TB) *oracle {
	t.Helper()
	python := os.Getenv("JINJA_PYTHON")
	if python == "" {
		python = "/usr/bin/python3"
	}
	if out, err := exec.Command(python, "-c", "import jinja2; assert jinja2.__version__ >= '3.1'").CombinedOutput(); err != nil {
		testenv.Missing(t, fmt.Sprintf("the real Jinja2 3.1 is not here (Debian's python3-jinja2): %v: %s", err, out))
	}
	testenv.Inputs(t, "testdata/jinja")
	cmd := exec.Command(python, testdata("oracle.py"))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	return &oracle{in: in, out: bufio.NewReaderSize(out, 1<<20)}
}

func (o *oracle) ask(t testing.TB, req any) answer {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	b, err := json.Marshal(req)
	if err != nil {
		t.Errorf("request %#v: %v", req, err)
	}
	if _, err := o.in.Write(append(b, '\n')); err != nil {
		t.Error(err)
	}
	line, err := o.out.ReadBytes('\n')
	if err != nil {
		t.Errorf("the original ended: %v, on %s", err, b)
		return answer{Kind: "none"}
	}
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		t.Error(err)
	}
	return a
}

// wire encodes a template's value for the original.
func wire(v any) any {
	switch v := v.(type) {
	case nil, bool, string:
		return v
	case int64:
		if v > 1<<53 || v < -1<<53 {
			return map[string]any{"i": value.Repr(v)}
		}
		return v
	case int:
		return v
	case *big.Int:
		return map[string]any{"i": v.String()}
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return map[string]any{"f": pystr.FloatRepr(v)}
		}
		return map[string]any{"f": pystr.FloatRepr(v)}
	case Markup:
		return map[string]any{"m": string(v)}
	case *List:
		return wireAll(v.Items)
	case []any:
		return wireAll(v)
	case []string:
		return v
	case Tuple:
		return map[string]any{"t": wireAll(v)}
	case *Dict:
		pairs := []any{}
		for key, val := range v.All() {
			pairs = append(pairs, []any{wire(key), wire(val)})
		}
		return map[string]any{"d": pairs}
	case map[string]any:
		return wire(value.Convert(v))
	}
	panic("no wire form for " + value.TypeName(v))
}

func wireAll(list []any) []any {
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = wire(v)
	}
	return out
}

// cloneVars copies variables, as a render can modify them.
func cloneVars(vars map[string]any) map[string]any {
	out := make(map[string]any, len(vars))
	for k, v := range vars {
		out[k] = cloneValue(value.Convert(v))
	}
	return out
}

func cloneValue(v any) any {
	switch v := v.(type) {
	case *List:
		l := &List{}
		for _, x := range v.Items {
			l.Items = append(l.Items, cloneValue(x))
		}
		return l
	case Tuple:
		t := Tuple{}
		for _, x := range v {
			t = append(t, cloneValue(x))
		}
		return t
	case *Dict:
		d := NewDict()
		for key, val := range v.All() {
			d.Set(key, cloneValue(val))
		}
		return d
	}
	return v
}

func (o oracleOptions) config(loader Loader) Config {
	return Config{
		Loader:              loader,
		Undefined:           map[string]UndefinedMode{"": Default, "strict": Strict, "chainable": Chainable}[o.Undefined],
		TrimBlocks:          o.TrimBlocks,
		LstripBlocks:        o.LstripBlocks,
		KeepTrailingNewline: o.KeepTrailingNewline,
		Autoescape:          o.Autoescape,
		Extensions:          Extensions{Do: o.Do, LoopControls: o.LoopControls},
		LineStatementPrefix: o.LineStatementPrefix,
		LineCommentPrefix:   o.LineCommentPrefix,
		Globals: map[string]any{
			"seen": Func(seenFunc),
			"fail": Func(func(c *Call) (any, error) { return nil, errors.New(value.Repr(c.Args[0])) }),
		},
		Filters: map[string]Func{"seen": seenFunc},
	}
}

// seenFunc returns what a pass_context function sees of a variable.
func seenFunc(c *Call) (any, error) {
	name, ok := value.AsStr(c.Args[0])
	if !ok {
		return nil, errors.New("name wanted")
	}
	v, ok := c.Lookup(name)
	if !ok {
		return "-", nil
	}
	return value.Repr(v), nil
}

var address = regexp.MustCompile(`(?i)0x[0-9a-f]{6,}`)

// listedAddress is an object's address in a text that was turned into a list.
var listedAddress = regexp.MustCompile(`'0', 'x'(, '[0-9a-f]')+`)

// ours renders a request with this package.
func (r *request) ours() answer {
	env := New(r.Options.config(Map(r.Templates)))
	t, err := env.Template(r.Main)
	if err == nil {
		var text string
		vars := cloneVars(r.vars)
		for _, name := range r.Objects {
			object, missing := env.Template(name)
			if missing != nil {
				err = missing
				break
			}
			vars["parent_"+name] = object
			if name == "inc" {
				vars["part"] = object
			}
		}
		if err == nil {
			text, err = t.Render(context.Background(), vars)
		}
		if err == nil {
			return answer{Text: address.ReplaceAllString(text, "0x")}
		}
	}
	var e *Error
	if !errors.As(err, &e) {
		return answer{Kind: "not an *Error", Error: err.Error()}
	}
	return answer{Kind: string(e.Kind), Error: e.Class + ": " + e.Error()}
}

// compare renders a request on both sides and returns the difference, "" if there is
// none.
func (o *oracle) compare(t testing.TB, r *request) string {
	t.Helper()
	diff, _ := o.compareAnswer(t, r)
	return diff
}

// compareAnswer is compare, and also returns the original's answer.
func (o *oracle) compareAnswer(t testing.TB, r *request) (diff string, want answer) {
	t.Helper()
	r.Vars = wire(r.vars)
	want = o.ask(t, r)
	got := r.ours()
	if got.Kind == want.Kind && (want.Kind != "" || got.Text == want.Text ||
		listedAddress.ReplaceAllString(got.Text, "") == listedAddress.ReplaceAllString(want.Text, "")) {
		return "", want
	}
	var b strings.Builder
	for name, src := range r.Templates {
		b.WriteString("--- template " + name + "\n" + src + "\n")
	}
	vars, _ := json.Marshal(r.Vars)
	opts, _ := json.Marshal(r.Options)
	b.WriteString("--- vars " + string(vars) + "\n--- options " + string(opts) + "\n")
	show := func(who string, a answer) {
		if a.Kind != "" {
			b.WriteString("--- " + who + ": error (" + a.Kind + ") " + a.Error + "\n")
		} else {
			b.WriteString("--- " + who + ":\n" + a.Text + "\n")
		}
	}
	show("Jinja2", want)
	show("ours", got)
	return b.String(), want
}
