package cli

import (
	"bytes"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/config"
)

// manual is a manual page in roff.
type manual struct{ b bytes.Buffer }

func (m *manual) line(s string)    { m.b.WriteString(s + "\n") }
func (m *manual) section(s string) { m.line(".SH " + quoteRoff(s)) }

// text writes a text, each sentence on its own lines, as is usual in roff.
func (m *manual) text(s string) {
	const width = 78
	for sentence := range strings.SplitAfterSeq(s, ". ") {
		line := ""
		flush := func() {
			if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
				line = `\&` + line
			}
			m.line(line)
		}
		for word := range strings.FieldsSeq(sentence) {
			word = roff(word)
			switch {
			case line == "":
				line = word
			case len(line)+1+len(word) > width:
				flush()
				line = word
			default:
				line += " " + word
			}
		}
		if line != "" {
			flush()
		}
	}
}

func (m *manual) paragraph(s string) {
	m.line(".PP")
	m.text(s)
}

// entry writes a term and its meaning.
func (m *manual) entry(term, s string) {
	m.line(".TP")
	m.line(`\fB` + roff(term) + `\fR`)
	m.text(s)
}

func (m *manual) option(o *config.Option) {
	term := "--" + o.Name
	switch {
	case o.Positional:
		term = o.Arg + "…"
	case o.Short != "":
		term = "-" + o.Short + ", " + term
	}
	if o.Arg != "" && !o.Positional {
		term += " " + o.Arg
	}
	text := o.Help
	for _, a := range o.Aliases {
		text += " Also --" + a + "."
	}
	if o.Choices != nil {
		text += " One of " + strings.Join(o.Choices, ", ") + "."
	}
	switch d := o.DefaultDescription(); {
	case o.Kind == config.Bool && o.Default == "true":
		text += " On unless --no" + o.Name + "."
	case o.Kind != config.Bool && d != "":
		text += " Default: " + d + "."
	}
	if o.Note != "" {
		text += " " + strings.ToUpper(o.Note[:1]) + o.Note[1:] + "."
	}
	m.entry(term, text)
}

// roff escapes the characters that have a meaning in roff.
func roff(s string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...", "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~",
		`\(ti`).Replace(s)
}

func quoteRoff(s string) string { return `"` + strings.ReplaceAll(roff(s), `"`, `\(dq`) + `"` }
