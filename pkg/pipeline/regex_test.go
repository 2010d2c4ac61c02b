package pipeline

import (
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/graph"
)

func TestBacktracking(t *testing.T) {
	var b backtracking
	res, err := graph.CompileRegexes([]string{`^(?!nova)(?:.*)-api$`, `^(\w)\1`}, b.compile)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"nova-api": false, "glance-api": true, "glance-base": false, "aaodh": true} {
		if got := res.Match(name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if _, err := graph.CompileRegexes([]string{"(?<=x"}, b.compile); err == nil || !strings.Contains(err.Error(), "look-around") {
		t.Errorf("a broken look-around: %v", err)
	}
	if b.err != nil {
		t.Fatal(b.err)
	}
	res, err = graph.CompileRegexes([]string{`(?!x)(a+)+$`}, b.compile)
	if err != nil {
		t.Fatal(err)
	}
	res.Match(strings.Repeat("a", 40) + "!")
	if b.err == nil || !strings.Contains(b.err.Error(), "took longer") {
		t.Errorf("a match without end: %v", b.err)
	}
}
