package imagediff

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/kolla-build/kolla-build/internal/printable"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/inspect"
)

// WriteText writes the difference for people to read, with up to maxFiles files
// of each layer; 0 means all.
func (d *Difference) WriteText(out io.Writer, maxFiles int) error {
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, "A  %s  %s\nB  %s  %s\n", d.A.Name, d.A.Digest, d.B.Name, d.B.Digest)
	if d.Same {
		fmt.Fprint(w, "the same\n")
	}
	if len(d.Packages) > 0 {
		fmt.Fprint(w, "\npackages\n")
		for _, c := range d.Packages {
			fmt.Fprintf(w, "  %s %s\n", changeSign(c.Kind()), c)
		}
	}
	if len(d.Config) > 0 {
		fmt.Fprint(w, "\nconfiguration\n")
		for _, c := range d.Config {
			fmt.Fprintf(w, "  %s: %s → %s\n", c.Field, valueOrNone(c.From), valueOrNone(c.To))
		}
	}
	for _, l := range d.Layers {
		l.write(w, maxFiles)
	}
	return w.Flush()
}

func (l LayerDifference) write(w *bufio.Writer, maxFiles int) {
	title := fmt.Sprintf("layer %d", l.Layer)
	if l.Rest {
		title = fmt.Sprintf("layers from %d on", l.Layer)
		switch "" {
		case l.A.String():
			title += ", which only B has"
		case l.B.String():
			title += ", which only A has"
		}
	}
	if l.Step != "" {
		title += ": " + printable.Characters(strings.Join(strings.Fields(l.Step), " "), 100)
	}
	fmt.Fprintf(w, "\n%s\n", title)
	if l.Packed {
		fmt.Fprint(w, "  equal files in another order or with another compression\n")
	}
	for i, c := range l.Files {
		if maxFiles > 0 && i == maxFiles {
			fmt.Fprintf(w, "  … and %d more; --debug or --json shows all\n", len(l.Files)-maxFiles)
			break
		}
		f := c.Describe()
		if _, err := fmt.Fprintf(w, "  %s %s%s\n", changeSign(f.Kind), quotePath("/"+f.Path), details(f)); err != nil {
			return // Flush returns it
		}
	}
}

// details describes the changed properties of a file with their old and new values.
func details(f inspect.FileChange) string {
	if f.Kind != "changed" {
		return ""
	}
	var changes []string
	for _, change := range f.What {
		from, to := "", ""
		switch change {
		case "type":
			from, to = f.From.Type, f.To.Type
		case "link":
			from, to = quotePath(f.From.Link), quotePath(f.To.Link)
		case "mode":
			from, to = f.From.Mode, f.To.Mode
		case "owner":
			from, to = f.From.Owner, f.To.Owner
		case "time":
			const format = "2006-01-02T15:04:05.999999999Z"
			from, to = f.From.ModTime.Format(format), f.To.ModTime.Format(format)
		case "content":
			if f.From.Size != f.To.Size {
				from, to = units.Bytes(f.From.Size), units.Bytes(f.To.Size)
			}
		}
		if from != "" || to != "" {
			change += " " + from + " → " + to
		}
		changes = append(changes, change)
	}
	return "  " + strings.Join(changes, ", ")
}

// quotePath returns a path, quoted if it would look like something else in a list.
func quotePath(path string) string {
	if strings.ContainsFunc(path, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return strconv.Quote(path)
	}
	return path
}

// changeSign returns the sign before a change of a kind, as diff tools have it.
func changeSign(kind string) string {
	switch kind {
	case "added":
		return "+"
	case "removed":
		return "-"
	}
	return "~"
}

func valueOrNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return printable.Characters(s, 200)
}
