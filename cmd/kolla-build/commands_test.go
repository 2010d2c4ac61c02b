package main

import (
	"bytes"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
)

// TestHelpFits checks that the help of every command fits on a screen of 80 columns
// and 40 lines, and that the long help shows every option.
func TestHelpFits(t *testing.T) {
	commands := table()
	for _, c := range commands {
		var short, long bytes.Buffer
		if err := cli.Help(&short, c.Command, described(commands)); err != nil {
			t.Fatal(err)
		}
		if err := cli.HelpAll(&long, c.Command, described(commands)); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(short.String(), "\n"); n > 40 {
			t.Errorf("help of %q: %d lines", c.Name, n)
		}
		for line := range strings.SplitSeq(short.String()+long.String(), "\n") {
			if n := len([]rune(line)); n > 80 {
				t.Errorf("help of %q: a line of %d characters: %s", c.Name, n, line)
			}
		}
		own := pflag.NewFlagSet(c.Name, pflag.ContinueOnError)
		if c.Flags != nil {
			c.Flags(own)
		}
		for _, o := range config.Options() {
			if own.Lookup(o.Name) != nil {
				continue // the command's own flag replaces it
			}
			shown := strings.Contains(long.String(), "--"+o.Name+" ") || strings.Contains(long.String(), "--"+o.Name+"\n")
			if shown != c.Reads(o) && !o.Positional && !c.Hidden {
				t.Errorf("long help of %q: --%s is shown: %v, the command reads it: %v", c.Name, o.Name, shown, c.Reads(o))
			}
		}
		if c.Summary == "" || !strings.HasSuffix(c.Summary, ".") {
			t.Errorf("command %q: the summary is not a sentence: %q", c.Name, c.Summary)
		}
		if len(c.Examples) == 0 && !c.Hidden {
			t.Errorf("command %q has no example", c.Name)
		}
	}
}

// TestExamplesParse checks that the examples in the help use options that exist.
func TestExamplesParse(t *testing.T) {
	for _, c := range table() {
		for _, e := range c.Examples {
			line, _, _ := strings.Cut(e.Line, " > ")
			line, _, _ = strings.Cut(line, " | ")
			got, rest := pick(table(), strings.Fields(line)[1:])
			if got.Name != c.Name {
				t.Errorf("%s: read as the command %q, want %q", e.Line, got.Name, c.Name)
			}
			_, err := cli.Load(cli.Input{Command: got.Command, Args: rest, Dir: t.TempDir(), SystemFile: "none",
				Profiles: map[string][]string{"infra": {"^mariadb"}}})
			if err != nil {
				t.Errorf("%s: %v", e.Line, err)
			}
		}
	}
}

// TestPick checks where on a command line a command is recognized.
func TestPick(t *testing.T) {
	for _, c := range []struct {
		line, command, rest string
	}{
		{"", "", ""},
		{"nova", "", "nova"},
		{"plan nova", "plan", "nova"},
		{"--debug plan nova", "plan", "--debug nova"},
		{"-b debian plan nova", "plan", "-b debian nova"},
		{"-bdebian --tag plan plan", "plan", "-bdebian --tag plan"},
		{"--tag plan", "", "--tag plan"},
		{"--tag plan nova", "", "--tag plan nova"},
		{"-p plan", "", "-p plan"},
		{"--json plan nova", "plan", "--json nova"},
		{"-o save save", "save", "-o save"},
		{"--output x save nova", "save", "--output x nova"},
		{"nova plan", "", "nova plan"},
		{"-- plan", "", "-- plan"},
		{"--debug -- plan", "", "--debug -- plan"},
		{"plan -- plan", "plan", "-- plan"},
		{"-profile containers plan", "plan", "-profile containers"},
		{"plan plan", "plan", "plan"},
		{"-z plan", "plan", "-z"}, // the unknown option is then a mistake of plan
		{"build nova", "", "nova"},
		{"nova build", "", "nova build"},
		{"tag host/kolla:a b", "tag", "host/kolla:a b"},
		{"--data-dir D tag host/kolla:a b", "tag", "--data-dir D host/kolla:a b"},
		{"--data-dir=D tag -n host:4000/kolla:a b", "tag", "--data-dir=D -n host:4000/kolla:a b"},
		{"--data-dir D tag", "", "--data-dir D tag"}, // trove-guestagent
		{"--data-dir D tag --logs-dir /logs nova", "", "--data-dir D tag --logs-dir /logs nova"},
		{"man", "man", ""},
		{"--data-dir D man", "", "--data-dir D man"}, // manila
		{"-- build", "", "-- build"},
	} {
		got, rest := pick(table(), strings.Fields(c.line))
		if got.Name != c.command || !slices.Equal(rest, strings.Fields(c.rest)) {
			t.Errorf("kolla-build %s: command %q with %q, want %q with %q", c.line, got.Name, rest, c.command, strings.Fields(c.rest))
		}
	}
}

// TestCommandsSelectNoImage checks that no command hides a regular expression that a user
// may type after options, as with Kolla: the name of a command does not match an image,
// or is a command only as the first word. The verbs of other tools do not match images
// either, unless their hint explains how to use them as regular expressions.
func TestCommandsSelectNoImage(t *testing.T) {
	data, err := os.ReadFile("testdata/kolla-images.txt") // the images of Kolla, July 2026
	if err != nil {
		t.Fatal(err)
	}
	images := strings.Fields(string(data))
	if len(images) < 100 {
		t.Fatalf("%d images", len(images))
	}
	words := slices.Collect(maps.Keys(verbs))
	for _, c := range table() {
		if c.Name != "" && !c.first {
			words = append(words, c.Name)
		}
	}
	for _, word := range words {
		for _, im := range images {
			if strings.Contains(im, word) {
				t.Errorf("the word %s is part of the image name %s", word, im)
			}
		}
	}
}
