package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
)

// TestHelpOfSharedOptions checks that the help of commands that do not build neither speaks of
// building nor names options that they do not have.
func TestHelpOfSharedOptions(t *testing.T) {
	named := regexp.MustCompile(`--[a-z][a-z_-]+`)
	commands := table()
	for _, c := range commands {
		if c.Name == "" || c.Hidden || c.Reads(config.Lookup("cache")) {
			continue
		}
		var help bytes.Buffer
		if err := cli.HelpAll(&help, c.Command, described(commands)); err != nil {
			t.Fatal(err)
		}
		_, text, _ := strings.Cut(help.String(), "\n      --")
		text, _, _ = strings.Cut(text, "\nTurn a switch off")
		own := pflag.NewFlagSet(c.Name, pflag.ContinueOnError)
		if c.Flags != nil {
			c.Flags(own)
		}
		for _, name := range named.FindAllString(text, -1) {
			o := config.Lookup(name[2:])
			negated := config.Lookup(strings.TrimPrefix(name, "--no"))
			if name != "--keep" && own.Lookup(name[2:]) == nil && (o == nil || !c.Reads(o)) &&
				(negated == nil || !c.Reads(negated)) {
				t.Errorf("help of %s: it has no option %s", c.Name, name)
			}
		}
		for _, words := range []string{"to build at", "to build for", "are built for",
			"retries of an image", "retry an image"} {
			if strings.Contains(strings.Join(strings.Fields(text), " "), words) {
				t.Errorf("help of %s: %q", c.Name, words)
			}
		}
	}
}

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
			got, rest, _ := pick(table(), strings.Fields(line)[1:])
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
		{"--output push save", "save", "--output push"},
		{"--output images save", "save", "--output images"},
		{"-o images save", "save", "-o images"},
		{"--out images save", "save", "--out images"},
		{"--out=images save", "save", "--out=images"},
		{"--older images gc", "gc", "--older images"},
		{"--out images", "", "--out images"},
		{"--output images", "", "--output images"},
		{"--json images", "images", "--json"},
		{"nova plan", "", "nova plan"},
		{"-- plan", "", "-- plan"},
		{"--debug -- plan", "", "--debug -- plan"},
		{"plan -- plan", "plan", "-- plan"},
		{"-profile containers plan", "plan", "-profile containers"},
		{"plan plan", "plan", "plan"},
		{"-z plan", "plan", "-z"}, // the unknown option is then a mistake of plan
		{"build nova", "", "nova"},
		{"nova build", "", "nova build"},
		{"-b debian build nova", "", "-b debian nova"},
		{"-b ubuntu save --output x.tar", "save", "-b ubuntu --output x.tar"},
		{"-b ubuntu nova zun", "", "-b ubuntu nova zun"},
		{"-b ubuntu list x.tar", "list", "-b ubuntu x.tar"},
		{"-b ubuntu -- list", "", "-b ubuntu -- list"},
		{"tag host/kolla:a b", "tag", "host/kolla:a b"},
		{"--data-dir D tag host/kolla:a b", "tag", "--data-dir D host/kolla:a b"},
		{"--data-dir=D tag -n host:4000/kolla:a b", "tag", "--data-dir=D -n host:4000/kolla:a b"},
		{"--data-dir D tag", "tag", "--data-dir D"},
		{"man", "man", ""},
		{"--data-dir D man", "man", "--data-dir D"},
		{"-- build", "", "-- build"},
	} {
		got, rest, _ := pick(table(), strings.Fields(c.line))
		if got.Name != c.command || !slices.Equal(rest, strings.Fields(c.rest)) {
			t.Errorf("kolla-build %s: command %q with %q, want %q with %q", c.line, got.Name, rest,
				c.command, strings.Fields(c.rest))
		}
	}
}

// TestCommandAfterOptions runs commands and verbs of other tools after the options of a
// build: what the option means for the command, and what the error names.
func TestCommandAfterOptions(t *testing.T) {
	for _, c := range []struct {
		line string
		code int
		want string // a regular expression for both outputs
	}{
		{"-b debian save --output x.tar", exitFailed,
			`warning: -b debian has no effect: kolla-build save does not read it\n(?s:.*)no store`},
		{"--dry-run images base", exitUsage, "has no --dry-run"},
		{"--dry-run remove base", exitFailed, "no store"},
		{"-b debian version", exitOK, "BuildKit"},
		{"-b debian lint --threads 3", exitUsage, "--threads is not an option of kolla-build lint"},
		{"-b debian list", exitUsage, "no saved file is given"},
		{"-b debian run", exitUsage, `unknown command "run"\n  hint: kolla-build builds images;(?s:.*)kolla-build -- run`},
		{"-b debian push", exitUsage, `unknown command "push"`},
		{"-b debian push svc", exitUsage, `unknown command "push"\n  hint: (?s:.*)kolla-build -- push`},
		{"-b debian --list-images run svc-a", exitUsage, `unknown command "run"`},
		{"-b debian --list-images -- run svc-a", exitOK, "svc-a"},
		{"-b debian --list-images svc-a plan", exitOK,
			`"plan" is a regular expression after other words\n  hint: .*kolla-build plan(?s:.*)svc-a`},
		{"-b debian --list-images svc-a save", exitOK, `"save" is a regular expression after other words`},
		{"-b debian --list-images build svc-a", exitOK, "svc-a"},
		{"-b debian scv-a", exitUsage, `matches none of the 5 images\n  hint: did you mean svc-a\?`},
		{"-b debian svae", exitUsage, `hint: did you mean kolla-build save\?`},
		{"-b debian svvc", exitUsage, `hint: did you mean svc\?`},
	} {
		args := strings.Fields("--images-dir " + filepath.Join(testenv.RepoRoot(t), "testdata/tree") + " " + c.line)
		environ := []string{"HOME=" + t.TempDir(), "KOLLA_BUILD_DATA_DIR=" + filepath.Join(t.TempDir(), "data")}
		var out bytes.Buffer
		if code := run(args, environ, &out, &out); code != c.code {
			t.Errorf("kolla-build %s: exit status %d, want %d", c.line, code, c.code)
		}
		if !regexp.MustCompile(c.want).MatchString(out.String()) {
			t.Errorf("kolla-build %s: want %s in\n%s", c.line, c.want, out.String())
		}
	}
}

// TestWordsThatMatchImages runs builds of a tree whose images have the names of commands and of
// verbs of other tools. After options, a word that matches an image is a regular expression.
func TestWordsThatMatchImages(t *testing.T) {
	dir := t.TempDir()
	for _, image := range []string{"base", "push", "ovs-exporter", "aodh-listener"} {
		if err := os.Mkdir(filepath.Join(dir, image), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, image, "Dockerfile.j2"), []byte("FROM debian\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		line, warning, want string
		code                int
	}{
		{"--list-images push", `warning: "push" is read as a regular expression`, "push", exitOK},
		{"--list-images export", `warning: "export" is read as a regular expression`, "ovs-exporter", exitOK},
		{"--list-images export run", `warning: "export" is read as a regular expression`, "ovs-exporter", exitOK},
		{"--list-images -- export", "", "ovs-exporter", exitOK},
		{"--list-images base list", "", "aodh-listener", exitOK},
		{"--list-images base save", `warning: "save" is a regular expression after other words`, "base", exitOK},
		{"--list-images run", "", `unknown command "run"`, exitUsage},
		{"push --list-images", "", "kolla-build -- push builds the images", exitUsage},
		{"export --list-images", "", "kolla-build -- export builds the images", exitUsage},
	} {
		args := strings.Fields(strings.Replace(c.line, "--list-images", "--list-images -b debian --images-dir "+dir, 1))
		environ := []string{"HOME=" + t.TempDir(), "KOLLA_BUILD_DATA_DIR=" + filepath.Join(t.TempDir(), "data")}
		var stdout, stderr bytes.Buffer
		code := run(args, environ, &stdout, &stderr)
		if code != c.code || !strings.Contains(stdout.String()+stderr.String(), c.want) {
			t.Errorf("kolla-build %s: exit status %d, want %d and %q in\n%s%s", c.line, code, c.code, c.want, &stdout, &stderr)
		}
		if c.warning == "" == strings.Contains(stderr.String(), "a regular expression") ||
			!strings.Contains(stderr.String(), c.warning) {
			t.Errorf("kolla-build %s: want %q in\n%s", c.line, c.warning, &stderr)
		}
	}
}

// TestCommandsSelectNoImage checks that no command hides a regular expression that a user
// may type with Kolla's tool: its name is not a part of an image's name, except for the
// commands listed here.
func TestCommandsSelectNoImage(t *testing.T) {
	hidden := map[string]string{"list": "aodh-listener", "man": "manila-api", "tag": "trove-guestagent"}
	images := kollaImages(t)
	words := []string{"build"}
	for _, c := range table() {
		words = append(words, c.Name)
	}
	for _, word := range words {
		if im := hidden[word]; im != "" {
			if !slices.Contains(images, im) || !strings.Contains(im, word) {
				t.Errorf("%s is no image whose name contains %s", im, word)
			}
			continue
		}
		for _, im := range images {
			if word != "" && strings.Contains(im, word) {
				t.Errorf("the word %s is part of the image name %s", word, im)
			}
		}
	}
}

// TestFlagsOfCommandsAgree checks that flags of several commands with the same name are all
// switches or all take a value: FirstWord does not know yet to which command they belong.
func TestFlagsOfCommandsAgree(t *testing.T) {
	kinds := map[string]bool{}
	for _, c := range table() {
		if c.Flags == nil {
			continue
		}
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		c.Flags(flags)
		flags.VisitAll(func(f *pflag.Flag) {
			for _, name := range []string{"--" + f.Name, "-" + f.Shorthand} {
				isSwitch := f.NoOptDefVal != ""
				if known, ok := kinds[name]; ok && name != "-" && known != isSwitch {
					t.Errorf("%s %s: one command's flag is a switch, another's takes a value", c.Name, name)
				}
				kinds[name] = isSwitch
			}
		})
	}
}

// kollaImages returns the names of Kolla's images of July 2026.
func kollaImages(t *testing.T) []string {
	data, err := os.ReadFile("testdata/kolla-images.txt")
	if err != nil {
		t.Fatal(err)
	}
	images := strings.Fields(string(data))
	if len(images) < 100 {
		t.Fatalf("%d images", len(images))
	}
	return images
}
