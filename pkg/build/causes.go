package build

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// Cause is the line of a command's output that gives the reason of its failure.
type Cause struct {
	Text string
	Name string // the name in it that does not exist, of a package or a program, or ""
	Hint string // what to do, or ""
}

// causePattern matches the lines of one kind of cause. The group "text" is what is
// shown, the whole line without it; the group "name" is Cause.Name.
type causePattern struct {
	re    *regexp.Regexp
	rank  causeRank
	first bool // later lines of the kind are consequences or further examples
	hint  string
}

// causeRank orders causes: one of a higher rank replaces one of a lower rank, and among
// equals the later one is nearer to the end of the command.
type causeRank int

const (
	rankNone     causeRank = iota
	rankLine               // a line that mentions an error
	rankSummary            // a program's last words, which repeat that it failed
	rankProgram            // a program that steps call reports that it failed; a wrapper may repeat it
	rankCause              // the reason itself
	rankResource           // no memory or disk space, which causes other errors
)

const (
	memoryHint  = "fewer images at once need less memory: --threads N; --image-memory SIZE reserves some for each"
	diskHint    = "kolla-build gc --builder-cache frees space in the data directory"
	programHint = "the image does not have this program: an earlier step must install the package that has it"
)

// causePatterns are what package managers, downloaders, compilers and shells print. The
// files in testdata/causes are outputs of them.
var causePatterns = []causePattern{
	// Resources.
	{re: line(`.*No space left on device.*`), rank: rankResource, hint: diskHint},
	{re: line(`.*(Cannot allocate memory|[Oo]ut of memory|virtual memory exhausted).*|MemoryError(: .*)?`), rank: rankResource, hint: memoryHint},
	{re: line(`.*(fatal error: Killed signal terminated program|\bKilled$).*`), rank: rankResource, hint: memoryHint},

	// apt and dpkg.
	{re: line(`E: Unable to locate package (?P<name>\S+)`), rank: rankCause, first: true},
	{re: line(`E: Package '(?P<name>[^']+)' has no installation candidate`), rank: rankCause, first: true},
	{re: line(`E: Version '.*' for '.*' was not found`), rank: rankCause, first: true},
	{re: line(`\s*(?P<text>\S+ : (Pre-)?Depends: .* but .*)`), rank: rankCause, first: true},
	{re: line(`E: (Failed to fetch|The repository) .*`), rank: rankCause, first: true},
	{re: line(`dpkg: error processing .*`), rank: rankCause, first: true},
	{re: line(`E: .*`), rank: rankSummary},

	// dnf.
	{re: line(`(Error: )?(?P<text>No match for argument: (?P<name>\S+))`), rank: rankCause, first: true},
	{re: line(`Error: Failed to download metadata for repo .*`), rank: rankResource, first: true},
	{re: line(`\s*- (?P<text>nothing provides .*)`), rank: rankCause, first: true},
	{re: line(`Error: (GPG check FAILED|Problem: ).*`), rank: rankCause},
	{re: line(`Error: (?P<text>Unable to find a match: (?P<name>\S+).*)`), rank: rankSummary},

	// pip and Python.
	{re: line(`ERROR: (?P<text>No matching distribution found for (?P<name>[A-Za-z0-9._-]+).*)`), rank: rankCause},
	{re: line(`ERROR: (THESE PACKAGES DO NOT MATCH THE HASHES|Cannot install|Could not open requirements file|Invalid requirement).*`), rank: rankCause},
	{re: line(`ERROR: (?P<text>ResolutionImpossible.*)`), rank: rankSummary},
	{re: line(`ModuleNotFoundError: No module named .*`), rank: rankCause},
	{re: line(`([A-Za-z_][A-Za-z0-9_]*\.)*[A-Z][A-Za-z0-9]*(Error|Exception): .+`), rank: rankCause},

	// Downloads and checksums.
	{re: line(`curl: \(\d+\) .*`), rank: rankCause},
	{re: line(`wget: .*`), rank: rankCause},
	{re: line(`.*(?P<text>ERROR \d{3}: .*)`), rank: rankCause},
	{re: line(`Connecting to .*\.\.\. (?P<text>failed: .*)`), rank: rankCause},
	{re: line(`(?P<text>.+: FAILED( open or read)?)`), rank: rankCause, first: true},
	{re: line(`\w+sum: WARNING: .* computed checksums? did NOT match`), rank: rankSummary},

	// git and patch.
	{re: line(`fatal: .*`), rank: rankCause, first: true},
	{re: line(`error: (pathspec|patch failed|RPC failed|unable to).*`), rank: rankCause, first: true},
	{re: line(`\d+ out of \d+ hunks? (FAILED|ignored).*`), rank: rankCause},
	{re: line(`can't find file to patch at .*`), rank: rankCause},

	// Compilers and what runs them.
	{re: line(`\S+:\d+(:\d+)?: (fatal )?error: .*`), rank: rankCause, first: true},
	{re: line(`\S+\.go:\d+:\d+: .*`), rank: rankCause, first: true},
	{re: line(`.*: undefined reference to .*`), rank: rankCause, first: true},
	{re: line(`configure: error: .*`), rank: rankCause},
	{re: line(`CMake Error at .*`), rank: rankCause, first: true},
	{re: line(`error\[E\d+\]: .*`), rank: rankCause, first: true},
	{re: line(`collect2: error: .*`), rank: rankSummary},
	{re: line(`make(\[\d+\])?: \*\*\* .*`), rank: rankLine},
	{re: line(`npm (ERR!|error) (?P<text>(\w*Error: |notarget |\d{3} ).*)`), rank: rankCause, first: true},

	// Shells and the usual programs of templates.
	{re: line(`(\S*/)?(ba|da|a|z|k)?sh: (line )?(\d+: )?(?P<text>(?P<name>\S+): (command )?not found)`), rank: rankCause, hint: programHint},
	{re: line(`(\S*/)?(ba|da|a|z|k)?sh: (line )?(\d+: )?(?P<text>.*(Permission denied|[Ss]yntax error|No such file or directory|bad substitution|unbound variable|parameter not set).*)`), rank: rankCause},
	{re: line(`(chown|chgrp|chmod|cp|mv|ln|mkdir|install|useradd|usermod|groupadd|userdel|groupdel|cat|unzip|openssl|gpg|rpm|patch): .*`), rank: rankProgram, first: true},
	{re: line(`(tar|sed|gzip|xz|bzip2|unxz): .*(Cannot|No such|can't|unknown|not in|unterminated|corrupt|Unexpected).*`), rank: rankProgram, first: true},
	{re: line(`(update-alternatives|systemctl|a2\w+|locale-gen): error: .*`), rank: rankProgram},

	// Anything that mentions an error.
	{re: line(`\[?(ERROR|FATAL|Error|error)\]?:? .*`), rank: rankLine},
	{re: line(`.*\b(error|ERROR|Error): .*`), rank: rankLine},
}

// line compiles a pattern for whole lines.
func line(pattern string) *regexp.Regexp { return regexp.MustCompile(`^(?:` + pattern + `)$`) }

// CauseFinder finds the cause of a failure in the lines of a command's output. The zero
// value has seen no line.
type CauseFinder struct {
	cause   Cause
	rank    causeRank
	pattern int
	more    int // further lines of the same kind
}

// maxCauseLine is the longest line, in bytes, that is looked at: causes are short.
const maxCauseLine = 2000

// Line looks at the next line.
func (f *CauseFinder) Line(text string) {
	if len(text) > maxCauseLine || strings.HasPrefix(text, "+ ") { // "set -x" prints commands
		return
	}
	text = strings.TrimRight(ansi.Strip(text), " \t\r\n")
	for i, p := range causePatterns {
		if p.rank < f.rank {
			continue
		}
		m := p.re.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		c := Cause{Text: strings.TrimSpace(text), Hint: p.hint}
		if g := p.re.SubexpIndex("text"); g >= 0 {
			c.Text = m[g]
		}
		if g := p.re.SubexpIndex("name"); g >= 0 {
			c.Name = m[g]
		}
		if f.rank == p.rank && f.pattern == i && p.first {
			if c.Text != f.cause.Text {
				f.more++
			}
			return
		}
		f.cause, f.rank, f.pattern, f.more = c, p.rank, i, 0
		return
	}
}

// Cause returns the cause of a command that ended with an exit code. It is zero if the
// output does not show one.
func (f *CauseFinder) Cause(exitCode int) Cause {
	switch {
	case exitCode == 137: // SIGKILL
		return Cause{Text: "the command was killed, most likely because memory was short", Hint: memoryHint}
	case f.more > 0 && f.cause.Name != "":
		c := f.cause
		c.Text += fmt.Sprintf(" (and %d more)", f.more)
		return c
	}
	return f.cause
}
