package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// gitFormat is part of the cache's key for archives made from git: it grows when
// what is put into them changes.
const gitFormat = "1"

var (
	fullCommit  = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)
	shortCommit = regexp.MustCompile(`^[0-9a-f]{4,39}$`)
)

// git runs the system's git on one remote. The remote's location goes in by the
// environment: arguments can be read by all users of a machine.
type git struct {
	f        *Fetcher
	location string
	dir      string // the work tree; "" where no repository is needed
	stdin    string
}

// gitPlaces are variables that a git which runs us (as a hook) may have set, and
// that would lead ours into its repository.
var gitPlaces = regexp.MustCompile(`^GIT_(DIR|WORK_TREE|INDEX_FILE|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES|COMMON_DIR|NAMESPACE|PREFIX|CONFIG_COUNT|CONFIG_PARAMETERS|CEILING_DIRECTORIES)=`)

// run runs git and returns its output. Errors hold git's own words, without
// secrets.
func (g *git) run(ctx context.Context, args ...string) (string, error) {
	bin, err := exec.LookPath("git")
	if err != nil {
		return "", fmt.Errorf("git is not installed: %w", err)
	}
	seconds := max(1, int(g.f.opts.Timeout/time.Second))
	config := [][2]string{
		{"remote.origin.url", g.location},
		{"core.autocrlf", "false"}, {"core.hooksPath", os.DevNull}, {"core.fsmonitor", "false"},
		{"gc.auto", "0"}, {"advice.detachedHead", "false"}, {"init.defaultBranch", "master"},
		{"http.lowSpeedLimit", "1"}, {"http.lowSpeedTime", strconv.Itoa(seconds)},
		{"protocol.ext.allow", "never"},
		// What the user's configuration and the number of processors would change
		// in the bytes of packs and of the index.
		{"pack.threads", "1"}, {"pack.window", "10"}, {"pack.depth", "50"}, {"pack.windowMemory", "0"},
		{"pack.compression", "-1"}, {"core.compression", "-1"}, {"core.looseCompression", "1"},
		{"pack.indexVersion", "2"}, {"pack.writeReverseIndex", "false"},
		{"index.version", "2"}, {"index.threads", "1"}, {"index.skipHash", "false"}, {"index.sparse", "false"},
		{"core.untrackedCache", "false"}, {"core.splitIndex", "false"},
	}
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Stdin = strings.NewReader(g.stdin)
	cmd.Dir = g.dir
	// The repository is the one in its directory, whatever lies above it: the
	// user's own remote "origin" would be asked instead of ours.
	if cmd.Dir == "" {
		cmd.Dir = filepath.Join(g.f.cache.dir, "tmp")
	}
	for _, kv := range os.Environ() {
		if !gitPlaces.MatchString(kv) {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, "LC_ALL=C", "GIT_CEILING_DIRECTORIES="+filepath.Dir(cmd.Dir), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_COUNT="+strconv.Itoa(len(config)))
	for i, kv := range config {
		cmd.Env = append(cmd.Env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, kv[0]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, kv[1]))
	}
	if os.Getenv("GIT_SSH_COMMAND") == "" && os.Getenv("GIT_SSH") == "" {
		cmd.Env = append(cmd.Env, "GIT_SSH_COMMAND=ssh -oBatchMode=yes")
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = 5 * time.Second // helpers that git started may hold its pipes
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", &gitError{verb: args[0], says: scrub(strings.TrimSpace(stderr.String()), g.location), err: err}
	}
	return stdout.String(), nil
}

// gitError is a git command that did not work.
type gitError struct {
	verb string
	says string
	err  error
}

func (e *gitError) Error() string {
	// git tells the matter in lines that begin with "fatal:"; the rest is noise.
	var lines []string
	for _, l := range strings.Split(e.says, "\n") {
		if l = strings.TrimSpace(l); strings.HasPrefix(l, "fatal: ") || strings.HasPrefix(l, "error: ") {
			lines = append(lines, l)
		}
	}
	if len(lines) == 0 {
		lines = []string{strings.TrimSpace(e.says + " " + e.err.Error())}
	}
	return "git " + e.verb + ": " + strings.Join(lines, "; ")
}

func (e *gitError) Unwrap() error { return e.err }

// transient reports faults of the network, by git's words for them.
func (e *gitError) transient() bool {
	for _, s := range []string{
		"Connection reset", "Connection timed out", "Operation timed out", "Connection refused", "early EOF",
		"The requested URL returned error: 5", "The requested URL returned error: 429",
		"RPC failed", "hung up unexpectedly", "unexpected disconnect", "Temporary failure in name resolution",
		"Operation too slow", "transfer closed", "Empty reply from server", "TLS connection was non-properly terminated",
	} {
		if strings.Contains(e.says, s) {
			return true
		}
	}
	return false
}

func (e *gitError) advice(s Spec) string {
	switch {
	case strings.Contains(e.says, "could not read Username"), strings.Contains(e.says, "Authentication failed"),
		strings.Contains(e.says, "returned error: 403"):
		return fmt.Sprintf("the server wants a login: put it into location of [%s] (https://USER:TOKEN@HOST/…) or set up a git credential helper", s.Name)
	case strings.Contains(e.says, "Permission denied (publickey"), strings.Contains(e.says, "Host key verification failed"):
		return "load a key that the server knows into ssh-agent, and connect once by hand to accept its host key"
	case strings.Contains(e.says, "Could not resolve host"):
		return "check the host's name, the resolver and the proxy variables"
	case strings.Contains(e.says, "does not appear to be a git repository"), strings.Contains(e.says, "not found"):
		return fmt.Sprintf("check location in [%s]", s.Name)
	}
	return ""
}

// retried runs a step again after faults of the network.
func (f *Fetcher) retried(ctx context.Context, s Spec, step func() error) error {
	start := time.Now()
	for attempt := 0; ; attempt++ {
		err := step()
		var ge *gitError
		if err == nil || !errors.As(err, &ge) || !ge.transient() || !f.http.wait(ctx, attempt, start, 0) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
		f.opts.Log(fmt.Sprintf("source [%s]: %v; trying again", s.Name, err))
	}
}

// gitRef is what a reference names at a remote.
type gitRef struct {
	commit string // full id; "" when it is abbreviated and not yet known
	name   string // refs/tags/…, refs/heads/…; "" for commits
}

func (f *Fetcher) resolveGit(ctx context.Context, s Spec) (Resolved, error) {
	if err := checkGit(s); err != nil {
		return Resolved{}, err
	}
	r, err := f.lookUp(ctx, s)
	if err == nil && r.commit == "" {
		// Only the repository itself can tell what an abbreviated id stands for.
		_, res, err := f.get(ctx, s)
		return res, err
	}
	if err != nil {
		return Resolved{}, f.gitFail(ctx, s, err)
	}
	return f.gitResolved(s, r.commit), nil
}

func (f *Fetcher) gitResolved(s Spec, commit string) Resolved {
	res := Resolved{Type: TypeGit, Location: redact(s.Location), ID: "git:" + commit, Commit: commit,
		Moving: !fullCommit.MatchString(strings.ToLower(s.Reference))}
	if n, ok := f.cache.readNote(gitKey(s, commit)); ok {
		res.Modified = n.Modified
	}
	return res
}

func gitKey(s Spec, commit string) string {
	return keyOf(TypeGit, gitFormat, s.Location, topDir(s), s.Reference, commit)
}

// topDir is the one directory in an archive made from git, as Kolla names it.
func topDir(s Spec) string {
	return s.Name + "-archive-" + strings.ReplaceAll(s.Reference, "/", "-")
}

// remoteOf is the location for git, which runs in a directory of its own: a
// relative path is made absolute.
func remoteOf(s Spec) string {
	if !strings.Contains(s.Location, "://") && !scpLike.MatchString(s.Location) {
		if abs, err := filepath.Abs(s.Location); err == nil {
			return abs
		}
	}
	return s.Location
}

func checkGit(s Spec) error {
	e := &Error{Section: s.Name, Location: redact(s.Location)}
	switch {
	case s.Location == "":
		e.Problem, e.Advice = "it has a type and no location", fmt.Sprintf("give location = … in [%s], or leave its type out", s.Name)
	case s.Reference == "":
		e.Problem, e.Advice = "it is a git source without a reference", fmt.Sprintf("give reference = BRANCH, TAG or COMMIT in [%s]", s.Name)
	case strings.HasPrefix(s.Location, "-"), strings.HasPrefix(s.Reference, "-"), strings.ContainsAny(s.Reference, " \t\n~^:?*[\\"),
		strings.Contains(s.Reference, ".."):
		e.Problem = fmt.Sprintf("reference %q is no name of a branch, tag or commit", s.Reference)
	default:
		return nil
	}
	return e
}

func (f *Fetcher) gitFail(ctx context.Context, s Spec, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var own *Error
	if errors.As(err, &own) {
		return err
	}
	e := &Error{Section: s.Name, Location: redact(s.Location), Err: err}
	var ge *gitError
	if errors.As(err, &ge) {
		e.Advice = ge.advice(s)
	}
	return e
}

// lookUp asks the remote what the reference names: a tag before a branch, as
// "git checkout" after a clone does. "origin/x" is the branch x.
func (f *Fetcher) lookUp(ctx context.Context, s Spec) (gitRef, error) {
	ref := s.Reference
	if low := strings.ToLower(ref); fullCommit.MatchString(low) {
		return gitRef{commit: low}, nil
	}
	key := keyOf("git-ref", s.Location, ref)
	old, known := f.cache.readNote(key)
	if known && (f.opts.Offline || old.fresh(f.opts.MaxAge)) {
		return gitRef{commit: old.Commit}, nil
	}
	if f.opts.Offline {
		return gitRef{}, &Error{Section: s.Name, Location: redact(s.Location), Problem: fmt.Sprintf("what %q names is not in the cache, and nobody may be asked (offline)", ref)}
	}
	refs := map[string]string{}
	var all []string
	err := f.retried(ctx, s, func() error {
		out, err := (&git{f: f, location: remoteOf(s)}).run(ctx, "ls-remote", "origin")
		for _, line := range strings.Split(out, "\n") {
			if id, name, ok := strings.Cut(line, "\t"); ok {
				refs[name] = id
				all = append(all, name)
			}
		}
		return err
	})
	if err != nil {
		return gitRef{}, err
	}
	for _, name := range []string{ref, "refs/tags/" + ref, "refs/heads/" + ref, "refs/heads/" + strings.TrimPrefix(ref, "origin/")} {
		id := refs[name]
		if id == "" || !strings.HasPrefix(name, "refs/") {
			continue
		}
		if peeled := refs[name+"^{}"]; peeled != "" {
			id = peeled // an annotated tag's commit
		}
		return gitRef{commit: id, name: name}, f.cache.writeNote(key, note{Commit: id})
	}
	if shortCommit.MatchString(strings.ToLower(ref)) {
		if known && old.Commit != "" {
			return gitRef{commit: old.Commit}, nil // an id names one commit for ever
		}
		return gitRef{}, nil
	}
	e := &Error{Section: s.Name, Location: redact(s.Location), Problem: fmt.Sprintf("there is no branch or tag %q", ref)}
	if near := nearest(ref, all); near != "" {
		e.Advice = fmt.Sprintf("did you mean %q?", near)
	}
	return gitRef{}, e
}

// fetchGit archives a repository at a reference.
func (f *Fetcher) fetchGit(ctx context.Context, s Spec) (blob, Resolved, error) {
	fail := func(err error) (blob, Resolved, error) { return blob{}, Resolved{}, f.gitFail(ctx, s, err) }
	if err := checkGit(s); err != nil {
		return fail(err)
	}
	r, err := f.lookUp(ctx, s)
	if err != nil {
		return fail(err)
	}
	cached := func() (blob, bool) {
		n, ok := f.cache.readNote(gitKey(s, r.commit))
		return n.Blob, ok && r.commit != "" && f.cache.has(n.Blob)
	}
	if b, ok := cached(); ok {
		return b, f.gitResolved(s, r.commit), nil
	}
	if f.opts.Offline {
		return fail(&Error{Section: s.Name, Location: redact(s.Location), Problem: "it is not in the cache, and nothing may be fetched (offline)"})
	}
	unlock, err := f.cache.lock(ctx, keyOf(TypeGit, s.Location, s.Reference))
	if err != nil {
		return fail(err)
	}
	defer unlock()
	if b, ok := cached(); ok { // another process was faster
		return b, f.gitResolved(s, r.commit), nil
	}
	dir, err := os.MkdirTemp(filepath.Join(f.cache.dir, "tmp"), "git-*")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	co := &checkout{git: git{f: f, location: remoteOf(s), dir: dir}, spec: s, ref: r}
	if err := co.fetch(ctx); err != nil {
		return fail(err)
	}
	if r.commit == "" {
		r.commit = co.ref.commit
		if err := f.cache.writeNote(keyOf("git-ref", s.Location, s.Reference), note{Commit: r.commit}); err != nil {
			return fail(err)
		}
	}
	modified, err := co.clean(ctx)
	if err != nil {
		return fail(err)
	}
	t := newTree(f.cache)
	defer t.close()
	if err := t.addDir(ctx, dir, topDir(s), f.opts.Log); err != nil {
		return fail(err)
	}
	t.plainModes()
	b, err := t.write(ctx)
	if err != nil {
		return fail(err)
	}
	if err := f.cache.writeNote(gitKey(s, r.commit), note{Blob: b, Commit: r.commit, Modified: modified}); err != nil {
		return fail(err)
	}
	f.opts.Log(fmt.Sprintf("source [%s]: fetched %s at %s (%s), %d bytes", s.Name, redact(s.Location), s.Reference, r.commit[:12], b.Size))
	return b, f.gitResolved(s, r.commit), nil
}

// nearest finds the branch or tag that a mistyped one is most like: equal but
// for case and separators, or the longest of which one is a part of the other.
func nearest(ref string, names []string) string {
	plain := func(s string) string {
		return strings.NewReplacer("-", "", "_", "", ".", "", "/", "").Replace(strings.ToLower(s))
	}
	var best string
	slices.Sort(names)
	for _, n := range names {
		short := strings.TrimPrefix(strings.TrimPrefix(n, "refs/heads/"), "refs/tags/")
		if short == n || strings.HasSuffix(n, "^{}") {
			continue
		}
		a, b := plain(short), plain(ref)
		if a == b {
			return short
		}
		if len(a) > 2 && len(b) > 2 && (strings.Contains(a, b) || strings.Contains(b, a)) && len(short) > len(best) {
			best = short
		}
	}
	return best
}
