package cli

import (
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/config"
)

// TestForeignOptions checks that options of other programs are errors with their hints,
// or warnings where Kolla's tool reads them as abbreviations, and that hints name options
// that exist.
func TestForeignOptions(t *testing.T) {
	for name, hint := range foreignOptions {
		dashes := "--"
		if len(name) == 1 {
			dashes = "-"
		}
		parsed, err := parse(Command{}, []string{dashes + name + "=x"}, nil)
		if name == "image" {
			if err != nil || len(parsed.Warnings) != 1 || parsed.Warnings[0].Hint != hint {
				t.Errorf("--image: %v %+v", err, parsed)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), dashes+name) || !strings.Contains(err.Error(), "hint: "+hint) {
			t.Errorf("--%s: %v", name, err)
		}
		for word := range strings.FieldsSeq(hint) {
			if option, ok := strings.CutPrefix(strings.TrimRight(word, ",;"), "--"); ok && config.Lookup(option) == nil && config.Lookup(strings.TrimPrefix(option, "no")) == nil {
				t.Errorf("the hint of --%s names --%s, which does not exist", name, option)
			}
		}
	}
}
