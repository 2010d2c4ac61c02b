package main

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/cli"
)

// TestHelpFits holds every command's help to the width of a terminal.
func TestHelpFits(t *testing.T) {
	commands := table()
	for _, c := range commands {
		var b bytes.Buffer
		if err := cli.Help(&b, c.Command, described(commands)); err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(b.String(), "\n") {
			if n := len([]rune(line)); n > 80 {
				t.Errorf("help of %q: a line of %d characters: %s", c.Name, n, line)
			}
		}
		if c.Summary == "" || !strings.HasSuffix(c.Summary, ".") {
			t.Errorf("command %q: its summary is no sentence: %q", c.Name, c.Summary)
		}
		if len(c.Examples) == 0 && !c.Hidden && c.Name != "help" {
			t.Errorf("command %q has no example", c.Name)
		}
	}
}

// TestExamplesParse holds the examples in the help to the options that exist.
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

// TestPick holds where a command's name may stand.
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
		{"-z plan", "plan", "-z"}, // the unknown option is plan's mistake then
	} {
		got, rest := pick(table(), strings.Fields(c.line))
		if got.Name != c.command || !slices.Equal(rest, strings.Fields(c.rest)) {
			t.Errorf("kolla-build %s: command %q with %q, want %q with %q", c.line, got.Name, rest, c.command, strings.Fields(c.rest))
		}
	}
}

// TestCommandsSelectNoImage holds that no command hides a regular expression
// which somebody may have typed after options, as upstream's habit is: its name
// matches no image, or it is a command as the first word only.
func TestCommandsSelectNoImage(t *testing.T) {
	data, err := os.ReadFile("testdata/kolla-images.txt") // the images of Kolla, July 2026
	if err != nil {
		t.Fatal(err)
	}
	images := strings.Fields(string(data))
	if len(images) < 100 {
		t.Fatalf("%d images", len(images))
	}
	for _, c := range table() {
		if c.Name == "" || c.first {
			continue
		}
		for _, im := range images {
			if strings.Contains(im, c.Name) {
				t.Errorf("the command %s is a part of the image name %s", c.Name, im)
			}
		}
	}
}
