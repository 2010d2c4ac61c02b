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
		parsed, err := parse(Input{Args: []string{dashes + name + "=x"}})
		if name == "image" {
			if err != nil || len(parsed.Warnings) != 1 || parsed.Warnings[0].Hint != hint {
				t.Errorf("--image: %v %+v", err, parsed)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), dashes+name) || !strings.Contains(err.Error(), "hint: "+hint) {
			t.Errorf("--%s: %v", name, err)
		}
		for _, option := range optionsIn(hint) {
			if config.Lookup(option) == nil && config.Lookup(strings.TrimPrefix(option, "no")) == nil {
				t.Errorf("the hint of --%s names --%s, which does not exist", name, option)
			}
		}
	}
}

// optionsIn returns the names of the long options in a text.
func optionsIn(text string) []string {
	var names []string
	for word := range strings.FieldsSeq(text) {
		if option, ok := strings.CutPrefix(strings.TrimRight(word, ",;"), "--"); ok {
			names = append(names, option)
		}
	}
	return names
}

// TestForeignCommandOptions checks that such options of single commands are errors with their
// hints.
func TestForeignCommandOptions(t *testing.T) {
	for command, options := range foreignCommandOptions {
		for name, hint := range options {
			_, err := parse(Input{Command: Command{Name: command}, Args: []string{"--" + name + "=x"}})
			if err == nil || !strings.Contains(err.Error(), "--"+name) || !strings.Contains(err.Error(), "hint: "+hint) {
				t.Errorf("%s --%s: %v", command, name, err)
			}
		}
	}
}
