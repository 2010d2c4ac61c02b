package main

import (
	"cmp"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
)

// version and commit are set by the Makefile with -ldflags -X. Without commit, it is
// the one that the go command recorded.
var (
	version = "devel"
	commit  = ""
)

// writeVersion prints the version of the program in one line, which scripts put into labels, as with
// Kolla's tool.
func writeVersion(w io.Writer) error {
	_, err := fmt.Fprintf(w, "kolla-build %s\n", version)
	return err
}

// writeVersions prints the versions of the program, of BuildKit, which is linked into
// it, and of Go.
func writeVersions(w io.Writer) error {
	var b strings.Builder
	info, _ := debug.ReadBuildInfo()
	fmt.Fprintf(&b, "kolla-build %s\n", version)
	if c := cmp.Or(commit, recordedCommit(info)); c != "" {
		fmt.Fprintf(&b, "commit      %s\n", c)
	}
	if v := moduleVersion(info, "github.com/moby/buildkit"); v != "" {
		fmt.Fprintf(&b, "BuildKit    %s\n", v)
	}
	fmt.Fprintf(&b, "Go          %s %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	_, err := io.WriteString(w, b.String())
	return err
}

// recordedCommit returns the commit that the go command recorded, "" for none.
func recordedCommit(info *debug.BuildInfo) string {
	settings := map[string]string{}
	if info != nil {
		for _, s := range info.Settings {
			settings[s.Key] = s.Value
		}
	}
	revision := settings["vcs.revision"]
	if revision != "" && settings["vcs.modified"] == "true" {
		revision += ", modified"
	}
	return revision
}

// moduleVersion returns the version of a module in the program, "" if unknown.
func moduleVersion(info *debug.BuildInfo, path string) string {
	if info == nil {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path == path {
			if m.Replace != nil {
				m = m.Replace
			}
			return m.Version
		}
	}
	return ""
}
