// Package inifile reads configuration files in the dialect of oslo.config and
// keeps the place of every section and value, so that callers can report mistakes
// there. It must not know what any section or key means.
package inifile

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"gopkg.in/ini.v1"
)

// File is the content of one file in the order of its lines.
type File struct {
	Path    string
	Headers []Header
	Entries []*Entry
}

// Header is one [section] line.
type Header struct {
	Name string
	Line int    // 1-based
	Text string // the line as written
}

// Entry is one assignment.
type Entry struct {
	File        string
	Section     string // as written
	Key         string
	Value       string
	Line        int // 1-based
	KeyColumn   int // 1-based, in characters
	ValueColumn int // 1-based, in characters
	Text        string
}

// Error is a line that cannot be read.
type Error struct {
	File   string
	Line   int // 1-based
	Column int // 1-based, in characters
	Text   string
	// Message describes what is wrong, and Hint what to do ("" for nothing).
	Message string
	Hint    string
	// Bare is set for a line that is neither a section nor an assignment: the
	// caller may know what it was meant to be.
	Bare bool
}

// Error returns the message with its place.
func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
}

// MaxLines is how many lines a file has, without empty ones and comments. The time to read the lines
// of one value is quadratic.
const MaxLines = 20_000

// guard precedes every name and value that is passed to the ini library. It keeps
// the library from interpreting what oslo.config takes literally: values in
// backquotes or triple quotes, keys in quotes, the key "-", the section DEFAULT,
// empty repeated values.
const guard = "\x01"

// Parse reads the text of a file. A scan of the lines classifies each one, rejects
// those that oslo.config rejects, and records their places; the ini library then
// separates sections, keys and values. Mistakes in the text are of type *Error.
func Parse(path string, data []byte) (*File, error) {
	text, err := decode(path, data)
	if err != nil {
		return nil, err
	}
	f := &File{Path: path}
	var clean strings.Builder // the text for the library
	var last *Entry           // the assignment that an indented line continues
	section := ""
	lines := 0
	for i, raw := range strings.Split(text, "\n") {
		line := strings.TrimRightFunc(raw, IsSpace)
		broken := func(col int, message, hint string) *Error {
			return &Error{File: path, Line: i + 1, Column: col, Text: line, Message: message, Hint: hint}
		}
		if line != "" && line[0] != '#' && line[0] != ';' {
			if lines++; lines > MaxLines {
				return nil, broken(1, fmt.Sprintf("more than %d lines that are not comments", MaxLines), "")
			}
		}
		switch {
		case line == "":
			last = nil
			clean.WriteByte('\n')
		case line[0] == ' ' || line[0] == '\t':
			body := strings.TrimLeftFunc(line, IsSpace)
			if last == nil {
				return nil, broken(column(line, len(line)-len(body)), "this indented line does not continue a value",
					"remove the spaces at its beginning, or the empty line or comment above it")
			}
			clean.WriteString("\t" + body + "\n")
		case line[0] == '[':
			last = nil
			if !strings.HasSuffix(line, "]") {
				return nil, broken(utf8.RuneCountInString(line), "a section line must end with ]",
					cmp.Or(formatHint(line), "a comment must be on its own line"))
			}
			if len(line) <= 2 {
				return nil, broken(1, "a section needs a name", "")
			}
			section = line[1 : len(line)-1]
			f.Headers = append(f.Headers, Header{Name: section, Line: i + 1, Text: line})
			clean.WriteString("[" + guard + section + "]\n")
		case line[0] == '#' || line[0] == ';':
			last = nil
		default:
			at := strings.IndexAny(line, "=:")
			if at < 0 {
				e := broken(1, "neither a [section] nor an assignment: this line has no = or :", formatHint(line))
				e.Bare = true
				return nil, e
			}
			key := strings.TrimFunc(line[:at], IsSpace)
			if key == "" {
				return nil, broken(1, "there is no key before the "+line[at:at+1], "")
			}
			if section == "" {
				return nil, broken(1, "an assignment before the first section",
					cmp.Or(formatHint(line), "put a line with [DEFAULT] above it"))
			}
			value := strings.TrimFunc(line[at+1:], IsSpace)
			last = &Entry{File: path, Section: section, Key: key, Line: i + 1, Text: line,
				KeyColumn:   column(line, strings.Index(line, key)),
				ValueColumn: column(line, len(line)-len(value))}
			f.Entries = append(f.Entries, last)
			clean.WriteString(guard + key + " = " + guard + value + "\n")
		}
	}
	if err := f.readValues(clean.String()); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return f, nil
}

// readValues has the ini library read the text and copies the values into the
// entries.
func (f *File) readValues(text string) error {
	parsed, err := ini.LoadSources(ini.LoadOptions{
		AllowShadows:               true, // repeated keys
		AllowDuplicateShadowValues: true,
		AllowPythonMultilineValues: true,
		IgnoreInlineComment:        true,
		IgnoreContinuation:         true, // a backslash at the end is part of the value
		PreserveSurroundedQuote:    true,
		KeyValueDelimiters:         "=:",
		ChildSectionDelimiter:      guard + guard, // a dot in a section's name has no meaning
		// The library looks for continuation lines within its buffer only.
		ReaderBufferSize: len(text) + 1,
	}, []byte(text))
	if err != nil {
		return err
	}
	type place struct{ section, key string }
	left := map[place][]string{} // values of a key that is repeated
	for _, e := range f.Entries {
		p := place{e.Section, e.Key}
		values, seen := left[p]
		if !seen {
			values = parsed.Section(guard + e.Section).Key(guard + e.Key).ValueWithShadows()
		}
		if len(values) == 0 {
			return fmt.Errorf("line %d: the value of %q was lost", e.Line, e.Key)
		}
		e.Value, left[p] = unguard(values[0]), values[1:]
	}
	return nil
}

// unguard returns a value as oslo.config has it: without its guard, without the
// quotes around its first line, and with its continuation lines not indented.
func unguard(raw string) string {
	first, rest, more := strings.Cut(strings.TrimPrefix(raw, guard), "\n")
	if n := len(first); n > 0 && (first[0] == '"' || first[0] == '\'') && first[n-1] == first[0] {
		first = first[1:max(1, n-1)]
	}
	if !more {
		return first
	}
	return first + "\n" + strings.ReplaceAll(strings.TrimPrefix(rest, "\t"), "\n\t", "\n")
}

// decode returns the text without a byte order mark and with \n as line ends, and
// an error at the first byte that is not UTF-8.
func decode(path string, data []byte) (string, error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(data))
	if utf8.ValidString(text) {
		return text, nil
	}
	for i, line := range strings.Split(text, "\n") {
		if !utf8.ValidString(line) {
			valid := strings.ToValidUTF8(line, "\uFFFD")
			return "", &Error{File: path, Line: i + 1, Column: column(valid, strings.Index(valid, "\uFFFD")), Text: valid,
				Message: "this line is not UTF-8 text", Hint: "save the file as UTF-8"}
		}
	}
	return text, nil
}

// column returns the 1-based column, in characters, of a byte offset in a line.
func column(line string, offset int) int {
	if offset < 0 || offset > len(line) {
		return 0
	}
	return utf8.RuneCountInString(line[:offset]) + 1
}

// IsSpace reports whether Python's str.strip removes the character.
func IsSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// formatHint returns the hint for a line with which a file of another format begins, "" if it is not one.
func formatHint(line string) string {
	format := ""
	switch {
	case line[0] == '{', line == "[":
		format = "JSON"
	case line == "---", line[0] != '[' && strings.HasSuffix(line, ":"):
		format = "YAML"
	default:
		return ""
	}
	return "this looks like " + format + ": write [DEFAULT], and lines such as \"base = debian\" below it"
}
