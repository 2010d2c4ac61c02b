package dockerfile

import (
	"bytes"
	"fmt"
	"path"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// IgnoreFiles are the names of the files with patterns that leave files out of a build
// context, by precedence: only the first that exists counts.
var IgnoreFiles = []string{"Dockerfile.dockerignore", ".dockerignore"}

// Limits of an ignore file. Compiling a pattern takes time by the square of its length and
// a thousand times its memory, and each file is matched with each pattern.
const (
	MaxIgnoreFile  = 64 << 10 // bytes
	maxPattern     = 1 << 10  // bytes
	maxIgnoreLines = 2000
)

// Ignore is what an ignore file leaves out of a build context. A nil Ignore leaves out
// nothing. It is not safe for concurrent use.
type Ignore struct {
	matcher *patternmatcher.PatternMatcher
	parents map[string]patternmatcher.MatchInfo // results for directories
}

// ParseIgnore parses an ignore file. path is used in errors, which are *Error.
func ParseIgnore(path string, content []byte) (*Ignore, error) {
	if len(content) > MaxIgnoreFile {
		return nil, &Error{Path: path, Err: fmt.Errorf("larger than %d bytes", MaxIgnoreFile)}
	}
	n := 0
	for line := range bytes.Lines(content) {
		n++
		if err := checkPattern(line); err != nil {
			return nil, errorAt(path, content, n, err)
		}
		if n > maxIgnoreLines {
			return nil, errorAt(path, content, n, fmt.Errorf("more than %d lines", maxIgnoreLines))
		}
	}
	patterns, err := ignorefile.ReadAll(bytes.NewReader(content))
	if err != nil {
		return nil, &Error{Path: path, Err: err}
	}
	m, err := patternmatcher.New(patterns)
	if err != nil {
		return nil, &Error{Path: path, Err: err}
	}
	return &Ignore{matcher: m, parents: map[string]patternmatcher.MatchInfo{}}, nil
}

// checkPattern returns an error for a line whose pattern is not valid. Matchers report
// one only when they get to it.
func checkPattern(line []byte) error {
	if len(line) > maxPattern {
		return fmt.Errorf("a pattern of %d bytes, more than %d", len(line), maxPattern)
	}
	patterns, err := ignorefile.ReadAll(bytes.NewReader(line))
	if err != nil || len(patterns) == 0 {
		return err
	}
	_, err = patternmatcher.New(patterns)
	if m, merr := patternmatcher.New([]string{strings.TrimPrefix(patterns[0], "!")}); err == nil && merr == nil {
		_, _, err = m.MatchesUsingParentResults("x", patternmatcher.MatchInfo{})
	}
	if err != nil {
		return fmt.Errorf("pattern %q: %w", patterns[0], err)
	}
	return nil
}

// ignores reports whether a file or directory is left out, as BuildKit's client decides
// it: the result for a directory applies to what it contains, unless a later pattern
// matches that. name is relative to the context and clean.
func (i *Ignore) ignores(name string) bool {
	ignored, _ := i.match(name)
	return ignored
}

func (i *Ignore) match(name string) (bool, patternmatcher.MatchInfo) {
	var parent patternmatcher.MatchInfo
	if dir := path.Dir(name); dir != "." {
		var known bool
		if parent, known = i.parents[dir]; !known {
			_, parent = i.match(dir)
			i.parents[dir] = parent
		}
	}
	ignored, info, err := i.matcher.MatchesUsingParentResults(name, parent)
	return ignored && err == nil, info // patterns are valid
}

// Kept returns the files and directories of a build context that are not left out. A
// directory is kept if something in it is.
func (i *Ignore) Kept(names []string) map[string]bool {
	kept := map[string]bool{}
	for _, name := range names {
		if i != nil && i.ignores(name) {
			continue
		}
		for ; name != "." && !kept[name]; name = path.Dir(name) {
			kept[name] = true
		}
	}
	return kept
}
