package graph

import (
	"cmp"
	"errors"
	"fmt"
	"regexp/syntax"
	"strings"

	"github.com/kolla-build/kolla-build/internal/regex"
	"github.com/kolla-build/kolla-build/internal/suggest"
)

// Regexes are compiled patterns. An image is selected if any of them matches.
type Regexes struct {
	patterns []string
	compiled []func(name string) bool
}

// Compiler compiles a pattern to a function that reports whether a name matches.
type Compiler func(pattern string) (func(name string) bool, error)

// CompileRegexes compiles patterns with Go's regexp package. A pattern matches a
// name anywhere, as upstream's re.search does; Python's spellings \Z and {,n} are
// accepted. Patterns that Go does not support, such as those with look-around, are
// compiled by backtracking, if it is not nil. The error is a *RegexError.
func CompileRegexes(patterns []string, backtracking Compiler) (*Regexes, error) {
	r := &Regexes{patterns: patterns}
	for _, p := range patterns {
		re, err := regex.Compile(fromPython(p))
		if err == nil {
			r.compiled = append(r.compiled, re.MatchString)
			continue
		}
		var match func(string) bool
		if backtracking != nil && !errors.Is(err, regex.ErrTooLarge) {
			match, _ = backtracking(fromPython(p))
		}
		if match == nil {
			return nil, newRegexError(p, err)
		}
		r.compiled = append(r.compiled, match)
	}
	return r, nil
}

// Match reports whether any of the patterns matches name. Without patterns, every
// name matches.
func (r *Regexes) Match(name string) bool {
	if len(r.compiled) == 0 {
		return true
	}
	for _, match := range r.compiled {
		if match(name) {
			return true
		}
	}
	return false
}

// Check returns an error that joins a *NoMatchError for each pattern that matches
// no image of g. If NoneMatches is false, callers may treat it as a warning.
func (r *Regexes) Check(g *Graph) error {
	var errs []error
	for i, match := range r.compiled {
		if !anyMatch(match, g) {
			errs = append(errs, newNoMatch(r.patterns[i], g))
		}
	}
	return errors.Join(errs...)
}

// NoneMatches reports whether there are patterns and none matches an image of g.
func (r *Regexes) NoneMatches(g *Graph) bool {
	for _, match := range r.compiled {
		if anyMatch(match, g) {
			return false
		}
	}
	return len(r.compiled) > 0
}

func anyMatch(match func(string) bool, g *Graph) bool {
	for _, n := range g.nodes {
		if match(n.Name) {
			return true
		}
	}
	return false
}

// NoMatchError reports a pattern that matches no image.
type NoMatchError struct {
	Pattern string
	Near    []string // similar names of images
	Parts   []string // the pattern split at commas, if each part matches an image
	Total   int      // number of images
}

func newNoMatch(pattern string, g *Graph) error {
	e := &NoMatchError{Pattern: pattern, Total: len(g.nodes)}
	names := make([]string, len(g.nodes))
	for i, n := range g.nodes {
		names[i] = n.Name
	}
	e.Near = suggest.NearParts(strings.Trim(pattern, "^$.*-"), names, 3)
	if parts := strings.Split(pattern, ","); len(parts) > 1 && eachMatches(parts, g) {
		e.Parts = parts
	}
	return e
}

func eachMatches(patterns []string, g *Graph) bool {
	for _, p := range patterns {
		re, err := regex.Compile(fromPython(p))
		if p == "" || err != nil || !anyMatch(re.MatchString, g) {
			return false
		}
	}
	return true
}

func (e *NoMatchError) Error() string {
	return fmt.Sprintf("%q matches none of the %d images", e.Pattern, e.Total)
}

// Hint suggests similar names.
func (e *NoMatchError) Hint() string {
	if strings.HasPrefix(e.Pattern, "–") || strings.HasPrefix(e.Pattern, "—") {
		return "it begins with a dash of another kind: options begin with the hyphens --"
	}
	if len(e.Parts) > 0 {
		return "separate regular expressions with spaces: " + strings.Join(e.Parts, " ")
	}
	return cmp.Or(suggest.DidYouMeanAny(e.Near), "--list-images lists them")
}

// RegexError reports a pattern that does not compile.
type RegexError struct {
	Pattern string
	Offset  int // 0-based byte offset of the mistake
	Reason  string
	Advice  string // what to write instead, or ""
}

func (e *RegexError) Error() string {
	return fmt.Sprintf("regex %q does not compile: %s at character %d\n    %s\n    %s^",
		e.Pattern, e.Reason, e.Offset+1, e.Pattern, strings.Repeat(" ", len([]rune(e.Pattern[:e.Offset]))))
}

// Hint returns how to correct the pattern, or "".
func (e *RegexError) Hint() string { return e.Advice }

func newRegexError(pattern string, err error) error {
	e := &RegexError{Pattern: pattern, Reason: err.Error()}
	if look := lookaround(pattern); look >= 0 {
		e.Offset = look
		e.Reason = "this look-around is not valid"
		e.Advice = "write it as Python does, (?=…), (?!…), (?<=…) or (?<!…), with its closing parenthesis"
		return e
	}
	var se *syntax.Error
	if !errors.As(err, &se) {
		return e
	}
	e.Reason = se.Code.String()
	switch se.Code {
	case syntax.ErrMissingParen:
		e.Offset = unbalanced(pattern)
		e.Advice = `write \( for a literal parenthesis`
	case syntax.ErrUnexpectedParen:
		e.Offset = unbalanced(pattern)
		e.Advice = `write \) for a literal parenthesis`
	case syntax.ErrMissingRepeatArgument:
		e.Offset = strings.Index(pattern, se.Expr)
		e.Advice = "a regex is not a shell pattern: write '.*' where a shell has '*'"
	case syntax.ErrTrailingBackslash:
		e.Offset = len(pattern) - 1
	default:
		e.Offset = strings.Index(pattern, se.Expr)
	}
	// The pattern may have been rewritten from Python's spelling.
	e.Offset = min(max(e.Offset, 0), len(pattern))
	return e
}

// scan calls f for each byte of pattern that is neither escaped nor in a character
// class, until f returns false.
func scan(pattern string, f func(i int) bool) {
	class := -1
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '\\':
			i++
		case class >= 0:
			// As the first character of a class, ']' is literal.
			if c == ']' && i > class+1 && (i != class+2 || pattern[class+1] != '^') {
				class = -1
			}
		case c == '[':
			class = i
		case !f(i):
			return
		}
	}
}

func lookaround(pattern string) int {
	at := -1
	scan(pattern, func(i int) bool {
		for _, p := range []string{"(?=", "(?!", "(?<=", "(?<!"} {
			if strings.HasPrefix(pattern[i:], p) {
				at = i
				return false
			}
		}
		return true
	})
	return at
}

// unbalanced returns the offset of the first unmatched closing parenthesis, else of
// the last unmatched opening one.
func unbalanced(pattern string) int {
	var open []int
	at := -1
	scan(pattern, func(i int) bool {
		switch pattern[i] {
		case '(':
			open = append(open, i)
		case ')':
			if len(open) == 0 {
				at = i
				return false
			}
			open = open[:len(open)-1]
		}
		return true
	})
	if at < 0 && len(open) > 0 {
		at = open[len(open)-1]
	}
	return max(at, 0)
}

// fromPython rewrites syntax that differs between Python's re and Go's regexp.
func fromPython(pattern string) string {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch {
		case strings.HasPrefix(pattern[i:], `\Z`):
			b.WriteString(`\z`)
			i++
		case pattern[i] == '\\' && i+1 < len(pattern):
			b.WriteString(pattern[i : i+2])
			i++
		case strings.HasPrefix(pattern[i:], "{,") && i+2 < len(pattern) && pattern[i+2] >= '0' && pattern[i+2] <= '9':
			b.WriteString("{0,")
			i++
		default:
			b.WriteByte(pattern[i])
		}
	}
	return b.String()
}
