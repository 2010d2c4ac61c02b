package imageset

import (
	"strings"
	"testing"
)

func TestPatternsWithLookAround(t *testing.T) {
	p, err := CompilePatterns([]string{`^(?!nova)(?:.*)-api$`, `^(\w)\1`})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"nova-api": false, "glance-api": true, "glance-base": false, "aaodh": true} {
		if got, err := p.Match(name); got != want || err != nil {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
	}
	if _, err := CompilePatterns([]string{"(?<=x"}); err == nil || !strings.Contains(err.Error(), "look-around") {
		t.Errorf("an incomplete look-around: %v", err)
	}
}

func TestSlowPatternIsAnError(t *testing.T) {
	p, err := CompilePatterns([]string{`(?!x)(a+)+$`})
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := p.Match(strings.Repeat("a", 40) + "!"); ok || err == nil ||
		!strings.Contains(err.Error(), "took longer") {
		t.Errorf("an exponential match: %v, %v", ok, err)
	}
	if _, err := p.Match("a"); err == nil {
		t.Error("later matches are trusted")
	}
}
