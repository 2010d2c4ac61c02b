package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/shlex"
	"github.com/spf13/pflag"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/profiles"
)

// documents returns the texts of the project's Markdown files by their paths, relative to
// the root of the repository.
func documents(t *testing.T) map[string]string {
	t.Helper()
	root := testenv.RepoRoot(t)
	texts := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "examples/*.md", "examples/*/*.md",
		"dockerfiles/*.md", "packaging/*.md"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			name, err := filepath.Rel(root, path)
			if err != nil {
				t.Fatal(err)
			}
			texts[name] = string(text)
		}
	}
	if len(texts) < 30 {
		t.Fatalf("only %d documents", len(texts))
	}
	return texts
}

var (
	optionCode = regexp.MustCompile("`--([a-z][a-z0-9_-]*)")
	inlineCode = regexp.MustCompile("`(kolla-build [^`]+)`")
	invocation = regexp.MustCompile(`(?:^|\$ |[#;&|(] ?|[A-Z_]+=\S+ )(?:\S*/)?kolla-build( .*)$`)
	shellEnd   = regexp.MustCompile(` (?:[|<>]|&&|>>|&$|&\s|2>)| &$|;(?: |$)|\)`)
	marked     = regexp.MustCompile(`["'][^"']*["']`)
)

// documentedCommands returns the invocations of the program in a document: in blocks of
// code, and in text between backquotes. Each is without the program's name and without what
// a shell would not pass to it.
func documentedCommands(text string) []string {
	var found []string
	add := func(line string) {
		// Quoted text may contain characters that end a command.
		hidden := marked.ReplaceAllStringFunc(line, func(s string) string { return strings.Repeat("q", len(s)) })
		if at := shellEnd.FindStringIndex(hidden); at != nil {
			line = line[:at[0]]
		}
		found = append(found, strings.TrimSpace(line))
	}
	inBlock, before := false, ""
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			inBlock, before = !inBlock, ""
			continue
		}
		if !inBlock {
			for _, m := range inlineCode.FindAllStringSubmatch(line, -1) {
				add(strings.TrimPrefix(m[1], "kolla-build"))
			}
			continue
		}
		line = before + line
		if joined, ok := strings.CutSuffix(line, `\`); ok {
			before = strings.TrimRight(joined, " ") + " "
			continue
		}
		before = ""
		if m := invocation.FindStringSubmatch(line); m != nil {
			add(m[1])
		}
	}
	return found
}

// TestDocumentedCommands checks that the commands in the documents have the options and
// arguments that the program accepts.
func TestDocumentedCommands(t *testing.T) {
	known, err := profiles.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"identity", "mine"} { // of examples of configuration files
		known[name] = []string{"^keystone"}
	}
	checked := 0
	for name, text := range documents(t) {
		for _, line := range documentedCommands(text) {
			words, err := shlex.Split(line)
			if err != nil {
				t.Errorf("%s: kolla-build %s: %v", name, line, err)
				continue
			}
			words = slices.DeleteFunc(words, func(w string) bool { return w == "…" || w == "..." })
			if len(words) == 0 || strings.HasPrefix(words[0], "COMMAND") {
				continue
			}
			checked++
			commands := table()
			if err := foreignVerb(words); err != nil {
				t.Errorf("%s: kolla-build %s: %v", name, line, err)
				continue
			}
			c, rest, before := pick(commands, words)
			if c.raw != nil {
				continue
			}
			// Documents name files that their reader has.
			for i, w := range rest {
				if w == "--config-file" && i+1 < len(rest) {
					rest[i+1] = os.DevNull
				}
			}
			_, err = cli.Load(cli.Input{Command: c.Command, Args: rest, Before: before, Dir: t.TempDir(), SystemFile: "none",
				Profiles: known, Commands: described(commands)})
			if err != nil && !errors.Is(err, cli.ErrHelp) && !errors.Is(err, cli.ErrVersion) {
				t.Errorf("%s: kolla-build %s: %v", name, line, err)
			}
		}
	}
	if checked < 140 {
		t.Errorf("only %d commands were found", checked)
	}
}

// otherOptions are options of other programs and instructions, and placeholders, that
// documents name alone.
var otherOptions = []string{"checksum", "privileged", "patch-from", "layering", "suppress-sync",
	"no-cache-dir", "mount", "network",
	"security", "check", "list-", "opt", "no", "no-"}

// TestDocumentedOptions checks that the options that documents name in text exist.
func TestDocumentedOptions(t *testing.T) {
	known := map[string]bool{}
	for _, c := range table() {
		p := pflag.NewFlagSet(c.Name, pflag.ContinueOnError)
		if c.Flags != nil {
			c.Flags(p)
		}
		p.VisitAll(func(f *pflag.Flag) { known[f.Name] = true })
	}
	for _, o := range config.Options() {
		for _, name := range append([]string{o.Name}, o.Aliases...) {
			known[config.CanonicalName(name)] = true
			if o.Kind == config.Bool {
				known["no"+name], known["no-"+name] = true, true
			}
		}
	}
	checked := 0
	texts := documents(t)
	delete(texts, "CHANGELOG.md") // it names options that were removed
	for name, text := range texts {
		for _, m := range optionCode.FindAllStringSubmatch(text, -1) {
			checked++
			if option := config.CanonicalName(m[1]); !known[option] && !slices.Contains(otherOptions, option) {
				t.Errorf("%s: there is no option --%s", name, m[1])
			}
		}
	}
	if checked < 300 {
		t.Errorf("only %d options were found", checked)
	}
}

var (
	link   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	target = regexp.MustCompile("(?:`|\\$ )make ([a-z][a-z-]*)")
	rule   = regexp.MustCompile(`(?m)^([a-z][a-z/-]*):`)
	markup = regexp.MustCompile("[^a-z0-9 _-]")
)

// anchors returns the anchors of a document's headings, as links name them.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for _, line := range strings.Split(text, "\n") {
		if heading := strings.TrimLeft(line, "#"); heading != line && strings.HasPrefix(heading, " ") {
			name := strings.TrimSpace(strings.ToLower(heading))
			found[strings.ReplaceAll(markup.ReplaceAllString(name, ""), " ", "-")] = true
		}
	}
	return found
}

// TestDocumentLinks checks that links between documents lead to existing files and headings,
// and that the targets of make that documents name exist.
func TestDocumentLinks(t *testing.T) {
	root := testenv.RepoRoot(t)
	texts := documents(t)
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string]bool{}
	for _, m := range rule.FindAllStringSubmatch(string(makefile), -1) {
		targets[m[1]] = true
	}
	links := 0
	for name, text := range texts {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			path, anchor, _ := strings.Cut(m[1], "#")
			file := name
			if path != "" {
				file = filepath.Join(filepath.Dir(name), path)
			}
			if _, err := os.Stat(filepath.Join(root, file)); errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: the link %s leads to no file", name, m[1])
			} else if anchor != "" && !anchors(texts[file])[anchor] {
				t.Errorf("%s: the link %s leads to no heading", name, m[1])
			}
		}
		inBlock := false
		for _, line := range strings.Split(text, "\n") {
			if strings.HasPrefix(line, "```") {
				inBlock = !inBlock
			}
			if inBlock {
				line = "$ " + line
			}
			for _, m := range target.FindAllStringSubmatch(line, -1) {
				if !targets[m[1]] {
					t.Errorf("%s: there is no target %q of make", name, m[1])
				}
			}
		}
	}
	if links < 100 {
		t.Errorf("only %d links were found", links)
	}
}
