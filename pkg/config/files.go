package config

import (
	"cmp"
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

// maxFile is the size of the largest configuration file, in bytes. The sample of all options has 40 KB.
const maxFile = 1 << 20

// defaultName is the name of the configuration files that are read by default.
const defaultName = "kolla-build.conf"

// file is a configuration file to read.
type file struct {
	path     string
	required string // the option that names it, as typed, "" if the file may be missing
}

// defaultFiles returns the files that are read if the command line names none: that of the
// system, which is the first one in the directories that oslo.config searches, and that of
// the working directory.
func (l *loader) defaultFiles() []file {
	system := l.in.SystemFile
	if system == "" {
		system = l.searched(defaultName, fs.FileMode.IsRegular)
	}
	return []file{{path: system}, {path: defaultName}}
}

// defaultDirFiles returns the files of the directory that is read if the command line names
// none.
func (l *loader) defaultDirFiles() []file {
	if l.in.SystemFile != "" {
		return nil
	}
	return l.filesIn(l.searched(defaultName+".d", fs.FileMode.IsDir), "")
}

// searched returns the path of a file or directory in the first directory that has it, of
// those that oslo.config searches for Kolla's tool, else the path in /etc/kolla.
func (l *loader) searched(name string, is func(fs.FileMode) bool) string {
	for _, dir := range []string{"~/.kolla", "~", "/etc/kolla", "/etc"} {
		path := filepath.Join(l.home(dir), name)
		if info, err := os.Stat(path); err == nil && is(info.Mode()) && filepath.IsAbs(path) {
			return path
		}
	}
	return filepath.Join("/etc/kolla", name)
}

// filesIn returns the *.conf files of a directory in alphabetical order, without hidden ones, as
// oslo.config does.
func (l *loader) filesIn(dir, option string) []file {
	matches, _ := filepath.Glob(filepath.Join(globEscape(l.path(dir)), "*.conf"))
	slices.Sort(matches)
	var files []file
	for _, m := range matches {
		if strings.HasPrefix(filepath.Base(m), ".") {
			continue
		}
		files = append(files, file{filepath.Join(dir, filepath.Base(m)), option})
	}
	return files
}

// filesToRead returns the configuration files in the order in which they are read, the
// strongest last. As in oslo.config, named files replace the default files, and named
// directories the default directory.
func (l *loader) filesToRead() ([]file, error) {
	names := func(option string) bool {
		return slices.ContainsFunc(l.in.Arguments.Options, func(s Setting) bool { return s.Option.Name == option })
	}
	var files []file
	if !names("config-file") {
		files = l.defaultFiles()
	}
	if !names("config-dir") {
		files = append(files, l.defaultDirFiles()...)
	}
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
			return nil, l.missing(path, s.Typed, err)
		}
		if !info.IsDir() {
			return nil, &Error{Option: "config-dir", SourceLine: s.Typed,
				Message: fmt.Sprintf("%s: %s is not a directory", s.Typed, path),
				Hint:    "did you mean --config-file?"}
		}
		files = append(files, l.filesIn(path, s.Typed)...)
	}
	return files, nil
}

// readFiles reads the configuration files, the strongest last. A file that is named
// twice is read once, at its last place.
func (l *loader) readFiles() error {
	if l.in.NoFiles {
		return nil
	}
	files, err := l.filesToRead()
	if err != nil {
		return err
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
	cause := inputfile.WithoutPath(err)
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
		out.Hint = cmp.Or(e.Hint, hintForBareLine(e.Text))
	}
	return out
}

// hintForBareLine guesses the meaning of a line without a separator.
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
