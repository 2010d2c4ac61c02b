package pipeline

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// write writes the explanation for people.
func (x *Explanation) write(out io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n  name      %s\n  template  %s\n", x.Image, x.Reference, x.Template)
	fmt.Fprintf(&b, "  stands on %s\n", strings.Join(x.Parents, " < "))
	if len(x.Children) > 0 {
		fmt.Fprintf(&b, "  parent of %s\n", strings.Join(x.Children, ", "))
	}
	x.writeKey(&b)
	section := func(title string, rows func(w io.Writer)) {
		fmt.Fprintf(&b, "\n%s\n", title)
		w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
		rows(w)
		_ = w.Flush() // a buffer takes all
	}
	section("Settings", func(w io.Writer) {
		for _, s := range x.Settings {
			from := s.From
			if s.Where != "" {
				from = s.Where
				if s.From == "env" {
					from = "environment: " + s.Where
				}
			}
			fmt.Fprintf(w, "  %s\t%s\t%s\n", s.Option, shorten(s.text), from)
		}
	})
	if len(x.Sources) > 0 {
		section("Sources", func(w io.Writer) {
			for _, s := range x.Sources {
				note := ""
				switch {
				case !s.Enabled:
					note = ", not enabled"
				case !s.Used:
					note = ", not used: the Dockerfile does not copy its archive"
				}
				fmt.Fprintf(w, "  [%s]\t%s\t%s\t%s%s\n", s.Section, s.Type, strings.TrimSpace(s.Location+" "+s.Reference), s.Where, note)
			}
		})
	}
	if len(x.Overrides) > 0 {
		section("Overrides that touch it", func(w io.Writer) {
			for _, o := range x.Overrides {
				fmt.Fprintf(w, "  %s\t%s\t%s\n", o.Kind, o.Name, o.Where)
			}
		})
	}
	if len(x.Variables) > 0 {
		section("Variables that its templates read", func(w io.Writer) {
			for _, v := range x.Variables {
				value := "undefined"
				if v.Known {
					switch of := v.Value.(type) {
					case nil:
						value = "none"
					case map[string]any:
						value = fmt.Sprintf("(%d entries)", len(of))
					default:
						value = shorten(fmt.Sprint(of))
					}
				}
				option := ""
				if v.Option != "" {
					option = "--" + v.Option
				}
				fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", v.Name, value, option, v.Where)
			}
		})
	}
	fmt.Fprintf(&b, "\nDockerfile\n")
	blank := false // templates leave many empty lines; one is enough to read
	for line := range strings.SplitSeq(strings.TrimRight(x.Dockerfile, "\n"), "\n") {
		line = strings.TrimRight("  "+line, " ")
		if line != "" || !blank {
			b.WriteString(line + "\n")
		}
		blank = line == ""
	}
	_, err := out.Write(b.Bytes())
	return err
}

// writeKey writes what a build would do, and what its decision rests on.
func (x *Explanation) writeKey(b *bytes.Buffer) {
	k := x.Key
	if k.Unknown != "" {
		fmt.Fprintf(b, "  a build   cannot be told: %s (kolla-build plan %s fetches what is missing)\n", k.Unknown, x.Image)
		return
	}
	verb := map[string]string{"build": "would build it", "keep": "would keep it"}[k.Action]
	fmt.Fprintf(b, "  a build   %s: %s\n  key       %s\n", verb, k.Reason, k.Key)
	fmt.Fprintf(b, "\nA change of one of these, or of a parent, builds it anew\n")
	w := tabwriter.NewWriter(b, 0, 8, 2, ' ', 0)
	for _, p := range k.Parts {
		change := p.Change
		if change == "unchanged" {
			change = "as last time"
		}
		fmt.Fprintf(w, "  %s\t%.19s\t%s\n", p.Name, p.Digest, change)
	}
	_ = w.Flush()
}

// shorten keeps a value on one line of reasonable length.
func shorten(s string) string {
	const most = 60
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	if s == "" {
		return `""`
	}
	return s
}
