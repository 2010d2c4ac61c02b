package cli

import (
	"bytes"
	"flag"
	"maps"
	"slices"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

func TestHelpTexts(t *testing.T) {
	build := Command{Args: "[REGEX…]", Summary: "Build images.",
		Examples: []Example{{Line: "kolla-build -b debian nova", Effect: "Build nova."}}}
	load := Command{Name: "load", Args: "FILE", Summary: "Load images.",
		Options: []string{"registry", "namespace", "push", "threads", "data-dir"}, Flags: func(f *pflag.FlagSet) {
			f.StringP("output", "o", "", "Write to this `FILE`.")
			f.Bool("push", false, "Push what was loaded.")
		}}
	texts := map[string]string{}
	for name, c := range map[string]Command{"help.txt": build, "help-load.txt": load} {
		var short, long bytes.Buffer
		if err := Help(&short, c, []Command{build, load}); err != nil {
			t.Fatal(err)
		}
		if err := HelpAll(&long, c, []Command{build, load}); err != nil {
			t.Fatal(err)
		}
		texts[name], texts["all-"+name] = short.String(), long.String()
	}
	for name, text := range texts {
		t.Run(name, func(t *testing.T) { testenv.Golden(t, name, text, *update) })
	}
	testenv.GoldenNames(t, slices.Collect(maps.Keys(texts)))
}
