package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/spf13/pflag"
)

// completeCommands are commands with an example of each kind of completion.
var completeCommands = []Command{
	{Args: "[REGEX…]", Values: config.ValuesImages},
	{Name: "plan", Summary: "Plan.", Values: config.ValuesImages, Options: []string{"base", "base-tag", "profile"},
		Flags: func(f *pflag.FlagSet) {
			f.Bool("json", false, "Print JSON.")
			f.StringP("output", "o", "", "A `FILE`.")
			f.String("where", "", "A `DIR`.")
		}},
	{Name: "registry", Summary: "Serve.", Words: []string{"serve", "gc"}},
	{Name: "help", Summary: "Help.", Values: config.ValuesCommands},
	{Name: "load", Summary: "Load.", Values: config.ValuesFiles},
	{Name: "bootstrap", Summary: "Make.", Values: config.ValuesDistros},
	{Name: "__complete", Hidden: true},
}

func TestComplete(t *testing.T) {
	candidates := func(cmd Command, before []string, kind config.Values) []Candidate {
		words := map[config.Values][]string{config.ValuesImages: {"nova-api", "nova-base", "glance"},
			config.ValuesProfiles: {"infra", "main"}, config.ValuesTags: {strings.Join(before, "+")}}[kind]
		var out []Candidate
		for _, w := range words {
			out = append(out, Candidate{Word: w})
		}
		return out
	}
	for _, c := range []struct {
		line string // the words; a blank at the end begins a new one
		want string // the candidates, joined by blanks; "+" before a kind of files
	}{
		{"", "bootstrap build glance help load nova-api nova-base plan registry"},
		{"no", "nova-api nova-base"},
		{"pl", "plan"},
		{"plan pl", ""}, // a command's name comes once
		{"nova pl", ""},
		{"--debug pl", "plan"},
		{"-- pl", ""},
		{"-- no", "nova-api nova-base"},
		{"--base ", "centos debian oraclelinux rocky ubuntu"},
		{"--base u", "ubuntu"},
		{"--base=u", "--base=ubuntu"},
		{"-b u", "ubuntu"},
		{"-bu", "-bubuntu"},
		{"-qb u", "ubuntu"},
		{"-base u", "ubuntu"}, // one dash before a long name is understood
		{"--base-tag ", ""},
		{"-b ubuntu --base-tag ", "-b+ubuntu"}, // the words before the option that waits
		{"--base-t", "--base-tag"},
		{"--base x --base", "--base-arch --base-image --base-mirror --base-tag --base_package_type"},
		{"--profile infra --prof", "--profile"}, // it can be repeated
		{"-p i", "infra"},
		{"--nopu", "--nopull --nopush"},
		{"--ca", "--cache --cache-size"},
		{"--nocac", "--nocache"},
		{"--cache=", "--cache=false --cache=true"},
		{"--allowed-to-fail x,no", "x,nova-api x,nova-base"},
		{"--allowed-to-fail=no", "--allowed-to-fail=nova-api --allowed-to-fail=nova-base"},
		{"--platform linux/a", "linux/amd64 linux/arm64"},
		{"--config-file ", "+files"},
		{"--config-file=a", "+files"},
		{"--docker-dir ", "+dirs"},
		{"-D", "-D"},
		{"--tag ", ""},
		{"--nosuch ", "bootstrap build glance help load nova-api nova-base plan registry"},
		{"--nosuch=", ""},
		{"plan --js", "--json"},
		{"--json plan --js", "--json"},
		{"plan --output ", "+files"},
		{"plan -o ", "+files"},
		{"plan --where=", "+dirs"},
		{"plan --names", ""}, // plan does not read it
		{"plan --ba", "--base --base-tag"},
		{"registry ", "gc serve"},
		{"registry serve ", ""},
		{"help p", "plan"},
		{"load ", "+files"},
		{"bootstrap u", "ubuntu"},
		{"__comp", ""},
	} {
		got := Complete(CompleteInput{Words: strings.Split(c.line, " "), Commands: completeCommands, LookUp: candidates})
		var words []string
		for _, k := range got.Candidates {
			words = append(words, k.Word)
		}
		if got.Files != "" {
			words = append(words, "+"+string(got.Files))
		}
		if strings.Join(words, " ") != c.want {
			t.Errorf("kolla-build %s: %q, want %q", c.line, words, c.want)
		}
	}
}

// TestCompleteEveryOption checks that the name of each option can be completed,
// and its values if they are choices.
func TestCompleteEveryOption(t *testing.T) {
	has := func(word string, before ...string) bool {
		got := Complete(CompleteInput{Words: append(before, word), Commands: completeCommands})
		return slices.ContainsFunc(got.Candidates, func(c Candidate) bool {
			return c.Word == word &&
				!strings.Contains(c.Help, "\n")
		})
	}
	for _, o := range config.Options() {
		if o.Positional {
			continue
		}
		if !has("--" + o.Name) {
			t.Errorf("--%s is not completed", o.Name)
		}
		for _, choice := range o.Choices {
			if !has(choice, "--"+o.Name) || !has("--"+o.Name+"="+choice) {
				t.Errorf("--%s %s is not completed", o.Name, choice)
			}
		}
		if o.Kind == config.Bool && !o.CommandLineOnly && !has("--no"+o.Name) {
			t.Errorf("--no%s is not completed", o.Name)
		}
	}
}
