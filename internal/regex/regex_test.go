package regex

import (
	"errors"
	"runtime"
	"strings"
	"testing"
)

// TestCompile checks that expressions of people compile, and that large ones are refused
// before they take memory.
func TestCompile(t *testing.T) {
	for _, expr := range []string{"nova", "^(nova|neutron)-.*$", "(?i)x{1000}", `\pL+`, `[a-z]{1,63}(\.[a-z]{1,63}){0,10}`,
		strings.Repeat("image|", 2000)} {
		if re, err := Compile(expr); err != nil || re.String() != expr {
			t.Errorf("%.40q: %v", expr, err)
		}
	}
	if _, err := Compile("("); err == nil {
		t.Error("a parenthesis without an end was accepted")
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, expr := range []string{strings.Repeat("x{1000}", 500), strings.Repeat("(x{30}){30}", 300),
		`(\pL{10}){90}` + strings.Repeat("y{900}", 400),
		strings.Repeat("(x)", 900) + "y{1000}", strings.Repeat("((((",
			200) + "x" + strings.Repeat("))))", 200) + "(x{100}){10}",
	} {
		if _, err := Compile(expr); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%.40q: %v", expr, err)
		}
	}
	runtime.ReadMemStats(&after)
	if grew := (after.TotalAlloc - before.TotalAlloc) >> 20; grew > 20 {
		t.Errorf("refusing them took %d MiB", grew)
	}
}
