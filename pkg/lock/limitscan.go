package lock

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
)

// knownKeys are the keys of each table of a lock; "" is the beginning of the file.
var knownKeys = func() map[string]map[string]bool {
	keys := func(t reflect.Type) map[string]bool {
		out := map[string]bool{}
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("toml"), ",")
			out[name] = true
		}
		return out
	}
	top := reflect.TypeFor[Lock]()
	tables := map[string]map[string]bool{"": keys(top)}
	for i := range top.NumField() {
		t := top.Field(i).Type
		if t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() == reflect.Struct {
			name := top.Field(i).Tag.Get("toml")
			tables[name] = keys(t)
			delete(tables[""], name)
		}
	}
	return tables
}()

// limitScan is what a scan finds out about a lock before it is parsed. The parser of TOML has
// no limits: it takes a hundred times the size of a list, notes every unknown key, and compares
// it with all others of its table.
type limitScan struct {
	data []byte
	path string
	pos  int
	line int

	table           string
	entries, values int
	unknown         error           // the first key or form that locks of this version do not have
	unknownKeys     map[string]bool // with their tables
	otherForms      int
}

// scan reads a lock up to its limits.
func (s *limitScan) scan() error {
	for s.line = 1; s.pos < len(s.data); {
		if err := s.statement(); err != nil {
			return err
		}
		if s.entries > maxEntries {
			return s.fail("more than %d entries", maxEntries)
		}
		if s.values > maxValues {
			return s.fail("more than %d values", maxValues)
		}
		if len(s.unknownKeys)+s.otherForms > maxUnknown {
			return s.unknown
		}
	}
	return nil
}

func (s *limitScan) fail(format string, args ...any) error {
	return &Error{Path: s.path, Line: s.line, Problem: fmt.Sprintf(format, args...)}
}

// note remembers the first form that is not that of a lock.
func (s *limitScan) note(format string, args ...any) {
	s.otherForms++
	if s.unknown == nil {
		s.unknown = s.fail(format, args...)
	}
}

// noteKey remembers a key that locks of this version do not have. Later versions may have it in
// thousands of entries.
func (s *limitScan) noteKey(name string) {
	if s.unknownKeys == nil {
		s.unknownKeys = map[string]bool{}
	}
	s.unknownKeys[name] = true
	if s.unknown == nil {
		s.unknown = s.fail("unknown key %q", name)
	}
}

// statement reads a header of a table, or a key with its value.
func (s *limitScan) statement() error {
	s.skip(" \t\r\n")
	rest := s.data[s.pos:]
	end := bytes.IndexAny(rest, "=\n#\"'")
	if end < 0 {
		end = len(rest)
	}
	text := strings.TrimSpace(string(rest[:min(end, maxKey)]))
	switch {
	case len(rest) == 0:
		return nil
	case rest[0] == '#':
		s.comment()
		return nil
	case rest[0] == '[':
		s.entries++
		s.table = strings.Trim(text, "[]")
		if knownKeys[s.table] == nil || s.table == "" {
			s.noteKey(s.table)
		}
	case end > maxKey:
		return s.fail("a key of more than %d bytes", maxKey)
	case end < len(rest) && rest[end] == '=':
		s.pos += end + 1
		if !knownKeys[s.table][text] {
			s.noteKey(strings.TrimPrefix(s.table+"."+text, "."))
		}
	default:
		s.note("neither a key with a value nor the name of a table")
	}
	s.values++
	return s.value()
}

// value reads the rest of a statement. It ends with a line, unless a list is open.
func (s *limitScan) value() error {
	for depth, parts := 0, 0; s.pos < len(s.data); {
		switch c := s.data[s.pos]; c {
		case '\n':
			if depth <= 0 {
				return nil
			}
			s.line++
		case '#':
			s.comment()
			continue
		case '"', '\'':
			if bytes.HasPrefix(s.data[s.pos:], bytes.Repeat([]byte{c}, 3)) {
				return s.fail("a text of several lines")
			}
			s.text(c)
			continue
		case '[':
			depth++
			parts++
		case ']':
			depth--
		case '{':
			parts++
			s.note("a table in braces")
		case ',', '=', '.':
			parts++
			s.values++
		}
		if parts > maxList {
			return s.fail("a list of more than %d values", maxList)
		}
		s.pos++
	}
	return nil
}

// text reads a string, which ends in its line.
func (s *limitScan) text(quote byte) {
	for s.pos++; s.pos < len(s.data); s.pos++ {
		switch s.data[s.pos] {
		case quote:
			s.pos++
			return
		case '\n':
			return
		case '\\':
			if quote == '"' && s.pos+1 < len(s.data) && s.data[s.pos+1] != '\n' {
				s.pos++
			}
		}
	}
}

func (s *limitScan) comment() {
	end := bytes.IndexByte(s.data[s.pos:], '\n')
	if end < 0 {
		end = len(s.data) - s.pos
	}
	s.pos += end
}

func (s *limitScan) skip(set string) {
	for s.pos < len(s.data) && strings.IndexByte(set, s.data[s.pos]) >= 0 {
		if s.data[s.pos] == '\n' {
			s.line++
		}
		s.pos++
	}
}
