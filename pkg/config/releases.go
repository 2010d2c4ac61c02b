package config

import (
	"embed"
	"path"
	"slices"
	"strings"
	"sync"
)

// The default sources of a release are those of the next newer one with the
// differences of its file laid over them: a section with an empty type goes, an
// empty key is none. An image that came later keeps its section, so that newer
// templates can be built from an older release; a plugin or an addition, which
// would go into an older image, does not. TestReleasesAsUpstream compares all
// with Kolla's own branches.

//go:embed data/sources/*.conf
var releaseFiles embed.FS

// releaseFile is what a release has otherwise.
type releaseFile struct {
	newer   string // the release that it differs from
	branch  string // openstack_branch, "" for stable-RELEASE
	entries []*entry
}

// releases are all of them but master. Tests hold the files to be well-formed.
var releases = sync.OnceValue(func() map[string]releaseFile {
	out := map[string]releaseFile{}
	files, _ := releaseFiles.ReadDir("data/sources")
	for _, f := range files {
		data, _ := releaseFiles.ReadFile(path.Join("data/sources", f.Name()))
		ini, err := parseINI(f.Name(), data)
		if err != nil {
			continue
		}
		var r releaseFile
		for _, e := range ini.entries {
			switch {
			case normalSection(e.section) != "DEFAULT":
				r.entries = append(r.entries, e)
			case e.key == "newer":
				r.newer = e.value
			case e.key == "openstack_branch":
				r.branch = e.value
			}
		}
		out[strings.TrimSuffix(f.Name(), ".conf")] = r
	}
	return out
})

// releaseNames lists the releases whose sources are known, newest first, without
// master.
func releaseNames() []string {
	all := releases()
	names := []string{"master"}
	for range all {
		for name, r := range all {
			if r.newer == names[len(names)-1] {
				names = append(names, name)
				break
			}
		}
	}
	return names[1:]
}

// releaseEntries returns the default sources of a release as entries, later ones
// over earlier ones. A release that is not known has master's.
func releaseEntries(release string) []*entry {
	var out []*entry
	if f, err := parseINI("sources.conf", defaultSources); err == nil {
		out = append(out, f.entries...)
	}
	names := releaseNames()
	for _, name := range names[:slices.Index(names, release)+1] {
		out = append(out, releases()[name].entries...)
	}
	return out
}
