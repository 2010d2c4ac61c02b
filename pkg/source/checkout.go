package source

import (
	"archive/tar"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// checkout is a repository being fetched for an archive. The archive holds the
// work tree and, as Kolla's does, a ".git": Python's pbr reads a package's
// version from the tags and commits. That ".git" is made anew with nothing in it
// that depends on when and how it was fetched: no remote, no log, no dates.
type checkout struct {
	git
	spec Spec
	ref  gitRef
}

// fetch gets as little as the version needs: of a tag its one commit, of other
// references the commits of their history with their tags, and of the files only
// those of the commit itself, where the server can do that.
func (c *checkout) fetch(ctx context.Context) error {
	if _, err := c.run(ctx, "init", "-q", c.dir); err != nil {
		return err
	}
	step := func(args ...string) error {
		return c.f.retried(ctx, c.spec, func() error {
			_, err := c.run(ctx, append([]string{"fetch", "-q", "--no-write-fetch-head", "--no-recurse-submodules"}, args...)...)
			return err
		})
	}
	everything := []string{"--tags", "--filter=tree:0", "origin", "+refs/heads/*:refs/remotes/origin/*"}
	var err error
	switch name := c.ref.name; {
	case strings.HasPrefix(name, "refs/tags/"):
		err = step("--depth=1", "--no-tags", "origin", "+"+name+":"+name)
	case name != "":
		err = step("--filter=tree:0", "origin", "+"+name+":refs/remotes/origin/fetched")
	case c.ref.commit != "":
		// Servers may refuse to give a commit by its id: then all is fetched.
		if err = step("--tags", "--filter=tree:0", "origin", c.ref.commit); err != nil {
			err = step(everything...)
		}
	default:
		err = step(everything...)
	}
	if err != nil {
		return err
	}
	want := c.ref.commit
	if want == "" {
		want = c.spec.Reference
	}
	id, err := c.run(ctx, "rev-parse", "--verify", "-q", want+"^{commit}")
	if err != nil {
		return &Error{Section: c.spec.Name, Location: redact(c.location), Problem: fmt.Sprintf("there is no commit %s", want)}
	}
	c.ref.commit = strings.TrimSpace(id)
	return c.f.retried(ctx, c.spec, func() error {
		if _, err := c.run(ctx, "checkout", "-q", "-f", "--detach", c.ref.commit); err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Join(c.dir, ".gitmodules")); err != nil {
			return nil
		}
		_, err := c.run(ctx, "submodule", "--quiet", "update", "--init", "--recursive", "--depth=1")
		if err != nil && ctx.Err() == nil { // a server may refuse a commit that no branch names
			_, err = c.run(ctx, "submodule", "--quiet", "update", "--init", "--recursive")
		}
		return err
	})
}

// clean makes the ".git" anew and returns the commit's time.
func (c *checkout) clean(ctx context.Context) (time.Time, error) {
	out, err := c.run(ctx, "log", "-1", "--format=%ct", c.ref.commit)
	if err != nil {
		return time.Time{}, err
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64)
	if err != nil {
		return time.Time{}, err
	}
	when := time.Unix(seconds, 0).UTC()
	// Tags that point elsewhere would make the bytes depend on the day.
	tags, err := c.run(ctx, "for-each-ref", "--format=%(objectname) %(refname)", "--merged="+c.ref.commit, "refs/tags")
	if err != nil {
		return when, err
	}
	old := filepath.Join(c.dir, ".git")
	shallow, err := os.ReadFile(filepath.Join(old, "shallow"))
	if err != nil && !os.IsNotExist(err) {
		return when, err
	}
	fresh := filepath.Join(c.dir, ".git-fresh")
	for _, d := range []string{"objects/pack", "refs/heads", "refs/tags"} {
		if err := os.MkdirAll(filepath.Join(fresh, d), 0o755); err != nil {
			return when, err
		}
	}
	if err := c.pack(ctx, filepath.Join(fresh, "objects", "pack", "pack"), tags); err != nil {
		return when, err
	}
	files := map[string]string{
		"HEAD":        c.ref.commit + "\n",
		"config":      "[core]\n\trepositoryformatversion = 0\n\tbare = false\n",
		"packed-refs": "# pack-refs with: sorted \n" + tags,
	}
	if len(shallow) > 0 {
		files["shallow"] = string(shallow)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(fresh, name), []byte(text), 0o644); err != nil {
			return when, err
		}
	}
	// The index, without the files' dates: pbr lists a package's files by it.
	if _, err := c.run(ctx, "read-tree", "--index-output="+filepath.Join(old, "index-fresh"), c.ref.commit); err != nil {
		return when, err
	}
	if err := os.Rename(filepath.Join(old, "index-fresh"), filepath.Join(fresh, "index")); err != nil {
		return when, err
	}
	if err := os.RemoveAll(old); err != nil {
		return when, err
	}
	if err := os.Rename(fresh, old); err != nil {
		return when, err
	}
	// Of submodules only the files are of use.
	return when, filepath.WalkDir(c.dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if p == old {
			return filepath.SkipDir
		}
		if d.Name() == ".git" {
			if d.IsDir() {
				if err := os.RemoveAll(p); err != nil {
					return err
				}
				return filepath.SkipDir
			}
			return os.Remove(p)
		}
		return nil
	})
}

// pack writes one pack with the history's commits, its tags, and the files of the
// one commit. The same objects, told in the same order and packed anew by one
// thread, give the same bytes by the same version of git, however they came here.
func (c *checkout) pack(ctx context.Context, base, tags string) error {
	commits, err := c.run(ctx, "rev-list", c.ref.commit)
	if err != nil {
		return err
	}
	var list strings.Builder
	list.WriteString(commits)
	for _, line := range strings.Split(tags, "\n") {
		// A light tag names a commit, which is in the list already.
		if id, _, ok := strings.Cut(line, " "); ok && !strings.Contains(commits, id) {
			list.WriteString(id + "\n")
		}
	}
	root, err := c.run(ctx, "rev-parse", c.ref.commit+"^{tree}")
	if err != nil {
		return err
	}
	list.WriteString(root)
	files, err := c.run(ctx, "ls-tree", "-r", "-t", "-z", "--full-tree", c.ref.commit)
	if err != nil {
		return err
	}
	for _, line := range strings.Split(files, "\x00") {
		// MODE TYPE ID<tab>PATH; type "commit" is a submodule's.
		meta, path, _ := strings.Cut(line, "\t")
		if f := strings.Fields(meta); len(f) == 3 && f[1] != "commit" {
			list.WriteString(f[2] + " " + strings.ReplaceAll(path, "\n", " ") + "\n")
		}
	}
	p := c.git
	p.stdin = list.String()
	_, err = p.run(ctx, "pack-objects", "-q", "--threads=1", "--no-reuse-delta", "--no-reuse-object", "--delta-base-offset", base)
	return err
}

// plainModes leaves of the files' modes what git keeps: executable or not.
func (t *tree) plainModes() {
	for _, e := range t.entries {
		switch {
		case e.kind == tar.TypeDir, e.kind == tar.TypeReg && e.mode&0o111 != 0:
			e.mode = 0o755
		case e.kind == tar.TypeReg:
			e.mode = 0o644
		}
	}
}
