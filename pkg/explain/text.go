package explain

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteText writes the explanation for people to read.
func (x *Explanation) WriteText(out io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n  name        %s\n  template    %s\n", x.Image, x.Reference, x.Template)
	fmt.Fprintf(&b, "  depends on  %s\n", strings.Join(x.Parents, " < "))
	if len(x.Children) > 0 {
		fmt.Fprintf(&b, "  parent of   %s\n", strings.Join(x.Children, ", "))
	}
	x.writeKey(&b)
	table(&b, "Settings", len(x.Settings), func(w io.Writer, i int) {
		s := x.Settings[i]
		origin := s.From
		if s.Where != "" {
			origin = s.Where
			if s.From == "env" {
				origin = "environment: " + s.Where
			}
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\n", s.Option, oneLine(s.text), origin)
	})
	table(&b, "Sources", len(x.Sources), func(w io.Writer, i int) {
		s := x.Sources[i]
		note := ""
		switch {
		case !s.Enabled:
			note = ", not enabled"
		case !s.Used:
			note = ", not used: the Dockerfile does not copy its archive"
		}
		fmt.Fprintf(w, "  [%s]\t%s\t%s\t%s%s\n", s.Section, s.Type, strings.TrimSpace(s.Location+" "+s.Reference), s.Where,
			note)
	})
	table(&b, "Overrides", len(x.Overrides), func(w io.Writer, i int) {
		o := x.Overrides[i]
		fmt.Fprintf(w, "  %s\t%s\t%s\n", o.Kind, o.Name, o.Where)
	})
	table(&b, "Variables that its templates read", len(x.Variables), func(w io.Writer, i int) {
		v := x.Variables[i]
		option := ""
		if v.Option != "" {
			option = "--" + v.Option
		}
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", v.Name, v.text(), option, v.Where)
	})
	table(&b, "ONBUILD instructions of its parents, which run before its own", len(x.OnBuild), func(w io.Writer, i int) {
		fmt.Fprintf(w, "  %s\n", x.OnBuild[i])
	})
	b.WriteString("\nDockerfile\n")
	empty := false // templates produce many empty lines in a row
	for line := range strings.SplitSeq(strings.TrimRight(x.Dockerfile, "\n"), "\n") {
		line = strings.TrimRight("  "+line, " ")
		if line != "" || !empty {
			b.WriteString(line + "\n")
		}
		empty = line == ""
	}
	_, err := out.Write(b.Bytes())
	return err
}

// table writes a section of aligned rows, nothing if there are none.
func table(b *bytes.Buffer, title string, rows int, write func(w io.Writer, i int)) {
	if rows == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", title)
	w := tabwriter.NewWriter(b, 0, 8, 2, ' ', 0)
	for i := range rows {
		write(w, i)
	}
	_ = w.Flush() // writing to a buffer does not fail
}

// writeKey writes whether a build would build or keep the image, and why.
func (x *Explanation) writeKey(b *bytes.Buffer) {
	k := x.Key
	if k.Fails != "" {
		fmt.Fprintf(b, "  next build  fails: %s\n", k.Fails)
		return
	}
	if k.Unknown != "" {
		fmt.Fprintf(b, "  next build  unknown: %s (kolla-build plan %s fetches the missing inputs)\n", k.Unknown, x.Image)
		return
	}
	action := map[string]string{"build": "builds it", "keep": "keeps it"}[k.Action]
	fmt.Fprintf(b, "  next build  %s: %s\n  key         %s\n", action, k.Reason, k.Key)
	table(b, "A change of one of these, or of a parent, causes a new build", len(k.Parts), func(w io.Writer, i int) {
		p := k.Parts[i]
		fmt.Fprintf(w, "  %s\t%.19s\t%s\n", p.Name, p.Digest, p.Change)
	})
}

func (v Variable) text() string {
	if !v.Known {
		return "undefined"
	}
	switch value := v.Value.(type) {
	case nil:
		return "none"
	case map[string]any:
		return fmt.Sprintf("(%d entries)", len(value))
	default:
		return oneLine(fmt.Sprint(value))
	}
}

// oneLine shortens a value to a line of reasonable length.
func oneLine(s string) string {
	const length = 60
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > length {
		return string(r[:length-1]) + "…"
	}
	if s == "" {
		return `""`
	}
	return s
}
