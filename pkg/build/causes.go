package build

import (
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/charmbracelet/x/ansi"
)

// Cause is the line of a command's output that gives the reason of its failure.
type Cause struct {
	Text string
	Name string // the name of a missing package or program, or ""
	// Package reports that Name is a package of the distribution.
	Package bool
	Hint    string // what to do, or ""
}

// causePattern matches the lines of one kind of cause. The group "text" is the part
// that is shown, by default the whole line; the group "name" is Cause.Name.
type causePattern struct {
	re    *regexp.Regexp
	rank  causeRank
	first bool // later lines of the kind are consequences or further examples
	hint  string

	// family groups the patterns of programs that may print many lines between the
	// reason and their final message.
	family family
	// reader reports that the program fails because a program that it runs, or whose output it
	// reads, has failed. That program belongs to the same family, or to none.
	reader bool
	// missing reports that a package was not found, or a repository refused, which is a consequence
	// if a repository of the family could not be reached or verified.
	missing bool
	// joins reports that the message continues in the next line, which is indented.
	joins bool
}

type family string

const (
	aptFamily     family = "apt"
	archiveFamily family = "archive" // dpkg-deb, and dpkg about the archives that it reads
	dnfFamily     family = "dnf"
	pipFamily     family = "pip"
	buildFamily   family = "build" // compilers and build tools
	npmFamily     family = "npm"
	tlsFamily     family = "tls"
)

// causeRank orders the lines of one failure: among lines near each other, the one with
// the highest rank is the cause, and the later one if ranks are equal.
type causeRank int

const (
	rankNone     causeRank = iota
	rankLine               // a line that mentions an error
	rankSummary            // a program's final message, which repeats that it failed
	rankWrapper            // the same of a program that runs others, whose errors have more details
	rankProgram            // a program that steps call reports that it failed; a wrapper may repeat it
	rankCause              // the reason itself
	rankResource           // no memory or disk space, which causes other errors
)

const (
	memoryHint  = "fewer images at once need less memory: --threads N; --image-memory SIZE reserves some for each"
	diskHint    = "kolla-build gc --builder-cache frees space in the data directory"
	tlsHint     = "docs/private-ca.md explains how images trust a certificate authority of your own"
	shellHint   = "RUN needs the program in the image, by default /bin/sh: an earlier step must copy it"
	machineHint = "the program is for another architecture than the image"
	networkHint = "check the address of the repository, and that steps can reach it: proxy variables and --network-mode"
	keyHint     = "an earlier step must add the key of the repository, in the file that its signed-by names"
	patchHint   = "the patch may be for another version of the file: update it, or remove it from the series"
	programHint = "the image does not have this program: an earlier step must install the package that has it"

	rpmKeyHint = "an earlier step must add the key that signs the packages of the repository: " +
		"gpgkey in its .repo file, or rpm --import"
	rpmNoKeyHint = "its .repo file has gpgcheck=1 and no gpgkey: add the address or file of the key, " +
		"or rpm --import it in an earlier step"
	rpmKeyFileHint    = "an earlier step must add the file that gpgkey in the .repo file names"
	rpmKeyAddressHint = "check the address of gpgkey in the .repo file, and that steps can reach it: " +
		"proxy variables and --network-mode"
	rpmUnsignedHint = "a key does not help: sign the packages, or set gpgcheck=0 for their repository in its .repo file"
	rpmMetadataHint = "repo_gpgcheck=1 needs repodata/repomd.xml.asc in the repository, and its key as gpgkey in the " +
		".repo file"
)

// causePatterns match the errors of package managers, downloaders, compilers and
// shells. The files in testdata/causes contain their output. They are compiled at the first
// output of a step: that takes a megabyte.
var causePatterns = sync.OnceValue(func() []causePattern {
	return []causePattern{
		// Resources.
		{re: line(`.*[Nn]o space left on device.*|E(rror)?: You don't have enough free space in .*|` +
			`tar: .*: Wrote only \d+ of \d+ bytes`),
			rank: rankResource, hint: diskHint},
		{re: line(`\s*(?P<text>installing package .* needs .* more space on .*)`), rank: rankResource, hint: diskHint},
		{re: line(`.*(Cannot allocate memory|[Oo]ut of memory|virtual memory exhausted).*|MemoryError(: .*)?`),
			rank: rankResource, hint: memoryHint},
		{re: line(`.*(fatal error: Killed signal terminated program|\bKilled$).*`), rank: rankResource, hint: memoryHint},

		// Commands that cannot be started.
		{re: line(
			`runc run failed: unable to start container process: (?P<text>exec: "[^"]*": .*(not found|no such file).*)`),
			rank: rankCause, hint: shellHint},
		{re: line(`.*([Ee]xec format error|cannot execute binary file|Invalid ELF image for this architecture).*`),
			rank: rankCause, hint: machineHint},

		// Certificates. Package managers continue without the server, and then report missing packages.
		{re: line(`(?P<text>Could not fetch URL \S+: There was a problem confirming the ssl certificate): .*`),
			rank: rankResource, first: true,
			family: tlsFamily, hint: tlsHint},
		{re: line(`.*(SSL certificate problem|[Cc]ertificate verif(y|ication) failed|CERTIFICATE_VERIFY_FAILED|x509: |` +
			`SELF_SIGNED_CERT|The certificate of .* is not trusted).*`),
			rank: rankResource, first: true, family: tlsFamily, hint: tlsHint},

		// apt and dpkg. The command apt of version 3 prints "Error:" where apt-get prints "E:".
		{re: line(`(E|Error): Unable to locate package (?P<name>\S+)`),
			rank: rankCause, first: true, family: aptFamily, missing: true},
		{re: line(`(E|Error): Package '(?P<name>[^']+)' has no installation candidate`),
			rank: rankCause, first: true, family: aptFamily, missing: true},
		{re: line(`(E|Error): Version '.*' for '.*' was not found`),
			rank: rankCause, first: true, family: aptFamily, missing: true},
		{re: line(`\s*(?P<text>\S+ : (Pre-)?Depends: .* but .*)`),
			rank: rankCause, first: true, family: aptFamily, missing: true},
		{re: line(`(E|Error): The repository .* is not signed\.`),
			rank: rankCause, first: true, family: aptFamily, missing: true, hint: keyHint},
		{re: line(`(E|Error): (Failed to fetch|The repository) .*`), rank: rankCause, first: true, family: aptFamily},
		{re: line(`\s*(?P<text>\S+ depends on .*; however:)`), rank: rankCause, first: true, family: aptFamily, joins: true},
		{re: line(`dpkg-deb: error: .* subprocess .*`), rank: rankSummary, family: aptFamily},
		{re: line(`dpkg-deb: error: .*`), rank: rankCause, first: true, family: archiveFamily},
		{re: line(`dpkg: error processing archive .*`),
			rank: rankWrapper, first: true, family: archiveFamily, reader: true, joins: true},
		{re: line(`dpkg: error processing package .*`),
			rank: rankWrapper, first: true, family: aptFamily, reader: true, joins: true},
		{re: line(`(E: |Error: (Some index files|Sub-process|Unable to (fetch|correct)) ).*`),
			rank: rankSummary, family: aptFamily},

		// dnf. Version 5 calls GPG PGP or OpenPGP.
		{re: line(
			`.*(?P<text>Failed to download metadata .*: (repomd\.xml (GPG|PGP|OpenPGP) signature verification error: |` +
				`GPG verification is enabled, but GPG signature is not available).*)`), rank: rankResource, first: true,
			family: dnfFamily, hint: rpmMetadataHint},
		{re: line(`.*(?P<text>repomd\.xml (GPG|PGP|OpenPGP) signature verification error: .*)`),
			rank: rankCause, first: true, family: dnfFamily, hint: rpmMetadataHint},
		{re: line(`.*(?P<text>Failed to retrieve GPG key for repo .*: Curl error \(37\).*)`),
			rank: rankResource, first: true, family: dnfFamily, hint: rpmKeyFileHint},
		{re: line(`.*(?P<text>Failed to retrieve GPG key for repo .*)`),
			rank: rankResource, first: true, family: dnfFamily, hint: rpmKeyAddressHint},
		// The list of all settings of the repository follows.
		{re: line(`Problem repository: \[.*`), rank: rankResource, first: true, family: dnfFamily, hint: rpmNoKeyHint},
		// Packages that a step names by their address.
		{re: line(`Curl error \(\d+\): .* for \S+\.rpm( \[.*)?`),
			rank: rankCause, first: true, family: dnfFamily, hint: networkHint},
		// The keys of packages, which dnf downloads after their metadata.
		{re: line(`Curl error \(37\): .*`), rank: rankCause, first: true, family: dnfFamily, hint: rpmKeyFileHint},
		{re: line(`Curl error \(\d+\): .*`), rank: rankCause, first: true, family: dnfFamily, hint: rpmKeyAddressHint},
		{re: line(`(?P<text>Package \S+ is not signed).*`),
			rank: rankCause, first: true, family: dnfFamily, hint: rpmUnsignedHint},
		{re: line(`\s*(?P<text>(Open)?PGP check for package .* has failed: The package is not signed.*)`),
			rank: rankCause, first: true, family: dnfFamily, hint: rpmUnsignedHint},
		{re: line(`(?P<text>The GPG keys listed for the .* repository are already installed but they are ` +
			`not correct for this package)\..*`),
			rank: rankCause, first: true, family: dnfFamily, hint: rpmKeyHint},
		{re: line(`(?P<text>Public key for \S+ is not installed).*`),
			rank: rankCause, first: true, family: dnfFamily, hint: rpmKeyHint},
		{re: line(`\s*(?P<text>(Open)?PGP check for package .* has failed: .*)`),
			rank: rankCause, first: true, family: dnfFamily, hint: rpmKeyHint},
		{re: line(`(Error: )?(?P<text>No match for argument: (?P<name>\S+))`),
			rank: rankCause, first: true, family: dnfFamily},
		{re: line(`Error: Failed to download metadata for repo .*|Failed to download metadata \(.*\) for repository .*`),
			rank: rankResource, first: true, family: dnfFamily},
		{re: line(`\s*- (?P<text>nothing provides .*)`), rank: rankCause, first: true, family: dnfFamily},
		{re: line(`Error: Problem: .*`), rank: rankCause, family: dnfFamily},
		{re: line(`Error: GPG check FAILED|Transaction failed: Signature verification failed\.`),
			rank: rankSummary, family: dnfFamily, hint: rpmKeyHint},
		{re: line(`Error: (?P<text>Unable to find a match: (?P<name>\S+).*)`), rank: rankSummary, family: dnfFamily},

		// pip and Python.
		{re: line(`ERROR: (?P<text>No matching distribution found for (?P<name>[A-Za-z0-9._-]+).*)`),
			rank: rankCause, family: pipFamily, missing: true},
		{re: line(`ERROR: (THESE PACKAGES DO NOT MATCH THE HASHES|Cannot install|` +
			`Could not open requirements file|Invalid requirement).*`),
			rank: rankCause, family: pipFamily},
		{re: line(`ERROR: (?P<text>ResolutionImpossible.*)`), rank: rankSummary, family: pipFamily},
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
		{re: line(`kolla_patch: (?P<text>\S+ does not apply: .*)`), rank: rankCause, hint: patchHint},

		// Compilers and build tools.
		{re: line(`\S+:\d+(:\d+)?: (fatal )?error: .*`), rank: rankCause, first: true, family: buildFamily},
		{re: line(`\S+\.go:\d+:\d+: .*`), rank: rankCause, first: true, family: buildFamily},
		{re: line(`go: ((cannot|no|errors?|unknown|go\.mod|inconsistent|updates to) .*|.+: .+)`),
			rank: rankCause, first: true, family: buildFamily},
		{re: line(`.*: undefined reference to .*`), rank: rankCause, first: true, family: buildFamily},
		{re: line(`configure: error: .*`), rank: rankCause, family: buildFamily},
		{re: line(`CMake Error at .*`), rank: rankCause, first: true, family: buildFamily, joins: true},
		{re: line(`error\[E\d+\]: .*`), rank: rankCause, first: true, family: buildFamily},
		{re: line(`collect2: error: .*`), rank: rankSummary, family: buildFamily},
		{re: line(`ninja: (build stopped|error): .*`), rank: rankLine, family: buildFamily},
		{re: line(`make(\[\d+\])?: \*\*\* .*`), rank: rankLine, family: buildFamily},
		{re: line(`npm (ERR!|error) (?P<text>(\w*Error: |notarget No |\d{3} [A-Z]|JSON\.parse ).*|` +
			`The .npm ci. command can only .*|Missing script: .*)`),
			rank: rankCause, first: true, family: npmFamily},

		// Shells and the usual programs of templates.
		{re: line(`(\S*/)?(ba|da|a|z|k)?sh: (line )?(\d+: )?(?P<text>(?P<name>\S+): (command )?not found)`),
			rank: rankCause, hint: programHint},
		{re: line(`(\S*/)?(ba|da|a|z|k)?sh: (line )?(\d+: )?(?P<text>.*(Permission denied|[Ss]yntax error|` +
			`No such file or directory|can't cd to|bad substitution|unbound variable|parameter not set).*)`),
			rank: rankCause},
		{re: line(`(chown|chgrp|chmod|cp|mv|ln|mkdir|install|useradd|usermod|groupadd|userdel|groupdel|openssl): ` +
			`.*(annot|nvalid|issing|does not|not a|not permitted|lready|nable|an't|No such|denied|ailed|efusing|` +
			`mitting|nknown|rror).*`),
			rank: rankProgram, first: true},
		{re: line(`(cat|unzip|gpg|rpm|patch): .*`), rank: rankProgram, first: true, reader: true},
		{re: line(`(tar|sed|gzip|xz|bzip2|unxz)( \(child\))?: .*(Cannot|No such|can't|unknown|not in|` +
			`unterminated|corrupt|[Uu]nexpected).*`),
			rank: rankProgram, first: true, reader: true},
		{re: line(`(update-alternatives|systemctl|a2\w+|locale-gen): error: .*`), rank: rankProgram},

		// Anything that mentions an error.
		{re: line(`\[?(ERROR|FATAL|Error|error)\]?:? .*`), rank: rankLine},
		{re: line(`.*\b(error|ERROR|Error): .*`), rank: rankLine},
	}
})

// line compiles a pattern for whole lines.
func line(pattern string) *regexp.Regexp { return regexp.MustCompile(`^(?:` + pattern + `)$`) }

// CauseFinder finds the cause of a failure in the lines of a command's output. The zero
// value has seen no line.
//
// A step can continue after an error and fail later for another reason. So an error counts
// only if it is near the last one of the output, or if its program has repeated that it
// failed.
type CauseFinder struct {
	cause       Cause
	pattern     *causePattern // nil without a cause
	more        int           // further lines of the same kind
	unreachable unreachable
	joining     bool // the next line may continue the cause
	since       int  // lines after the cause that mention no error
}

const (
	// maxCauseLine is the longest line, in bytes, that is looked at: causes are short.
	maxCauseLine = 2000
	// nearLines is how many other lines may follow the cause of a failure.
	nearLines = 25
	// pipedLines is how many other lines may be between the error of a program and that
	// of the program that reads its output.
	pipedLines = 2
)

// Line examines the next line.
func (f *CauseFinder) Line(text string) {
	text = strings.TrimRight(ansi.Strip(text[:min(len(text), maxCauseLine+1)]), " \t\r\n")
	if text == "" {
		return
	}
	if f.joining && strings.HasPrefix(text, " ") {
		f.cause.Text += " " + strings.TrimSpace(text)
		f.joining = false
		return
	}
	f.joining = false
	pattern, m := matchCause(text)
	if (pattern == nil || pattern.rank == rankLine) && f.unreachable.read(text) {
		return
	}
	if pattern != nil && pattern.missing && f.unreachable.family == pattern.family {
		f.cause = Cause{
			Text: fmt.Sprintf("%s (then: %s)", f.unreachable.text, strings.TrimSpace(text)),
			Hint: f.unreachable.hint,
		}
		f.pattern, f.more, f.since = unreachablePattern, 0, 0
		return
	}
	switch {
	case pattern == nil:
		f.since++
		return
	case f.pattern == nil:
	case pattern == f.pattern && pattern.first && (f.since <= nearLines || pattern.family == buildFamily):
		text := pattern.text(text, m)
		if text != f.cause.Text {
			f.more++
		}
		f.since = 0
		return
	case f.explains(pattern):
		if f.related(pattern) {
			f.since = 0
		}
		return
	}
	f.cause = Cause{Text: pattern.text(text, m), Hint: pattern.hint}
	if g := pattern.re.SubexpIndex("name"); g >= 0 {
		f.cause.Name = m[g]
		f.cause.Package = pattern.family == aptFamily || pattern.family == dnfFamily
	}
	f.pattern, f.more, f.since = pattern, 0, 0
	f.joining = pattern.joins && strings.HasSuffix(f.cause.Text, ":")
}

// matchCause returns the pattern that a line matches and the submatches, nil if there is
// none.
func matchCause(line string) (*causePattern, []string) {
	if len(line) > maxCauseLine || strings.HasPrefix(line, "+ ") { // "set -x" prints commands
		return nil, nil
	}
	patterns := causePatterns()
	for i := range patterns {
		if m := patterns[i].re.FindStringSubmatch(line); m != nil {
			return &patterns[i], m
		}
	}
	return nil, nil
}

// text returns the part of a matching line that is shown.
func (p *causePattern) text(line string, match []string) string {
	if g := p.re.SubexpIndex("text"); g >= 0 {
		return match[g]
	}
	return strings.TrimSpace(line)
}

// explains reports whether a later line is a consequence of the cause, or repeats it.
func (f *CauseFinder) explains(p *causePattern) bool {
	switch {
	case p.rank >= f.pattern.rank:
		return false
	case f.pattern.rank == rankResource && f.pattern.family == "":
		return true
	case p.reader:
		return f.since <= pipedLines && (f.pattern.family == "" || f.related(p))
	case p.rank == rankProgram:
		return false
	}
	return f.since <= nearLines || f.related(p)
}

// related reports whether a line is from the same program as the cause.
func (f *CauseFinder) related(p *causePattern) bool {
	return p.family != "" && p.family == f.pattern.family
}

// Cause returns the cause of a command that ended with an exit code. It is zero if the
// output does not show one.
func (f *CauseFinder) Cause(exitCode int) Cause {
	switch {
	case exitCode == 137: // SIGKILL
		return Cause{Text: "the command was killed, most likely because the machine ran out of memory", Hint: memoryHint}
	case f.pattern != nil && f.since > nearLines && f.pattern.family != buildFamily && f.pattern.rank != rankResource:
		return Cause{} // the command went on after this error
	case f.more > 0 && f.cause.Name != "":
		c := f.cause
		c.Text += fmt.Sprintf(" (and %d more)", f.more)
		return c
	}
	return f.cause
}
