package buildkit

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// DockerfileError is a mistake in a rendered Dockerfile, found before anything
// is built.
type DockerfileError struct {
	Path   string
	Line   int    // 1-based, 0 if unknown
	Source string // the line itself
	Err    error
}

func (e *DockerfileError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.Path, e.Err)
	}
	s := fmt.Sprintf("%s:%d: %v", e.Path, e.Line, e.Err)
	if e.Source != "" {
		s += "\n  " + e.Source
	}
	return s
}

func (e *DockerfileError) Unwrap() error { return e.Err }

// lineInMessage finds the place in messages that BuildKit does not locate
// otherwise.
var lineInMessage = regexp.MustCompile(`(?:parse error )?on line (\d+): `)

func dockerfileError(d Dockerfile, err error) error {
	e := &DockerfileError{Path: d.Path, Err: err}
	var loc *parser.LocationError
	if errors.As(err, &loc) && len(loc.Locations) > 0 && len(loc.Locations[0]) > 0 {
		e.Line = loc.Locations[0][0].Start.Line
	} else if m := lineInMessage.FindStringSubmatch(err.Error()); m != nil {
		e.Line, _ = strconv.Atoi(m[1])
	}
	e.Source = sourceLine(d.Content, e.Line)
	return e
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
