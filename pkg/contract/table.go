package contract

import (
	"embed"
	"fmt"
	"io"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/usererr"
)

// Kind is the kind of an expectation.
type Kind string

// Kinds of rows. KindProgram occurs only in results: every program in the directories
// of PATH has to start.
const (
	KindCommand     Kind = "command"     // a command line; its programs exist and their libraries too
	KindExec        Kind = "exec"        // likewise, run in a running container
	KindHealthcheck Kind = "healthcheck" // likewise
	KindFile        Kind = "file"        // PATH [owner=USER[:GROUP]] [perm=MODE]; may be a glob
	KindDirectory   Kind = "directory"   // likewise; it exists or can be made
	KindConfig      Kind = "config"      // SOURCE -> DESTINATION [owner=…] [perm=…]: a file that the deployment copies
	KindVolume      Kind = "volume"      // SOURCE:DESTINATION[:OPTIONS]: a mount
	KindUser        Kind = "user"        // NAME[:UID[:GID]]
	KindEnv         Kind = "env"         // NAME[=VALUE]: a variable that a start script reads, or that the image sets
	KindLabel       Kind = "label"       // NAME[=VALUE]
	KindModule      Kind = "module"      // wsgi:MODULE:NAME, python:MODULE or ansible:MODULE
	KindClean       Kind = "clean"       // a check for files that an image must not contain, see cleanChecks
	KindRun         Kind = "run"         // an option of the container, which does not concern images
	KindProgram     Kind = "program"
)

var kinds = []Kind{
	KindCommand, KindExec, KindHealthcheck, KindFile, KindDirectory, KindConfig, KindVolume,
	KindUser, KindEnv, KindLabel, KindModule, KindClean, KindRun,
}

// Row is one expectation.
type Row struct {
	Role  string // the part of the deployment that it comes from, "" if unknown
	Image string // the image's name without registry, prefix and tag, or "*"
	Kind  Kind
	Value string
	When  []string // distributions; none means all
}

// Table is a contract.
type Table struct {
	rows  []Row
	roles map[string]map[string]bool // roles by image
}

//go:embed data
var data embed.FS

// builtInTable returns the contract of the built-in images.
func builtInTable() (*Table, error) {
	f, err := data.Open("data/contract.tsv")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadTable(f, "the built-in contract")
}

// maxTable is the size of the largest table in bytes. The built-in one has 85 KB.
const maxTable = 1 << 20

// ReadTable reads a table: lines of columns that tabs separate, the first of which names
// them. Required are image, kind (or what) and value; role and when are optional, others
// are ignored. Empty lines and those that begin with # are skipped. The name is for messages.
func ReadTable(r io.Reader, name string) (*Table, error) {
	content, err := inputfile.ReadAll(r, name, maxTable)
	if err != nil {
		return nil, err
	}
	t := &Table{roles: map[string]map[string]bool{}}
	column := map[string]int{}
	for n, fields := range rows(content) {
		if len(column) == 0 {
			for i, f := range fields {
				if f == "what" {
					f = "kind"
				}
				column[f] = i
			}
			for _, want := range []string{"image", "kind", "value"} {
				if _, ok := column[want]; !ok {
					return nil, usererr.Errorf("the first line names the columns, separated by tabs: image, kind, value",
						"%s:%d: no column %q", name, n, want)
				}
			}
			continue
		}
		get := func(c string) string {
			if i, ok := column[c]; ok && i < len(fields) {
				return strings.TrimSpace(fields[i])
			}
			return ""
		}
		row := Row{Role: get("role"), Image: get("image"), Kind: Kind(get("kind")), Value: get("value")}
		if condition := get("when"); condition != "" && condition != "always" && condition != "conditional" {
			row.When = strings.Split(condition, ",")
		}
		switch {
		case row.Image == "" || row.Value == "":
			return nil, fmt.Errorf("%s:%d: a row needs an image, a kind and a value", name, n)
		case !slices.Contains(kinds, row.Kind):
			return nil, usererr.Errorf(fmt.Sprintf("kinds are %s", joinKinds()), "%s:%d: unknown kind %q", name, n, row.Kind)
		}
		t.rows = append(t.rows, row)
		if row.Image != "*" && row.Role != "" {
			if t.roles[row.Image] == nil {
				t.roles[row.Image] = map[string]bool{}
			}
			t.roles[row.Image][row.Role] = true
		}
	}
	return t, nil
}

// rows returns the fields of the lines of a table, by their number, without empty lines and
// comments.
func rows(table []byte) iter.Seq2[int, []string] {
	return func(yield func(int, []string) bool) {
		n := 0
		for line := range strings.Lines(string(table)) {
			n++
			line = strings.TrimRight(line, "\r\n")
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			if !yield(n, strings.Split(line, "\t")) {
				return
			}
		}
	}
}

func joinKinds() string {
	var names []string
	for _, k := range kinds {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

// manyRoles is the number of roles from which an image counts as a tool that all roles
// use, such as kolla-toolbox. Rows for all images of a role do not apply to it.
const manyRoles = 4

// Rows returns the rows for an image, each once: its own, and those for all images ("*")
// of its roles. Rows without a role apply to every image.
func (t *Table) Rows(image string) []Row {
	type key struct {
		kind  Kind
		value string
		when  string
	}
	seen := map[key]bool{}
	roles := t.roles[image]
	var out []Row
	for _, r := range t.rows {
		everywhere := r.Role == "" || r.Role == "(module)"
		ofRole := roles[r.Role] && len(roles) < manyRoles
		if r.Image != image && (r.Image != "*" || !everywhere && !ofRole) {
			continue
		}
		k := key{r.Kind, r.Value, strings.Join(r.When, ",")}
		if !seen[k] {
			seen[k] = true
			out = append(out, r)
		}
	}
	return out
}

// Exception is a row that may fail, with the reason.
type Exception struct {
	Image, Condition, Value string // patterns of path.Match, except the condition
	Kind                    Kind   // "*" for all
	Reason                  string
}

// builtInExceptions returns the exceptions of the built-in images.
func builtInExceptions() ([]Exception, error) {
	f, err := data.Open("data/exceptions.tsv")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadExceptions(f, "the built-in exceptions")
}

// ReadExceptions reads a table of exceptions with the columns image, condition, kind,
// value and reason, in this order. A condition is "any", or words joined by "+" as in a
// template: deb, rpm, a distribution, its release, binary, source, x86_64, aarch64.
func ReadExceptions(r io.Reader, name string) ([]Exception, error) {
	content, err := inputfile.ReadAll(r, name, maxTable)
	if err != nil {
		return nil, err
	}
	var out []Exception
	for n, f := range rows(content) {
		if len(f) != 5 || f[4] == "" {
			return nil, usererr.Errorf("the columns are image, condition, kind, value and reason",
				"%s:%d: %d columns instead of 5", name, n, len(f))
		}
		e := Exception{Image: f[0], Condition: f[1], Kind: Kind(f[2]), Value: f[3], Reason: f[4]}
		for _, pattern := range []string{e.Image, e.Value} {
			if _, err := path.Match(pattern, ""); err != nil {
				return nil, fmt.Errorf("%s:%d: %s: %w", name, n, pattern, err)
			}
		}
		out = append(out, e)
	}
	return out, nil
}

// matches reports whether the exception applies to a row of an image with these words.
func (e Exception) matches(image string, words map[string]bool, r Row) bool {
	if e.Kind != "*" && e.Kind != r.Kind {
		return false
	}
	for word := range strings.SplitSeq(e.Condition, "+") {
		if !words[word] {
			return false
		}
	}
	ok, _ := path.Match(e.Image, image)
	return ok && glob(e.Value, r.Value)
}

// glob matches a pattern in which * stands for any text, slashes included.
func glob(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	if !strings.HasPrefix(text, parts[0]) {
		return false
	}
	text = text[len(parts[0]):]
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(text, p)
		if i < 0 {
			return false
		}
		text = text[i+len(p):]
	}
	return strings.HasSuffix(text, parts[len(parts)-1])
}
