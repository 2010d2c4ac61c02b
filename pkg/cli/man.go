package cli

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/spf13/pflag"
)

// ManPage returns the manual page kolla-build(1) in roff's man macros. date is
// the one in the page's footer.
func ManPage(all []Command, version string, date time.Time) string {
	m := &manual{}
	fmt.Fprintf(&m.b, ".TH KOLLA-BUILD 1 %q %q %q\n", date.UTC().Format("2006-01-02"), "kolla-build "+version, "User Commands")
	m.section("NAME")
	m.text("kolla-build - build OpenStack container images from templates, with BuildKit")
	m.section("SYNOPSIS")
	m.line(".B kolla-build")
	m.text("[OPTION…] [REGEX…]")
	m.line(".br")
	m.line(".B kolla-build")
	m.text("COMMAND [OPTION…] …")
	m.section("DESCRIPTION")
	m.text("kolla-build renders a tree of Jinja2 Dockerfile templates and builds a set of container images from it: " +
		"parents before children, as many at once as --threads says, and only those whose content has changed. " +
		"It understands the command line, the kolla-build.conf, the template overrides and the template tree of OpenStack Kolla's program of the same name.")
	m.paragraph("Regular expressions select the images whose names they match anywhere, and the parents of these. " +
		"Without any, the profiles do; without these, everything is built.")
	m.section("COMMANDS")
	m.text("A command is the first word that is neither an option nor the value of one. After -- it is a regular expression. " +
		"Each command has its own options, those of the section OPTIONS that it names, and --config-file, --config-dir, --strict and --help. Without a command, all options of that section can be given.")
	for _, c := range all {
		if c.Name == "" || c.Hidden {
			continue
		}
		m.entry(strings.TrimSpace("kolla-build "+c.Name+" "+c.Args), strings.TrimSpace(c.Summary+" "+c.About))
		c.ownFlags().VisitAll(func(f *pflag.Flag) {
			if f.Hidden {
				return
			}
			arg, usage := pflag.UnquoteUsage(f)
			title := "--" + f.Name
			if f.Shorthand != "" {
				title = "-" + f.Shorthand + ", " + title
			}
			m.line(".RS")
			m.entry(strings.TrimSpace(title+" "+arg), usage)
			m.line(".RE")
		})
		var names []string
		for _, o := range c.options() {
			if !slices.Contains(Everywhere, o.Name) {
				names = append(names, "--"+o.Name)
			}
		}
		if len(names) > 0 {
			m.line(".RS")
			m.paragraph("Options: " + strings.Join(names, ", ") + ".")
			m.line(".RE")
		}
	}
	m.section("OPTIONS")
	m.text("A switch is turned off by --noNAME, --no-NAME or --NAME=false. Lists are written a,b, dictionaries key:value,key:value. " +
		"Long options can be shortened as long as they stay unambiguous, and dashes and underscores in their names are alike.")
	for _, group := range config.Groups() {
		fmt.Fprintf(&m.b, ".SS %s\n", quoteRoff(string(group)))
		for _, o := range config.Options() {
			if o.Group == group {
				m.option(o)
			}
		}
	}
	m.section("FILES")
	m.entry("/etc/kolla/kolla-build.conf", "The system's configuration.")
	m.entry("./kolla-build.conf", "That of the working directory, read after the system's.")
	m.entry("/var/lib/kolla-build", "Built images, the builder's state and sources, for root; see --data-dir.")
	m.paragraph("A file has sections of key = value lines. Options are keys of [DEFAULT], with underscores for dashes. " +
		"$name and ${name} stand for another option's value, $$ for a dollar sign. kolla-build --generate-config prints a sample with every key.")
	m.section("ENVIRONMENT")
	m.entry("KOLLA_BUILD_NAME, OS_DEFAULT__NAME", "Set the option of that name, written in capitals with underscores. The command line counts more, the files count less.")
	for _, o := range config.Options() {
		for _, name := range o.Env {
			m.entry(name, "Sets --"+o.Name+", too.")
		}
	}
	m.entry("SOURCE_DATE_EPOCH", "The created time of images, in seconds since 1970.")
	m.entry("HTTP_PROXY, HTTPS_PROXY, NO_PROXY, FTP_PROXY", "Used for downloads and handed on to build steps, in capitals or small letters.")
	m.entry("NO_COLOR", "Show no colours.")
	m.section("EXIT STATUS")
	m.entry("0", "All is well; images that may fail count as well.")
	m.entry("1", "Images failed, or something else did.")
	m.entry("2", "The command line or a configuration file makes no sense.")
	m.entry("75", "Another nightly run is under way: another time it will do.")
	m.entry("130", "It was interrupted.")
	m.section("EXAMPLES")
	for _, c := range all {
		if c.Hidden {
			continue
		}
		for _, e := range c.Examples {
			m.entry(e.Line, e.Effect)
		}
	}
	m.section("SEE ALSO")
	m.line(".BR buildkitd (1),")
	m.line(".BR skopeo (1)")
	return m.b.String()
}

// manual writes roff.
type manual struct{ b bytes.Buffer }

func (m *manual) line(s string)    { m.b.WriteString(s + "\n") }
func (m *manual) section(s string) { m.line(".SH " + quoteRoff(s)) }

// text writes a text, each sentence on lines of its own, as roff likes it.
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

// entry writes a term and what it means.
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

// roff escapes what roff would take for its own.
func roff(s string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...", "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(s)
}

func quoteRoff(s string) string { return `"` + strings.ReplaceAll(roff(s), `"`, `\(dq`) + `"` }
