package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/rogpeppe/go-internal/txtar"
)

// kollaBranches are the branches of Kolla that operators build, by OpenStack release.
var kollaBranches = map[string]string{
	"2024.1": "unmaintained/2024.1", "2024.2": "2024.2-eol", "2025.1": "stable/2025.1", "2025.2": "stable/2025.2",
	"2026.1": "stable/2026.1",
}

// legacyRepos are the releases whose repos.yaml has another format, which the file of
// the command lines does not match.
var legacyRepos = map[string]bool{"2024.1": true, "2024.2": true, "2025.1": true}

// TestKollaBranches runs the command lines of TestKollaSideBySide through each branch's
// own Python tool, with that branch's defaults, and through this program with the
// branch's tree. Lines that a branch's tool does not understand are skipped, and so are
// lines with a base tag, because this program checks for its release and Kolla for that
// of the branch.
func TestKollaBranches(t *testing.T) {
	repo := os.Getenv("KOLLA_GIT")
	if repo == "" {
		t.Skip("KOLLA_GIT names no clone of Kolla's repository")
	}
	env := kollaEnv(t)
	self := filepath.Join(t.TempDir(), "kolla-build")
	linkSelf(t, self)
	archive, err := txtar.ParseFile(filepath.Join(testenv.RepoRoot(t), "testdata", "kolla", "command_lines.txt"))
	if err != nil {
		t.Fatal(err)
	}
	inputs := writeInputs(t, archive)
	data := t.TempDir()
	for release, ref := range kollaBranches {
		t.Run(release, func(t *testing.T) {
			checkout := t.TempDir()
			export := exec.Command("sh", "-c", `git -C "$1" archive "$2" | tar -x -C "$3"`, "sh", repo, ref, checkout)
			if out, err := export.CombinedOutput(); err != nil || kollaTree(checkout) == "" {
				t.Skipf("%s has no %s: %v %s", repo, ref, err, out)
			}
			profiles := kollaProfiles(t, checkout, env)
			compared := 0
			t.Run("lines", func(t *testing.T) { // ends when all of its parallel tests have ended
				for line := range strings.SplitSeq(string(archive.Comment), "\n") {
					name, args, _ := strings.Cut(strings.TrimSpace(line), " ")
					if name != "tree" || strings.Contains(args, "--openstack-release") || strings.Contains(args, "--base-tag") ||
						strings.Contains(args, "repos-rpm.yaml") && legacyRepos[release] {
						continue
					}
					compared++
					scratch := filepath.Join(data, release+"-"+strconv.Itoa(compared))
					t.Run(strings.NewReplacer("/", "_", " ", "_").Replace(line), func(t *testing.T) {
						t.Parallel()
						words := append(strings.Fields(strings.ReplaceAll(args, "@", inputs)), "--tag", "t")
						p := &pair{t: t, self: self, kolla: checkout, env: env, release: release, profiles: profiles,
							args: words, data: data, scratch: scratch,
							mayRefuse: true, noPatches: release == "2024.1" || release == "2024.2"}
						p.tree()
						p.progress(release, line)
					})
				}
			})
			if compared < 30 {
				t.Errorf("only %d command lines are compared", compared)
			}
		})
	}
}
