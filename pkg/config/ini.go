package config

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"gopkg.in/ini.v1"
)

// entry is one assignment in a file.
type entry struct {
	section   string // as written
	key       string
	value     string
	line      int // 1-based
	keyCol    int // 1-based, in characters
	valueCol  int
	text      string // the line as written
	file      string
	continued bool // the value goes on over further lines
}

func (e *entry) origin() Origin {
	return Origin{Kind: OriginFile, File: e.file, Line: e.line, Text: strings.TrimSpace(e.text)}
}

// header is one [section] line.
type header struct {
	name string
	line int
	text string
}

// iniFile is one file's content in the order of its lines.
type iniFile struct {
	path    string
	headers []header
	entries []*entry
}

// guard stands before every name and value that is handed to the ini library. It
// keeps the library from giving a meaning of its own to what oslo.config takes as
// it stands: values in backquotes or triple quotes, keys in quotes, the key "-",
// the section DEFAULT, empty repeated values.
const guard = "\x01"

// parseINI reads a file as oslo.config does. A scan of the lines finds what kind
// each one is, reports those that oslo.config would not take, and knows their
// places; the ini library then takes sections, keys and values apart.
func parseINI(path string, data []byte) (*iniFile, error) {
	text, err := decodeText(path, data)
	if err != nil {
		return nil, err
	}
	f := &iniFile{path: path}
	var clean strings.Builder // what the library reads
	var last *entry           // the assignment that an indented line would continue
	section := ""
	lines := strings.Split(text, "\n")
	for i, raw := range lines {
		line := strings.TrimRightFunc(raw, isPySpace)
		broken := func(col int, message, hint string) error {
			return &Error{File: path, Line: i + 1, Column: col, SourceLine: line, Message: message, Hint: hint}
		}
		switch {
		case line == "":
			last = nil
			clean.WriteByte('\n')
		case line[0] == ' ' || line[0] == '\t':
			body := strings.TrimLeftFunc(line, isPySpace)
			if last == nil {
				return nil, broken(column(line, len(line)-len(body)), "this indented line continues no value",
					"remove the spaces at its beginning, or the empty or comment line above it")
			}
			last.continued = true
			clean.WriteString("\t" + body + "\n")
		case line[0] == '[':
			last = nil
			if !strings.HasSuffix(line, "]") {
				return nil, broken(utf8.RuneCountInString(line), "a section's line must end with ]",
					"a comment must be on a line of its own")
			}
			if len(line) <= 2 {
				return nil, broken(1, "a section needs a name", "")
			}
			section = line[1 : len(line)-1]
			f.headers = append(f.headers, header{name: section, line: i + 1, text: line})
			clean.WriteString("[" + guard + section + "]\n")
		case line[0] == '#' || line[0] == ';':
			last = nil
		default:
			at := strings.IndexAny(line, "=:")
			if at < 0 {
				return nil, broken(1, "neither a [section] nor an assignment: there is no = or : in this line",
					hintForBareLine(line))
			}
			key := strings.TrimFunc(line[:at], isPySpace)
			if key == "" {
				return nil, broken(1, "there is no key before the "+line[at:at+1], "")
			}
			if section == "" {
				return nil, broken(1, "an assignment before the first section", "put a line with [DEFAULT] above it")
			}
			value := strings.TrimFunc(line[at+1:], isPySpace)
			last = &entry{section: section, key: key, line: i + 1, text: line, file: path,
				keyCol:   column(line, strings.Index(line, key)),
				valueCol: column(line, len(line)-len(value))}
			f.entries = append(f.entries, last)
			clean.WriteString(guard + key + " = " + guard + value + "\n")
		}
	}
	if err := f.fill(clean.String()); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return f, nil
}

// fill lets the ini library read the text and puts the values into the entries.
func (f *iniFile) fill(text string) error {
	parsed, err := ini.LoadSources(ini.LoadOptions{
		AllowShadows:               true, // repeated keys
		AllowDuplicateShadowValues: true,
		AllowPythonMultilineValues: true,
		IgnoreInlineComment:        true,
		IgnoreContinuation:         true, // a backslash at the end is part of the value
		PreserveSurroundedQuote:    true,
		KeyValueDelimiters:         "=:",
		ChildSectionDelimiter:      guard + guard, // a dot in a section's name means nothing
		// The library looks ahead for continuation lines within its buffer only.
		ReaderBufferSize: len(text) + 1,
	}, []byte(text))
	if err != nil {
		return err
	}
	type place struct{ section, key string }
	seen := map[place]int{}
	for _, e := range f.entries {
		p := place{e.section, e.key}
		values := parsed.Section(guard + e.section).Key(guard + e.key).ValueWithShadows()
		if seen[p] >= len(values) {
			return fmt.Errorf("line %d: the value of %q was lost", e.line, e.key)
		}
		e.value = unguard(values[seen[p]])
		seen[p]++
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

// decodeText returns the file's text with a byte order mark removed and line ends
// made alike, and an error at the first byte that is not UTF-8.
func decodeText(path string, data []byte) (string, error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(data))
	if utf8.ValidString(text) {
		return text, nil
	}
	for i, line := range strings.Split(text, "\n") {
		if !utf8.ValidString(line) {
			valid := strings.ToValidUTF8(line, "\uFFFD")
			return "", &Error{File: path, Line: i + 1, Column: column(valid, strings.Index(valid, "\uFFFD")), SourceLine: valid,
				Message: "this line is not UTF-8 text", Hint: "save the file as UTF-8"}
		}
	}
	return text, nil
}

// hintForBareLine guesses what a line without a separator was meant to be.
func hintForBareLine(line string) string {
	words := strings.Fields(strings.TrimLeft(line, "-"))
	if len(words) == 0 {
		return ""
	}
	o := Lookup(words[0])
	switch {
	case o == nil:
		return ""
	case len(words) > 1:
		return fmt.Sprintf("did you mean %q?", o.Key()+" = "+strings.Join(words[1:], " "))
	case o.Kind == Bool:
		return fmt.Sprintf("did you mean %q?", o.Key()+" = true")
	}
	return fmt.Sprintf("write %q with a value", o.Key()+" = ")
}

// column returns the 1-based column, in characters, of a byte offset in a line.
func column(line string, offset int) int {
	if offset < 0 || offset > len(line) {
		return 0
	}
	return utf8.RuneCountInString(line[:offset]) + 1
}

// isPySpace reports whether Python's str.strip removes the character.
func isPySpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// normalSection returns a section's name as oslo.config compares it: in lower
// case, but for DEFAULT, which is written in capitals or is another section.
func normalSection(name string) string {
	if name == "DEFAULT" {
		return name
	}
	return strings.ToLower(name)
}
