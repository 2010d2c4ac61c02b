package jinja

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/rogpeppe/go-internal/txtar"
)

// lineVars are the variables of the one-line templates.
func lineVars() map[string]any {
	person := func(name, city string, age int) map[string]any {
		m := map[string]any{"name": name, "age": age, "sub": map[string]any{"k": age * 2}}
		if city != "" {
			m["city"] = city
		}
		return m
	}
	return map[string]any{
		"i": 3, "f": 2.5, "s": "hello World", "x": "X", "b": true, "h": "<b>", "u": "aéüb日",
		"l": []any{1, 2, 3}, "tp": Tuple{1, "x"}, "n": nil, "nest": []any{1, []any{2, []any{3}}, 4},
		"d": map[string]any{"a": 1}, "d2": map[string]any{"b": 2, "A": 1, "c": 0},
		"ld": []any{person("ann", "NY", 3), person("Bob", "ny", 2), person("cid", "CA", 2), person("dan", "", 5)},
	}
}

// TestLines compares the one-line templates of testdata/jinja/lines with the original,
// under several settings.
func TestLines(t *testing.T) {
	testenv.Slow(t)
	o := startOracle(t)
	files, err := filepath.Glob(testdata("lines", "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files of lines: %v", err)
	}
	n := 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(strings.TrimSuffix(string(b), "\n"), "\n") {
			if strings.HasPrefix(line, "##") || line == "" {
				continue
			}
			for _, opts := range []oracleOptions{
				{}, {Autoescape: true}, {Undefined: "strict"}, {Undefined: "chainable", Autoescape: true},
				{TrimBlocks: true, LstripBlocks: true, KeepTrailingNewline: true, Do: true, LoopControls: true},
			} {
				r := &request{Templates: map[string]string{"main": strings.ReplaceAll(line, "⏎", "\n")}, Main: "main",
					vars: lineVars(), Options: opts}
				if diff := o.compare(t, r); diff != "" {
					t.Errorf("%s:%d:\n%s", filepath.Base(file), i+1, diff)
				}
				n++
			}
		}
	}
	t.Logf("%d renders of templates of one line", n)
}

// TestCases compares the archives of testdata/jinja/cases with the original.
func TestCases(t *testing.T) {
	o := startOracle(t)
	files, err := filepath.Glob(testdata("cases", "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			r := &request{Templates: map[string]string{}, Main: "main"}
			for _, f := range ar.Files {
				switch f.Name {
				case "vars.json":
					var v any
					if err := json.Unmarshal(f.Data, &v); err != nil {
						t.Fatal(err)
					}
					d := unwire(v).(*Dict)
					r.vars = map[string]any{}
					for _, k := range d.Keys() {
						r.vars[k.(string)], _ = d.Get(k)
					}
				case "options.json":
					if err := json.Unmarshal(f.Data, &r.Options); err != nil {
						t.Fatal(err)
					}
				default:
					r.Templates[f.Name] = string(f.Data)
				}
			}
			if diff := o.compare(t, r); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// unwire decodes what wire encodes, as far as the cases need it.
func unwire(v any) any {
	switch v := v.(type) {
	case float64:
		return int64(v)
	case []any:
		l := &List{}
		for _, x := range v {
			l.Items = append(l.Items, unwire(x))
		}
		return l
	case map[string]any:
		d := NewDict()
		for _, pair := range v["d"].([]any) {
			kv := pair.([]any)
			d.Set(unwire(kv[0]), unwire(kv[1]))
		}
		return d
	}
	return v
}
