package render

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"unicode/utf8"
)

// readText reads a template as Python's open does by default: UTF-8 with any of
// the three line ends read as "\n".
func readText(f File) (string, error) {
	b, err := f.Read()
	if err != nil {
		return "", err
	}
	return toText(f.Origin, b)
}

func readTextFile(name string) (string, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", name, cause(err))
	}
	return toText(name, b)
}

func toText(name string, b []byte) (string, error) {
	if !utf8.Valid(b) {
		line, rest := 1, b
		for {
			l, after, _ := bytes.Cut(rest, []byte("\n"))
			if !utf8.Valid(l) {
				return "", fmt.Errorf("%s:%d: the file is not UTF-8", name, line)
			}
			line, rest = line+1, after
		}
	}
	s := string(b)
	if strings.Contains(s, "\r") {
		s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	}
	return s, nil
}
