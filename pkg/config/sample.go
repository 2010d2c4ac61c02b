package config

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/kolla-build/kolla-build/internal/inifile"
	"github.com/kolla-build/kolla-build/internal/textwrap"
	"github.com/kolla-build/kolla-build/pkg/facts"
)

// SampleConfig returns a sample configuration with every key that a file can contain,
// commented out with its default, under the heading of its group.
func SampleConfig() string {
	var b bytes.Buffer
	comment(&b, "Sample configuration of kolla-build. Every key is commented out and shows its default.")
	b.WriteString("#\n")
	comment(&b, "Files are read in this order: the first kolla-build.conf found in ~/.kolla, ~, /etc/kolla and "+
		"/etc; ./kolla-build.conf; the files of the first kolla-build.conf.d found in the same directories. "+
		"Files named with --config-file replace the first two, and directories named with --config-dir the last, "+
		"in the order of the command line. Later files take precedence over earlier ones, the environment over "+
		"files, and the command line over the environment. $name and ${name} are replaced by the "+
		"value of another option; $$ is a dollar sign. A comment needs its own line. Indented lines "+
		"continue the value above them.")
	b.WriteString("\n[DEFAULT]\n")
	for _, group := range Groups() {
		fmt.Fprintf(&b, "\n#\n# %s\n#\n", group)
		for _, o := range table {
			if o.Group == group && !o.CommandLineOnly {
				sampleOption(&b, o)
			}
		}
	}
	b.WriteString("\n\n")
	comment(&b, "Named sets of images: the name of a profile and the regular expressions that select its "+
		"images, separated by commas. A profile here replaces the built-in one of the same name. $name "+
		"is replaced by another profile.")
	b.WriteString("[profiles]\n#containers = zun,magnum,heat\n#everything = $infra,$main,$aux\n\n\n")
	comment(&b, "Sources of images: one section per image, and further ones named IMAGE-plugin-NAME and "+
		"IMAGE-additions-NAME. type is url, git or local; reference is a branch, tag or commit, for git "+
		"only; version is for use in location; sha256 contains digests as amd64:DIGEST,arm64:DIGEST; "+
		"mirrors are further addresses of a url, separated by commas; enabled = false omits the source. "+
		"These are the sources of master; those of other releases differ.")
	master, _ := facts.LookupRelease(facts.Master)
	sampleSections(&b, master.Sources())
	b.WriteString("\n\n")
	comment(&b, "Users in the images: one section per user, named NAME-user. Without a group, the group "+
		"has the name of the user.")
	sampleSections(&b, master.Users())
	return b.String()
}

func sampleOption(b *bytes.Buffer, o *Option) {
	b.WriteByte('\n')
	text := o.Help + " (" + o.Kind.String()
	if o.Choices != nil {
		text += ", one of " + strings.Join(o.Choices, ", ")
	}
	if o.Kind == Int {
		text += fmt.Sprintf(", at least %d", o.Min)
	}
	text += ")"
	if o.DefaultText != "" {
		text += " Default: " + o.DefaultText + "."
	}
	comment(b, text)
	// If the line is uncommented, an empty value means the same as none.
	b.WriteString(strings.TrimRight(fmt.Sprintf("#%s = %s", o.Key(), o.Default), " ") + "\n")
}

// sampleSections writes assignments with their sections, commented out.
func sampleSections(b *bytes.Buffer, entries []*inifile.Entry) {
	section := ""
	for _, e := range entries {
		if e.Value == "" {
			continue
		}
		if e.Section != section {
			section = e.Section
			fmt.Fprintf(b, "\n[%s]\n", section)
		}
		fmt.Fprintf(b, "#%s = %s\n", e.Key, e.Value)
	}
}

// comment writes a text as comment lines.
func comment(b *bytes.Buffer, text string) {
	for line := range strings.SplitSeq(textwrap.Wrap(text, 2, 80), "\n") {
		b.WriteString("# " + strings.TrimSpace(line) + "\n")
	}
}
