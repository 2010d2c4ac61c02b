package config

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/kolla-build/kolla-build/internal/inifile"
	"github.com/kolla-build/kolla-build/internal/textwrap"
	"github.com/kolla-build/kolla-build/pkg/facts"
)

// SampleConfig returns the commented sample configuration: every key that a file
// can hold, commented out with its default, under the heading of its group.
func SampleConfig() string {
	var b bytes.Buffer
	comment(&b, "A sample configuration of kolla-build. Every key is commented out and shows its "+
		"default.")
	b.WriteString("#\n")
	comment(&b, "It is read from /etc/kolla/kolla-build.conf, then ./kolla-build.conf, then the files "+
		"given by --config-file and --config-dir; later files win, and the environment and the "+
		"command line win over all of them. $name and ${name} stand for the value of another "+
		"option, $$ for a dollar sign. A comment needs a line of its own. Indented lines go on "+
		"with the value above them.")
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
	comment(&b, "Named sets of images: a profile's name and, by comma, the regular expressions that "+
		"select its images. One that stands here takes the place of a built-in one of the same name; "+
		"$name stands for another profile.")
	b.WriteString("[profiles]\n#containers = zun,magnum,heat\n#everything = $infra,$main,$aux\n\n\n")
	comment(&b, "Where the sources of images come from: a section for each image, and further ones "+
		"named IMAGE-plugin-NAME and IMAGE-additions-NAME. type is url, git or local; reference is a "+
		"branch, tag or commit, for git only; version is for use in location; sha256 holds digests "+
		"as amd64:DIGEST,arm64:DIGEST; mirrors are further places of a url, by comma; enabled = false leaves the source out.")
	master, _ := facts.LookupRelease(facts.Master)
	sampleSections(&b, master.Sources())
	b.WriteString("\n\n")
	comment(&b, "Users in the images: a section for each, named NAME-user. Without a group, the "+
		"user's own name is the group's.")
	sampleSections(&b, facts.Users())
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
	// An empty value means the same as none, should someone uncomment it.
	b.WriteString(strings.TrimRight(fmt.Sprintf("#%s = %s", o.Key(), o.Default), " ") + "\n")
}

// sampleSections writes the sections of an embedded file with their keys commented
// out.
func sampleSections(b *bytes.Buffer, entries []*inifile.Entry) {
	section := ""
	for _, e := range entries {
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
