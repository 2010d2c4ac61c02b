package config

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/inifile"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/suggest"
)

// maxFile is the size of the largest configuration file, in bytes.
const maxFile = 16 << 20

// The configuration files that are read by default: the system's, then the one in the
// working directory.
const (
	systemFile = "/etc/kolla/kolla-build.conf"
	localFile  = "kolla-build.conf"
)

// readFiles reads the configuration files, the strongest last. A file that is named
// twice is read once, at its last place.
func (l *loader) readFiles() error {
	system := l.in.SystemFile
	if system == "" {
		system = systemFile
	}
	type file struct {
		path     string
		required string // the option that names it, "" if the file may be missing
	}
	files := []file{{path: system}, {path: localFile}}
	for _, s := range l.in.Arguments.Options {
		path := l.home(s.Text)
		switch s.Option.Name {
		case "config-file":
			files = append(files, file{path, s.Typed})
			continue
		case "config-dir":
		default:
			continue
		}
		info, err := os.Stat(l.path(path))
		if err != nil {
			return l.missing(path, s.Typed, err)
		}
		if !info.IsDir() {
			return &Error{Option: "config-dir", SourceLine: s.Typed,
				Message: fmt.Sprintf("%s: %s is not a directory", s.Typed, path),
				Hint:    "did you mean --config-file?"}
		}
		matches, _ := filepath.Glob(filepath.Join(globEscape(l.path(path)), "*.conf"))
		slices.Sort(matches)
		for _, m := range matches {
			files = append(files, file{filepath.Join(path, filepath.Base(m)), s.Typed})
		}
	}

	type loaded struct {
		path string
		info fs.FileInfo
	}
	var found []loaded
	for _, f := range files {
		info, err := os.Stat(l.path(f.path))
		switch {
		case err == nil && info.IsDir() && f.required != "":
			return &Error{Option: "config-file", SourceLine: f.required,
				Message: fmt.Sprintf("%s: %s is a directory", f.required, f.path),
				Hint:    "did you mean --config-dir?"}
		case err == nil && info.IsDir():
			continue
		case errors.Is(err, fs.ErrNotExist) && f.required == "":
			continue
		case err != nil:
			return l.missing(f.path, f.required, err)
		}
		found = slices.DeleteFunc(found, func(o loaded) bool { return os.SameFile(o.info, info) })
		found = append(found, loaded{f.path, info})
	}
	for _, f := range found {
		data, err := inputfile.Read(context.Background(), l.path(f.path), maxFile)
		if err != nil {
			return l.missing(f.path, "", err)
		}
		parsed, err := inifile.Parse(f.path, data)
		if err != nil {
			return syntaxError(err)
		}
		l.files = append(l.files, parsed)
		l.c.Files = append(l.c.Files, f.path)
	}
	return nil
}

// missing returns the error for an unreadable file or directory. It is a usage error if an
// option of the command line, as typed, names the path.
func (l *loader) missing(path, option string, err error) error {
	cause := err
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		cause = pathError.Err
	}
	e := &Error{File: path, Message: "reading the configuration: " + cause.Error(), Option: "config-file"}
	if option != "" {
		e.File, e.SourceLine, e.Message = "", option, option+": "+cause.Error()
	}
	if errors.Is(err, fs.ErrNotExist) {
		entries, _ := os.ReadDir(l.path(filepath.Dir(path)))
		var names []string
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
		if n := suggest.Nearest(filepath.Base(path), names); n != "" {
			e.Hint = fmt.Sprintf("did you mean %q?", filepath.Join(filepath.Dir(path), n))
		}
	}
	return e
}

// syntaxError adds the place to the error of an invalid file and, for a line that is
// not an assignment, a hint about what was meant.
func syntaxError(err error) error {
	var e *inifile.Error
	if !errors.As(err, &e) {
		return err
	}
	out := &Error{File: e.File, Line: e.Line, Column: e.Column, SourceLine: e.Text, Message: e.Message, Hint: e.Hint}
	if e.Bare {
		out.Hint = hintForBareLine(e.Text)
	}
	return out
}

// hintForBareLine guesses the meaning of a line without a separator.
func hintForBareLine(line string) string {
	words := strings.Fields(strings.TrimLeft(line, "-"))
	if strings.TrimSpace(line) == "---" {
		return "this looks like YAML: write [DEFAULT], and lines such as \"base = debian\" below it"
	}
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

// path returns the path of a file relative to the working directory of the process.
func (l *loader) path(name string) string {
	if filepath.IsAbs(name) || l.in.Dir == "" {
		return name
	}
	return filepath.Join(l.in.Dir, name)
}

// home replaces ~ at the beginning by the home directory.
func (l *loader) home(name string) string {
	if home := l.env["HOME"]; home != "" && (name == "~" || strings.HasPrefix(name, "~/")) {
		return home + name[1:]
	}
	return name
}

func globEscape(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}
