package optionuse

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestReads(t *testing.T) {
	const pkg = "github.com/kolla-build/kolla-build/internal/optionuse/testdata/program"
	p, err := Load(".", pkg+".Config", []string{"IsSet"}, "./testdata/program")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		function string
		except   []string
		want     string
	}{
		{"First", nil, "Called Closure Direct Method Variable by-name"},
		{"Second", nil, "Called Closure Direct Method Unread Variable by-name"},
		{"Second", []string{"First"}, "Unread"},
	} {
		reads, err := p.Reads(pkg, c.function, c.except...)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(slices.Sorted(maps.Keys(reads)), " "); got != c.want {
			t.Errorf("%s without %v reads %s, want %s", c.function, c.except, got, c.want)
		}
		for name, pos := range reads {
			if !strings.HasSuffix(pos.Filename, "program.go") || pos.Line == 0 {
				t.Errorf("%s: read at %v", name, pos)
			}
		}
	}
	if _, err := p.Reads(pkg, "Third"); err == nil {
		t.Error("a function that does not exist")
	}
	if _, err := Load(".", pkg+".None", nil, "./testdata/program"); err == nil {
		t.Error("a struct that does not exist")
	}
}
