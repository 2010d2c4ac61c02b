package source

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/internal/child"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/printable"
	"github.com/kolla-build/kolla-build/internal/redact"
	"github.com/kolla-build/kolla-build/internal/units"
)

// gitFormat is part of the cache key of archives from git. It changes with their
// layout.
const gitFormat = "1"

func gitKey(s Spec, commit string) string {
	return keyOf(TypeGit, gitFormat, s.Location, topDir(s), s.Reference, commit)
}

// topDir returns the top directory in an archive from git, as in Kolla.
func topDir(s Spec) string {
	return s.Name + "-archive-" + strings.ReplaceAll(s.Reference, "/", "-")
}

// newCheckout returns a checkout into a directory.
func (f *Fetcher) newCheckout(dir string, spec Spec, ref gitRef) *checkout {
	return &checkout{
		gitCommand: gitCommand{opts: f.opts, location: remoteLocation(spec), workTree: filepath.Join(dir, "tree")},
		f:          f,
		spec:       spec,
		ref:        ref,
		gitDir:     filepath.Join(dir, "tree", ".git"),
		newGitDir:  filepath.Join(dir, "new.git"),
	}
}

// fetchGit archives a repository at a reference.
func (f *Fetcher) fetchGit(ctx context.Context, spec Spec) (blob, Resolved, error) {
	fail := func(err error) (blob, Resolved, error) { return blob{}, Resolved{}, f.gitFail(ctx, spec, err) }
	if err := checkGit(spec); err != nil {
		return fail(err)
	}
	ref, err := f.lookUp(ctx, spec)
	if err != nil {
		return fail(err)
	}
	cached := func() (blob, bool) {
		if !ref.resolved() {
			return blob{}, false
		}
		n, ok := f.cache.readNote(gitKey(spec, ref.commit))
		if ok = ok && f.cache.has(ctx, n.Blob); ok && n.Warning != "" {
			f.opts.Warn(n.Warning)
		}
		return n.Blob, ok
	}
	if b, ok := cached(); ok {
		return b, f.resolvedCommit(spec, ref.commit), nil
	}
	if f.opts.Offline {
		return fail(&Error{Section: spec.Name, Location: redact.URL(spec.Location),
			Problem: "not in the cache, and nothing may be downloaded (offline)"})
	}
	unlock, err := f.cache.lock(ctx, keyOf(TypeGit, spec.Location, spec.Reference))
	if err != nil {
		return fail(err)
	}
	defer unlock()
	if b, ok := cached(); ok { // another process fetched it
		return b, f.resolvedCommit(spec, ref.commit), nil
	}
	temp, err := f.cache.toWrite("tmp", "")
	if err != nil {
		return fail(err)
	}
	dir, err := os.MkdirTemp(temp, "git-*")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	c := f.newCheckout(dir, spec, ref)
	// Each git command has a limit, but the repository decides how many of them run.
	limit := 2 * max(gitTime, f.opts.MaxElapsed)
	limited, cancel := context.WithTimeoutCause(ctx, limit,
		&child.LimitError{Program: "git", Limit: units.Duration(limit)})
	defer cancel()
	limited, stop := limitSize(limited, dir, archiveLimits)
	err = c.fetch(limited)
	stop()
	if err != nil {
		return fail(err)
	}
	if !ref.resolved() {
		for _, key := range []string{keyOf("git-ref", spec.Location, spec.Reference), relativeKey(spec, ref)} {
			if err := f.cache.writeNote(key, note{Commit: c.commit}); err != nil {
				return fail(err)
			}
		}
	}
	modified, err := c.replaceGitDir(ctx)
	if err != nil {
		return fail(err)
	}
	t := newTree(f.cache)
	defer t.close()
	if err := t.addDir(ctx, c.workTree, topDir(spec), f.opts.Warn); err != nil {
		return fail(err)
	}
	t.setGitModes()
	b, err := t.write(ctx)
	if err != nil {
		return fail(err)
	}
	if !c.incomplete {
		archived := note{Blob: b, Commit: c.commit, Modified: modified, Warning: c.warning}
		if err := f.cache.writeNote(gitKey(spec, c.commit), archived); err != nil {
			return fail(err)
		}
	}
	f.opts.Log(fmt.Sprintf("source [%s]: fetched %s at %s (%s), %d bytes", spec.Name, redact.URL(spec.Location),
		spec.Reference, c.commit[:12], b.Size))
	res := f.resolvedCommit(spec, c.commit)
	res.Modified = modified
	return b, res, nil
}

// checkout is a repository that is fetched for an archive. The archive has the work
// tree and, as in Kolla, a ".git", because Python's pbr reads the version of a package
// from tags and commits. That ".git" is rewritten without data that depends on the time
// and method of the fetch: no remote, no log, no dates.
type checkout struct {
	gitCommand
	f          *Fetcher
	spec       Spec
	ref        gitRef
	gitDir     string // as fetched
	newGitDir  string // as archived
	commit     string // the full ID, after fetch
	incomplete bool   // a submodule could not be fetched
	warning    string // about the files of the archive
	files      int    // and directories, with those of submodules
	submodules int    // found so far
}

// fetch fetches the commits from which pbr determines the version of a package: the
// commit of a tag, or the history of another reference with its tags. If the server
// supports it, only the files of the last commit are fetched.
func (c *checkout) fetch(ctx context.Context) error {
	var err error
	if c.ref.remote, err = c.f.probe(ctx, c.spec, c.ref.remote); err != nil {
		return err
	}
	if err := os.MkdirAll(c.workTree, 0o755); err != nil {
		return err
	}
	// The user's template directory may have attributes and hooks, and the user's settings may name another format.
	format := "sha1"
	if c.ref.remote.sha256 || len(c.ref.commit) == 64 {
		format = "sha256"
	}
	if _, err := c.run(ctx, "init", "-q", "--template=", "--object-format="+format); err != nil {
		return err
	}
	if c.filters, err = c.userFilters(ctx); err != nil {
		return err
	}
	if err := c.fetchCommits(ctx); err != nil {
		return err
	}
	want := c.ref.commit + c.ref.short + c.ref.suffix
	id, err := c.run(ctx, "rev-parse", "--verify", "-q", want+"^{commit}")
	if err != nil {
		return &Error{Section: c.spec.Name, Location: redact.URL(c.location), Problem: fmt.Sprintf("no commit %s", want)}
	}
	c.commit = strings.TrimSpace(id)
	if err := c.imitateShallow(ctx); err != nil {
		return err
	}
	if err := c.checkOut(ctx, c.gitCommand, c.commit); err != nil {
		return err
	}
	if err := c.fetchSubmodules(ctx, c.gitCommand, ""); err != nil {
		return err
	}
	return c.warnOfFilters()
}

// checkOut writes the files of a commit, if there are not too many in all.
func (c *checkout) checkOut(ctx context.Context, g gitCommand, commit string) error {
	if err := c.checkTree(ctx, g, commit, archiveLimits.Members); err != nil {
		return err
	}
	return c.f.retryGit(ctx, c.spec, func() error {
		_, err := g.run(ctx, "checkout", "-q", "-f", "--detach", commit)
		return err
	})
}

// userFilters returns the names of filters, such as lfs, in the user's settings. The attributes of a
// repository select them by name.
func (g *gitCommand) userFilters(ctx context.Context) ([]string, error) {
	out, err := g.run(ctx, "config", "--null", "--name-only", "--get-regexp", `^filter\.`)
	var failed *gitError
	var exit *exec.ExitError
	if errors.As(err, &failed) && errors.As(failed.err, &exit) && exit.ExitCode() == 1 {
		return nil, nil // there are none
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for key := range strings.SplitSeq(out, "\x00") {
		name := strings.TrimPrefix(key, "filter.")
		if i := strings.LastIndexByte(name, '.'); i > 0 && !slices.Contains(names, name[:i]) {
			names = append(names, name[:i])
		}
	}
	return names, nil
}

// warnOfFilters reports that files are archived as they are stored, although attributes select a filter.
func (c *checkout) warnOfFilters() error {
	return filepath.WalkDir(c.workTree, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != ".gitattributes" {
			return err
		}
		attributes, err := inputfile.ReadRegular(path, inputfile.MaxState)
		if err != nil || !filterAttribute.Match(attributes) {
			return nil //nolint:nilerr // git does not read it either, or it selects no filter
		}
		name, err := filepath.Rel(c.workTree, path)
		if err != nil {
			return err
		}
		c.warning = fmt.Sprintf("source [%s]: %s selects a filter, such as that of git-lfs: its files are left as "+
			"git stores them", c.spec.Name, printable.Quoted(name))
		c.f.opts.Warn(c.warning)
		return fs.SkipAll
	})
}

var filterAttribute = regexp.MustCompile(`(?m)^[^#\n]*[ \t]filter=`)

func (c *checkout) fetchCommits(ctx context.Context) error {
	step := func(args ...string) error {
		return c.f.retryGit(ctx, c.spec, func() error {
			fetchArgs := []string{"fetch", "-q", "--no-write-fetch-head", "--no-recurse-submodules"}
			if c.ref.remote.filter && !c.ref.isTag() {
				fetchArgs = append(fetchArgs, "--filter=tree:0")
			}
			g := c.gitCommand
			g.noLazyFetch = true
			_, err := g.run(ctx, append(fetchArgs, args...)...)
			return err
		})
	}
	everything := []string{"--tags", "origin", "+refs/heads/*:refs/remotes/origin/*"}
	switch {
	case c.ref.isTag() && c.ref.remote.smart:
		return step("--depth=1", "--no-tags", "origin", "+"+c.ref.name+":"+c.ref.name)
	case c.ref.isTag():
		return step("--no-tags", "origin", "+"+c.ref.name+":"+c.ref.name)
	case strings.HasPrefix(c.ref.name, "refs/tags/"):
		return step("origin", "+"+c.ref.name+":"+c.ref.name)
	case c.ref.name != "":
		return step("origin", "+"+c.ref.name+":refs/remotes/origin/fetched")
	case c.ref.commit != "" && c.ref.remote.smart:
		// A server may refuse to send a commit by its ID.
		if err := step("--tags", "origin", c.ref.commit); err == nil || ctx.Err() != nil || isIdle(err) {
			return err
		}
	}
	return step(everything...)
}

// imitateShallow reduces the history of a tag to its commit if the server could not do
// that, so that the archive does not depend on the server.
func (c *checkout) imitateShallow(ctx context.Context) error {
	if !c.ref.isTag() || c.ref.remote.smart {
		return nil
	}
	out, err := c.run(ctx, "rev-list", "--parents", "-1", c.commit)
	if err != nil || len(strings.Fields(out)) < 2 {
		return err // a first commit has no history
	}
	return os.WriteFile(filepath.Join(c.gitDir, "shallow"), []byte(c.commit+"\n"), 0o644)
}

// lastSecond is the end of the year 9999, the last one that JSON can have.
const lastSecond = 253402300799

// commitTime returns the time of a commit, which its author may have made up: git prints nothing for
// one that is negative or not a number.
func commitTime(text string) time.Time {
	seconds, _ := strconv.ParseInt(strings.TrimSpace(text), 10, 64) // 0, or the nearest number that is in range
	return time.Unix(min(max(seconds, 0), lastSecond), 0).UTC()
}

// replaceGitDir writes the ".git" of the archive and returns the time of the commit.
func (c *checkout) replaceGitDir(ctx context.Context) (time.Time, error) {
	out, err := c.run(ctx, "log", "-1", "--format=%ct", c.commit)
	if err != nil {
		return time.Time{}, err
	}
	modified := commitTime(out)
	// With tags of other commits, the bytes would depend on the day.
	tags, err := c.run(ctx, "for-each-ref", "--format=%(objectname) %(refname)", "--merged="+c.commit, "refs/tags")
	if err != nil {
		return modified, err
	}
	shallow, err := inputfile.ReadRegular(filepath.Join(c.gitDir, "shallow"), inputfile.MaxState)
	if err != nil && !os.IsNotExist(err) {
		return modified, err
	}
	for _, d := range []string{"objects/pack", "refs/heads", "refs/tags"} {
		if err := os.MkdirAll(filepath.Join(c.newGitDir, d), 0o755); err != nil {
			return modified, err
		}
	}
	if err := c.pack(ctx, filepath.Join(c.newGitDir, "objects", "pack", "pack")); err != nil {
		return modified, err
	}
	config := "[core]\n\trepositoryformatversion = 0\n\tbare = false\n"
	if len(c.commit) == 64 {
		config = "[core]\n\trepositoryformatversion = 1\n\tbare = false\n[extensions]\n\tobjectformat = sha256\n"
	}
	files := map[string]string{
		"HEAD":        c.commit + "\n",
		"config":      config,
		"packed-refs": "# pack-refs with: sorted \n" + tags,
	}
	if len(shallow) > 0 {
		files["shallow"] = string(shallow)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(c.newGitDir, name), []byte(text), 0o644); err != nil {
			return modified, err
		}
	}
	// pbr lists the files of a package from the index, which has no dates here.
	if _, err := c.run(ctx, "read-tree", "--index-output="+filepath.Join(c.gitDir, "new-index"), c.commit); err != nil {
		return modified, err
	}
	if err := os.Rename(filepath.Join(c.gitDir, "new-index"), filepath.Join(c.newGitDir, "index")); err != nil {
		return modified, err
	}
	// Of submodules, only the files are needed.
	if err := removeGitDirs(c.workTree); err != nil {
		return modified, err
	}
	return modified, os.Rename(c.newGitDir, c.gitDir)
}

// removeGitDirs removes every ".git" in a work tree.
func removeGitDirs(workTree string) error {
	return filepath.WalkDir(workTree, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != ".git" {
			return err
		}
		if err := os.RemoveAll(p); err != nil {
			return err
		}
		if d.IsDir() {
			return filepath.SkipDir
		}
		return nil
	})
}

// pack writes a pack with the commits of the history, its tags, and the files of the
// commit. The same objects in the same order, compressed again by one thread, give
// the same bytes with the same version of git, whatever the server sent. The list of objects is
// in a file: it would take hundreds of megabytes of memory for a history as long as that of Linux.
func (c *checkout) pack(ctx context.Context, base string) error {
	list, err := os.Create(filepath.Join(c.gitDir, "new-objects"))
	if err != nil {
		return err
	}
	defer list.Close()
	g := c.gitCommand
	g.stdout = list
	if _, err := g.run(ctx, "rev-list", c.commit); err != nil {
		return err
	}
	buffered := bufio.NewWriter(list)
	tags := &lineWriter{end: '\n', line: func(line string) error {
		// A lightweight tag is a commit, which is in the list already.
		id, isTag := strings.CutPrefix(line, "tag ")
		if !isTag {
			return nil
		}
		_, err := buffered.WriteString(id + "\n")
		return err
	}}
	g.stdout = tags
	if _, err := g.run(ctx, "for-each-ref", "--format=%(objecttype) %(objectname)", "--merged="+c.commit, "refs/tags"); err != nil {
		return err
	}
	root, err := c.run(ctx, "rev-parse", c.commit+"^{tree}")
	if err != nil {
		return err
	}
	if _, err := buffered.WriteString(root); err != nil {
		return err
	}
	g.stdout = &lineWriter{end: 0, line: func(line string) error {
		// MODE TYPE ID<tab>PATH; a submodule has the type "commit".
		meta, path, _ := strings.Cut(line, "\t")
		f := strings.Fields(meta)
		if len(f) != 3 || f[1] == "commit" {
			return nil
		}
		_, err := buffered.WriteString(f[2] + " " + strings.ReplaceAll(path, "\n", " ") + "\n")
		return err
	}}
	if _, err := g.run(ctx, "ls-tree", "-r", "-t", "-z", "--full-tree", c.commit); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	if _, err := list.Seek(0, io.SeekStart); err != nil {
		return err
	}
	g = c.gitCommand
	g.stdin = list
	_, err = g.run(ctx, "pack-objects", "-q", "--threads=1", "--no-reuse-delta", "--no-reuse-object",
		"--delta-base-offset", base)
	return err
}
