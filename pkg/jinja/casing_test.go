package jinja

import (
	"strings"
	"testing"
)

// TestCasing compares the upper, lower and title case of all characters with Python's.
func TestCasing(t *testing.T) {
	if testing.Short() {
		t.Skip("compares 120,000 characters")
	}
	o := startOracle(t)
	var src strings.Builder
	src.WriteString("{% for c in l %}")
	for _, m := range []string{"upper", "lower", "title", "capitalize", "swapcase"} {
		src.WriteString("{{ c." + m + "() }} ")
	}
	src.WriteString("⏎{% endfor %}")
	for base := rune(0x20); base < 0x20000; base += 0x1000 {
		l := &List{}
		for r := base; r < base+0x1000; r++ {
			if r < 0xd800 || r >= 0xe000 {
				l.Items = append(l.Items, string(r))
			}
		}
		r := &request{Templates: map[string]string{"main": src.String()}, Main: "main", vars: map[string]any{"l": l}}
		r.Vars = wire(r.vars)
		want, got := strings.Split(o.ask(t, r).Text, "⏎"), strings.Split(r.ours().Text, "⏎")
		for i, c := range l.Items {
			if i < len(want) && i < len(got) && want[i] != got[i] {
				t.Errorf("%q: %q, not %q", c, got[i], want[i])
			}
		}
	}
}
