package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/spf13/pflag"
)

// ManPage returns the manual page kolla-build(1) in the man macros of roff. date is for
// its footer.
func ManPage(commands []Command, version string, date time.Time) string {
	m := &manual{}
	fmt.Fprintf(&m.b, ".TH KOLLA-BUILD 1 %q %q %q\n", date.UTC().Format("2006-01-02"), "kolla-build "+version,
		"User Commands")
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
		"parents before children, several at the same time, and only those whose content has changed. " +
		"It accepts the command line, the kolla-build.conf, the template overrides and the template tree of OpenStack " +
		"Kolla's program of the same name.")
	m.paragraph("Regular expressions select the images whose names they match anywhere, and the parents of these. " +
		"Without any, the profiles select images; without profiles, all images are built.")
	m.commands(commands)
	m.options()
	m.files()
	m.environment()
	m.section("EXIT STATUS")
	m.entry("0", "Success. Images that are allowed to fail may have failed.")
	m.entry("1", "Images failed, or something else failed.")
	m.entry("2", "Usage error: the command line is wrong.")
	m.entry("75", "Another nightly run is active. Try again later.")
	m.entry("128 + N", "Ended by signal N: 130 after Ctrl-C, 143 after SIGTERM.")
	m.section("EXAMPLES")
	for _, c := range commands {
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

func (m *manual) commands(commands []Command) {
	m.section("COMMANDS")
	m.text(
		"A command is the first word that is neither an option nor the value of one. After -- it is a regular expression. " +
			"Options before the name of the command that it does not read have no effect, with a warning. Each command has " +
			"its own options, those of the section OPTIONS that it names, and --config-file, --config-dir, --strict and " +
			"--help. Without a command, all options of that section can be given.")
	for _, c := range commands {
		if c.Name == "" || c.Hidden {
			continue
		}
		m.entry(strings.TrimSpace(c.title()+" "+c.Args), strings.TrimSpace(c.Summary+" "+c.About))
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
}

func (m *manual) options() {
	m.section("OPTIONS")
	m.text(
		"Turn a switch off with --noNAME, --no-NAME or --NAME=false. Lists are written a,b, dictionaries " +
			"key:value,key:value. Long options can be abbreviated as long as they are unambiguous. Dashes and underscores in " +
			"their names are equal.")
	for _, group := range config.Groups() {
		fmt.Fprintf(&m.b, ".SS %s\n", quoteRoff(string(group)))
		for _, o := range config.Options() {
			if o.Group == group {
				m.option(o)
			}
		}
	}
}

func (m *manual) files() {
	m.section("FILES")
	m.entry("/etc/kolla/kolla-build.conf",
		"Configuration of the system. ~/.kolla/kolla-build.conf or ~/kolla-build.conf is read instead if it exists. No "+
			"default file is read with --config-file.")
	m.entry("./kolla-build.conf", "Configuration in the working directory, read after that of the system.")
	m.entry("/var/lib/kolla-build", "Images, builder state and sources of root; see --data-dir.")
	m.paragraph("A file has sections of key = value lines. Options are keys of [DEFAULT], with underscores for dashes. " +
		"$name and ${name} are replaced by the value of another option; $$ is a dollar sign. kolla-build --generate-config " +
		"prints a sample with every key.")
}

func (m *manual) environment() {
	m.section("ENVIRONMENT")
	m.entry("KOLLA_BUILD_NAME, OS_DEFAULT__NAME", "Set the option of that name, written in capitals with underscores. "+
		"The command line takes precedence over the environment, and the environment over files.")
	for _, o := range config.Options() {
		for _, name := range o.Env {
			m.entry(name, "Sets --"+o.Name+" as well.")
		}
	}
	m.entry("SOURCE_DATE_EPOCH", "The created time of images, in seconds since 1970.")
	m.entry("HTTP_PROXY, HTTPS_PROXY, NO_PROXY, FTP_PROXY",
		"Used for downloads and passed on to build steps, in upper or lower case.")
	m.entry("NO_COLOR", "Do not use colours.")
}
