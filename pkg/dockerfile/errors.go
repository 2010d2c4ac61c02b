package dockerfile

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/command"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/kolla-build/kolla-build/internal/suggest"
)

// Error is a mistake in a rendered Dockerfile.
type Error struct {
	Path   string
	Line   int    // 1-based, 0 if unknown
	Source string // the text of that line
	Err    error
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Path + ": " + e.Message()
	}
	s := fmt.Sprintf("%s:%d: %s", e.Path, e.Line, e.Message())
	if e.Source != "" {
		s += "\n  " + e.Source
	}
	return s
}

// Message returns the text of the cause. BuildKit's parser repeats the line in it, which
// may be that of another file than Path.
func (e *Error) Message() string {
	text := e.Err.Error()
	if m := lineInMessage.FindStringIndex(text); m != nil && m[0] == 0 && e.Line > 0 {
		return text[m[1]:]
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// Hint explains text that Jinja2 prints for a block, macro or function without its parentheses.
func (e *Error) Hint() string {
	switch source := strings.TrimSpace(e.Source); {
	case strings.HasPrefix(source, "<jinja2.runtime.BlockReference "):
		return "write {{ super() }} with parentheses"
	case strings.HasPrefix(source, "<Macro "), strings.HasPrefix(source, "<function "),
		strings.HasPrefix(source, "<bound method "):
		return "a macro or function in {{ }} needs parentheses, also without arguments"
	}
	return ""
}

// lineInMessage finds the line in BuildKit's messages that carry no location.
var lineInMessage = regexp.MustCompile(`(?:(?:dockerfile )?parse error )?on line (\d+): `)

// Locate returns an *Error for an error of BuildKit's parser or frontend, with
// the line that the error refers to.
func Locate(path string, content []byte, err error) *Error {
	line := lineOf(err)
	var unknown *instructions.UnknownInstructionError
	if errors.As(err, &unknown) {
		err = misspelled(unknown)
	}
	return errorAt(path, content, line, err)
}

// misspelled replaces BuildKit's suggestion of an instruction. It is any of those that differ by
// two letters, another one in each run, and exchanged letters count as two: ENV for RNU.
func misspelled(e *instructions.UnknownInstructionError) error {
	names := slices.Sorted(maps.Keys(command.Commands))
	if near := suggest.Nearest(e.Instruction, names); near != "" {
		return fmt.Errorf("%w (did you mean %s?)", e, strings.ToUpper(near))
	}
	return e
}

// At returns an *Error for a line of a Dockerfile, which is 1-based, or 0 if it is not
// known.
func At(path string, content []byte, line int, err error) *Error {
	return errorAt(path, content, line, err)
}

func errorAt(path string, content []byte, line int, err error) *Error {
	return &Error{Path: path, Line: line, Source: sourceLine(content, line), Err: err}
}

func lineOf(err error) int {
	var loc *parser.LocationError
	if errors.As(err, &loc) && len(loc.Locations) > 0 && len(loc.Locations[0]) > 0 {
		return loc.Locations[0][0].Start.Line
	}
	if m := lineInMessage.FindStringSubmatch(err.Error()); m != nil {
		line, _ := strconv.Atoi(m[1])
		return line
	}
	return 0
}

func sourceLine(content []byte, line int) string {
	if line < 1 {
		return ""
	}
	lines := strings.Split(string(content), "\n")
	if line > len(lines) {
		return ""
	}
	return strings.TrimSpace(lines[line-1])
}

func firstLine(ranges []parser.Range) int {
	if len(ranges) == 0 {
		return 0
	}
	return ranges[0].Start.Line
}
