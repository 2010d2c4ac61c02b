package facts

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the sources of releases from Kolla's branches")

// upstreamRefs are where Kolla's repository has its releases, as of July 2026.
var upstreamRefs = map[string]string{
	"master": "master", "2026.1": "stable/2026.1", "2025.2": "stable/2025.2",
	"2025.1": "stable/2025.1", "2024.2": "2024.2-eol",
	"2024.1": "unmaintained/2024.1", "2023.2": "2023.2-eol", "2023.1": "2023.1-eol", "zed": "zed-eol", "yoga": "yoga-eol",
	"xena": "xena-em", "wallaby": "wallaby-eol", "victoria": "victoria-eol", "ussuri": "ussuri-eol",
}

// sourcesLine separates the facts of a release's file, which are written by hand, from
// its sources, which this test writes.
const sourcesLine = "# Sources\n"

// readUpstream prints the SOURCES of a Python file as JSON.
const readUpstream = `
import ast, json, sys
for n in ast.parse(sys.stdin.read()).body:
    if isinstance(n, ast.Assign) and n.targets[0].id == 'SOURCES':
        print(json.dumps(ast.literal_eval(n.value)))
`

type upstreamSource struct {
	Type, Location, Reference, Version string
	SHA256                             map[string]string
}

// upstreamSources reads a release's default sources from Kolla's repository.
func upstreamSources(t *testing.T, repo, release string) map[string]upstreamSource {
	t.Helper()
	ref := upstreamRefs[release]
	script := `git -C "$1" show "$2:kolla/common/sources.py" 2>/dev/null || git -C "$1" show "$2:kolla/common/config.py"`
	text, err := exec.Command("sh", "-c", script, "sh", repo, ref).Output()
	if err != nil {
		t.Skipf("%s has no %s", repo, ref)
	}
	cmd := exec.Command("python3", "-c", readUpstream)
	cmd.Stdin = strings.NewReader(string(text))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]upstreamSource
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestReleasesAsUpstream compares each release's default sources with those of
// Kolla's own branch, whose repository KOLLA_GIT names. With -update it writes
// the files of differences.
func TestReleasesAsUpstream(t *testing.T) {
	repo := os.Getenv("KOLLA_GIT")
	if repo == "" {
		t.Skip("KOLLA_GIT names no clone of Kolla's repository")
	}
	newer, chain := "master", defaultSourcesOf("master")
	for _, release := range Releases() {
		t.Run(release, func(t *testing.T) {
			want := upstreamSources(t, repo, release)
			if *update && release != "master" {
				writeRelease(t, release, newer, chain, want)
				return
			}
			got := defaultSourcesOf(release)
			for name, w := range want {
				g, ok := got[strings.ToLower(name)]
				if !ok {
					t.Errorf("[%s] is missing", name)
					continue
				}
				sum := map[string]string{}
				for part := range strings.SplitSeq(g["sha256"], ",") {
					if arch, digest, ok := strings.Cut(part, ":"); ok {
						sum[arch] = digest
					}
				}
				if g["type"] != w.Type || g["location"] != w.Location || g["reference"] != w.Reference ||
					g["version"] != w.Version || g["enabled"] == "false" ||
					!maps.Equal(sum, w.SHA256) && len(sum)+len(w.SHA256) > 0 {
					t.Errorf("[%s] is %v, upstream has %+v", name, g, w)
				}
			}
			for name, g := range got {
				image := wholeOf(name)
				if _, ok := want[name]; ok || image == "" || g["enabled"] == "false" {
					continue
				}
				if _, has := want[image]; has || !kept[image] {
					t.Errorf("[%s] is not upstream's", name)
				}
			}
		})
		newer = release
	}
}

// kept are images with parts that Kolla's branches of later releases do not have, and that
// the built-in templates have still: their parts are not upstream's.
var kept = map[string]bool{"rally": true, "tempest": true, "sahara-base": true}

// wholeOf returns the image of whose sources a section is a part, "" for an image's own
// section. A part must not outlive its release, as an image may.
func wholeOf(name string) string {
	for _, kind := range []string{"-plugin-", "-additions-"} {
		if image, _, ok := strings.Cut(name, kind); ok {
			return image
		}
	}
	return ""
}

func defaultSourcesOf(name string) map[string]map[string]string {
	r, _ := LookupRelease(name)
	return sections(r.Sources())
}

// writeRelease writes the differences of a release from the next newer one, whose facts
// are in chain, and applies them to chain. Missing keys are written with empty values.
func writeRelease(t *testing.T, release, newer string, chain map[string]map[string]string,
	to map[string]upstreamSource) {
	t.Helper()
	fields := func(s upstreamSource) map[string]string {
		m := map[string]string{"type": s.Type, "location": s.Location, "reference": s.Reference, "version": s.Version}
		var sums []string
		for _, arch := range slices.Sorted(maps.Keys(s.SHA256)) {
			sums = append(sums, arch+":"+s.SHA256[arch])
		}
		m["sha256"] = strings.Join(sums, ",")
		return m
	}
	path := filepath.Join("data", "releases", release+".conf")
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	facts, _, found := strings.Cut(string(have), sourcesLine)
	if !found {
		t.Fatalf("%s has no line %q", path, sourcesLine)
	}
	var b strings.Builder
	b.WriteString(facts + sourcesLine)
	names := slices.Sorted(maps.Keys(to))
	for name, have := range chain {
		if _, ok := to[name]; !ok && wholeOf(name) != "" && have["enabled"] != "false" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		want, ok := to[name]
		if !ok {
			fmt.Fprintf(&b, "\n[%s]\ntype =\n", name)
			delete(chain, name)
			continue
		}
		have := chain[strings.ToLower(name)]
		var lines []string
		current := fields(want)
		for _, key := range []string{"type", "location", "reference", "version", "sha256", "enabled"} {
			if current[key] != have[key] {
				lines = append(lines, strings.TrimRight(key+" = "+current[key], " "))
			}
		}
		if len(lines) > 0 {
			fmt.Fprintf(&b, "\n[%s]\n%s\n", name, strings.Join(lines, "\n"))
		}
		chain[strings.ToLower(name)] = current
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// readUpstreamFacts prints facts of Kolla's Python files as JSON.
const readUpstreamFacts = `
import ast, json, sys
out = {}
for n in ast.parse(sys.stdin.read()).body:
    if isinstance(n, ast.Assign) and getattr(n.targets[0], 'id', '') in ('USERS', 'DEFAULT_BASE_TAGS', 'DISTRO_PRETTY_NAME', 'DISTRO_RELEASE', 'OPENSTACK_RELEASE_CODENAME', 'UNBUILDABLE_IMAGES'):
        value = ast.literal_eval(n.value)
        if n.targets[0].id == 'UNBUILDABLE_IMAGES':
            value = {k: sorted(v) for k, v in value.items() if v}
        out[n.targets[0].id] = value
print(json.dumps(out))
`

// upstreamFacts are the facts in Kolla's branch of a release.
type upstreamFacts struct {
	Users map[string]struct {
		UID, GID int
		Group    string
	} `json:"USERS"`
	BaseTags map[string]struct {
		Name, Tag string
	} `json:"DEFAULT_BASE_TAGS"`
	PrettyNames map[string]string   `json:"DISTRO_PRETTY_NAME"`
	Releases    map[string]string   `json:"DISTRO_RELEASE"` // until Victoria
	Codename    string              `json:"OPENSTACK_RELEASE_CODENAME"`
	Unbuildable map[string][]string `json:"UNBUILDABLE_IMAGES"`
}

func readFacts(t *testing.T, repo, ref string) upstreamFacts {
	t.Helper()
	var all upstreamFacts
	for _, file := range []string{"kolla/common/config.py", "kolla/common/users.py", "kolla/image/unbuildable.py",
		"kolla/image/build.py"} {
		text, err := exec.Command("git", "-C", repo, "show", ref+":"+file).Output()
		if err != nil {
			continue // older releases have fewer files
		}
		cmd := exec.Command("python3", "-c", readUpstreamFacts)
		cmd.Stdin = bytes.NewReader(text)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if err := json.Unmarshal(out, &all); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestFactsAsUpstream compares each release's users, base tags, base image check and
// unbuildable images with those of Kolla's own branch.
func TestFactsAsUpstream(t *testing.T) {
	repo := os.Getenv("KOLLA_GIT")
	if repo == "" {
		t.Skip("KOLLA_GIT names no clone of Kolla's repository")
	}
	for _, name := range Releases() {
		t.Run(name, func(t *testing.T) {
			ref := upstreamRefs[name]
			if exec.Command("git", "-C", repo, "cat-file", "-e", ref).Run() != nil {
				t.Skipf("%s has no %s", repo, ref)
			}
			up := readFacts(t, repo, ref)
			r, _ := LookupRelease(name)
			if up.Codename != "" && up.Codename != r.Codename {
				t.Errorf("codename %q, upstream %q", r.Codename, up.Codename)
			}
			compareUsers(t, sections(r.Users()), up)
			compareBases(t, r, up)
			compareUnbuildable(t, name, up)
		})
	}
}

func compareUsers(t *testing.T, users map[string]map[string]string, up upstreamFacts) {
	for user, want := range up.Users {
		got := users[user]
		if got["uid"] != fmt.Sprint(want.UID) || got["gid"] != fmt.Sprint(want.GID) || got["group"] != want.Group {
			t.Errorf("[%s] is %v, upstream %+v", user, got, want)
		}
	}
	for user := range users {
		if _, ok := up.Users[user]; !ok {
			t.Errorf("[%s] is not upstream's", user)
		}
	}
}

func compareBases(t *testing.T, r Release, up upstreamFacts) {
	for distro, want := range up.BaseTags {
		d, ok := LookupDistro(distro)
		if !ok {
			continue // rhel
		}
		if got := r.BaseTag(distro); got != want.Tag || d.Image != want.Name {
			t.Errorf("%s: %s:%s, upstream %s:%s", distro, d.Image, got, want.Name, want.Tag)
		}
		pretty := up.PrettyNames[distro]
		if pretty == "" {
			pretty = up.Releases[distro]
		}
		if got := r.DefaultPrettyName(distro); got != pretty {
			t.Errorf("%s: check for %q, upstream %q", distro, got, pretty)
		}
	}
}

// compareUnbuildable compares the images that cannot be built for each distribution,
// with the branch's default tag, and architecture.
func compareUnbuildable(t *testing.T, name string, up upstreamFacts) {
	r, _ := LookupRelease(name)
	for distro, base := range up.BaseTags {
		if _, ok := LookupDistro(distro); !ok {
			continue
		}
		for _, arch := range []string{"x86_64", "aarch64"} {
			got := Unbuildable(Target{name, distro, base.Tag, arch, "source", false})
			want := map[string]bool{}
			for condition, images := range up.Unbuildable {
				holds := true
				for part := range strings.SplitSeq(condition, "+") {
					holds = holds && (part == distro || part == arch || part == "source" || part == base.Tag)
				}
				for _, image := range images {
					if holds {
						want[image] = true
						if got[image] == "" {
							t.Errorf("%s %s on %s: %s is not marked", distro, base.Tag, arch, image)
						}
					}
				}
			}
			for image := range got {
				if !want[image] {
					t.Errorf("%s %s on %s: %s is marked, and not upstream's: %s", distro, r.BaseTag(distro), arch, image, got[image])
				}
			}
		}
	}
}
