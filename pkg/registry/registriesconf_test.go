package registry

import (
	"runtime"
	"strings"
	"testing"
)

// TestRegistriesConfLimits checks that a registries.conf which may be read takes little memory,
// and that a larger one is refused.
func TestRegistriesConfLimits(t *testing.T) {
	for name, text := range map[string]string{
		"a dotted key":   strings.Repeat("a.", maxRegistriesConf/2-2) + "a=1",
		"a dotted table": "[" + strings.Repeat("a.", maxRegistriesConf/2-2) + "a]",
		"a list":         "x=[" + strings.Repeat("1,", maxRegistriesConf/2-2) + "]",
		"tables":         strings.Repeat("[[registry]]\n", maxRegistriesConf/13),
		"nested lists":   "x=" + strings.Repeat("[", maxRegistriesConf-2),
		"nested tables":  "x=" + strings.Repeat("{x=", maxRegistriesConf/3-1),
	} {
		if len(text) > maxRegistriesConf {
			t.Fatalf("%s: the test has %d bytes", name, len(text))
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := parseRegistriesConf([]byte(text))
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 128<<20 {
			t.Errorf("%s: %d MiB were allocated (%v)", name, got>>20, err)
		}
		text += strings.Repeat(" ", maxRegistriesConf+1-len(text))
		if _, err := parseRegistriesConf([]byte(text)); err == nil ||
			!strings.Contains(err.Error(), "it is larger than 262144 bytes") {
			t.Errorf("%s and spaces: %v", name, err)
		}
	}
}
