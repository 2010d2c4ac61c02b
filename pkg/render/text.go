package render

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"unicode/utf8"

	"github.com/kolla-build/kolla-build/internal/inputfile"
)

// readText reads a template like Python's open: as UTF-8, with the three kinds of
// line endings read as "\n".
func readText(f File) (string, error) {
	b, err := f.Read()
	if err != nil {
		return "", err
	}
	return toText(f.Origin, b)
}

// readTextFile is readText for a file that the user named, which may be anything.
func readTextFile(ctx context.Context, name string) (string, error) {
	b, err := readUserFile(ctx, name)
	if err != nil {
		return "", err
	}
	return toText(name, b)
}

// maxText is the size of the largest template, variables file and other text, in
// bytes.
const maxText = 16 << 20

// readUserFile reads a file that the user named, of up to maxText.
func readUserFile(ctx context.Context, name string) ([]byte, error) {
	b, err := inputfile.Read(ctx, name, maxText)
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return nil, fmt.Errorf("reading %s: %w", name, pe.Err)
	}
	return b, err
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
