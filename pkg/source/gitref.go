package source

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/redact"
	"github.com/kolla-build/kolla-build/internal/suggest"
)

var (
	fullCommit  = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)
	shortCommit = regexp.MustCompile(`^[0-9a-f]{4,39}$`)

	// relativeSuffix matches the part after the name in a reference, as in v1.0~2.
	relativeSuffix = regexp.MustCompile(`(\^\{(commit)?\}|[~^][0-9]*)*$`)
	peelSuffix     = regexp.MustCompile(`(\^\{(commit)?\}|\^0)+$`)

	// described matches the output of git describe for a commit after a tag.
	described = regexp.MustCompile(`-[0-9]+-g([0-9a-f]{4,40})$`)
)

// gitRef is the meaning of a reference in a remote repository.
type gitRef struct {
	commit string // the full ID; "" if it is only known after a fetch
	name   string // HEAD, refs/tags/… or refs/heads/…; "" for commits
	suffix string // such as "~2", relative to the name
	short  string // an abbreviated commit ID, if there is no name
	remote remote
}

// remote holds the capabilities of a server.
type remote struct {
	probed bool
	smart  bool // it runs git; otherwise it serves files ("dumb HTTP")
	filter bool // it can leave out files
	sha256 bool // its object IDs are SHA-256, not SHA-1
}

// isTag reports whether a single commit is sufficient: a tag is a version by itself,
// other references need the history for git describe.
func (r gitRef) isTag() bool { return strings.HasPrefix(r.name, "refs/tags/") && r.suffix == "" }

// resolved reports whether the commit is known without a fetch.
func (r gitRef) resolved() bool { return r.commit != "" && r.suffix == "" }

// candidates returns the full names that a reference may have, in git's order. Branches
// of a clone's remote ("origin/x") are treated as branches of the repository.
func candidates(name string) []string {
	var out []string
	if name == "HEAD" || strings.HasPrefix(name, "refs/") {
		out = append(out, name)
	}
	out = append(out, "refs/"+name, "refs/tags/"+name, "refs/heads/"+name)
	for _, prefix := range []string{"origin/", "remotes/origin/", "refs/remotes/origin/"} {
		if branch, ok := strings.CutPrefix(name, prefix); ok {
			out = append(out, "refs/heads/"+branch)
		}
	}
	return out
}

// checkGit returns an error if a Spec cannot be that of a git source.
func checkGit(s Spec) error {
	e := &Error{Section: s.Name, Location: redact.URL(s.Location)}
	name, _ := splitReference(s.Reference)
	switch {
	case s.Location == "":
		e.Problem, e.hint = "a type without a location", fmt.Sprintf("set location = … in [%s], or omit its type", s.Name)
	case s.Reference == "":
		e.Problem, e.hint = "a git source without a reference", fmt.Sprintf("set reference = BRANCH, TAG or COMMIT in [%s]",
			s.Name)
	case strings.HasPrefix(s.Location, "-"):
		e.Problem = "not a location of a git repository"
	case name == "", strings.HasPrefix(name, "-"), strings.ContainsAny(name, " \t\n~^:?*[\\\x7f"),
		strings.Contains(name, ".."), strings.Contains(name, "@{"):
		e.Problem = fmt.Sprintf("reference %q is not the name of a branch, tag or commit", s.Reference)
	default:
		return nil
	}
	return e
}

// splitReference splits a reference into a name and what is relative to it. A suffix
// that only asks for the commit of a tag is dropped.
func splitReference(reference string) (name, suffix string) {
	suffix = relativeSuffix.FindString(reference)
	name = strings.TrimSuffix(reference, suffix)
	return name, peelSuffix.ReplaceAllString(suffix, "")
}

// scpLocation matches the short form of an SSH location, [USER@]HOST:PATH.
var scpLocation = regexp.MustCompile(`^([^/@:]+@)?[^/:]+:`)

// remoteLocation returns the location for git, which runs in another directory: a
// relative path becomes absolute.
func remoteLocation(s Spec) string {
	if !strings.Contains(s.Location, "://") && !scpLocation.MatchString(s.Location) {
		if abs, err := filepath.Abs(s.Location); err == nil {
			return abs
		}
	}
	return s.Location
}

// resolveGit returns the current commit of a reference.
func (f *Fetcher) resolveGit(ctx context.Context, s Spec) (Resolved, error) {
	if err := checkGit(s); err != nil {
		return Resolved{}, err
	}
	r, err := f.lookUp(ctx, s)
	if err == nil && !r.resolved() {
		_, res, err := f.get(ctx, s)
		return res, err
	}
	if err != nil {
		return Resolved{}, f.gitFail(ctx, s, err)
	}
	return f.resolvedCommit(s, r.commit), nil
}

func (f *Fetcher) resolvedCommit(s Spec, commit string) Resolved {
	res := Resolved{Type: TypeGit, Location: redact.URL(s.Location), ID: "git:" + commit, Commit: commit,
		Mutable: !fullCommit.MatchString(strings.ToLower(s.Reference))}
	if n, ok := f.cache.readNote(gitKey(s, commit)); ok {
		res.Modified = n.Modified
	}
	return res
}

// lookUp asks the remote for the current commit of a reference.
func (f *Fetcher) lookUp(ctx context.Context, spec Spec) (gitRef, error) {
	name, suffix := splitReference(spec.Reference)
	if id := strings.ToLower(name); fullCommit.MatchString(id) && suffix == "" {
		return gitRef{commit: id}, nil
	}
	key := keyOf("git-ref", spec.Location, spec.Reference)
	cached, known := f.cache.readNote(key)
	known = known && cached.Commit != ""
	if known && (f.opts.Offline || cached.isRecent(f.opts.MaxAge)) {
		return gitRef{commit: cached.Commit}, nil
	}
	if f.opts.Offline {
		return gitRef{}, &Error{
			Section:  spec.Name,
			Location: redact.URL(spec.Location),
			Problem: fmt.Sprintf("the commit of %q is not in the cache, and the server may not be asked (offline)",
				spec.Reference),
		}
	}
	if id := strings.ToLower(name); fullCommit.MatchString(id) {
		return f.relativeTo(spec, gitRef{commit: id, suffix: suffix}), nil
	}
	refs, remote, err := f.listRemote(ctx, spec, name)
	if err != nil {
		return gitRef{}, err
	}
	for _, full := range candidates(name) {
		id := refs[full]
		if id == "" {
			continue
		}
		if peeled := refs[full+"^{}"]; peeled != "" {
			id = peeled // the commit of an annotated tag
		}
		ref := gitRef{commit: id, name: full, suffix: suffix, remote: remote}
		if suffix != "" {
			return f.relativeTo(spec, ref), nil
		}
		return ref, f.cache.writeNote(key, note{Commit: id})
	}
	lowerName := strings.ToLower(name)
	if m := described.FindStringSubmatch(name); m != nil {
		lowerName = m[1]
	}
	if fullCommit.MatchString(lowerName) || shortCommit.MatchString(lowerName) {
		if known {
			return gitRef{commit: cached.Commit, remote: remote}, nil // commit IDs do not change
		}
		return gitRef{short: lowerName, suffix: suffix, remote: remote}, nil
	}
	return gitRef{}, &Error{Section: spec.Name, Location: redact.URL(spec.Location),
		Problem: fmt.Sprintf("no branch or tag %q", name), hint: similarRef(name, refs)}
}

// relativeTo returns a reference with a suffix, whose commit is known if it was
// fetched before.
func (f *Fetcher) relativeTo(s Spec, r gitRef) gitRef {
	if n, ok := f.cache.readNote(relativeKey(s, r)); ok && n.Commit != "" {
		return gitRef{commit: n.Commit, remote: r.remote}
	}
	return r
}

func relativeKey(s Spec, r gitRef) string {
	return keyOf("git-relative", s.Location, r.commit, r.suffix)
}

// listRemote returns the IDs of the branches and tags of a remote, and of what else a name
// may mean, and the capabilities of the remote. Servers of code reviews have millions of
// other references.
func (f *Fetcher) listRemote(ctx context.Context, s Spec, name string) (map[string]string, remote, error) {
	patterns := []string{"refs/heads/*", "refs/tags/*"}
	for _, full := range candidates(name) {
		patterns = append(patterns, full, full+"^{}")
	}
	var refs map[string]string
	var r remote
	err := f.retryGit(ctx, s, func() (err error) {
		refs, r, err = f.lsRemote(ctx, s, patterns...)
		return err
	})
	return refs, r, err
}

// probe determines the capabilities of a remote, if they are not known yet.
func (f *Fetcher) probe(ctx context.Context, s Spec, r remote) (remote, error) {
	if r.probed {
		return r, nil
	}
	err := f.retryGit(ctx, s, func() error {
		_, probed, err := f.lsRemote(ctx, s, "HEAD", "refs/heads/*", "refs/tags/*") // all are fetched
		r = probed
		return err
	})
	return r, err
}

// maxReferences is how many branches and tags a repository may have. git has a file for each one that
// it fetches, and keeps all of them in memory.
const maxReferences = 100_000

// lsRemote runs git ls-remote, and reads the capabilities of the server from a trace of
// the protocol. Without a trace, the server only serves files. Partial fetches must not
// be used then, because git 2.39 starts itself for each missing object in an endless
// recursion.
func (f *Fetcher) lsRemote(ctx context.Context, s Spec, patterns ...string) (map[string]string, remote, error) {
	trace, err := f.cache.temp("trace")
	if err != nil {
		return nil, remote{}, err
	}
	trace.Close()
	defer os.Remove(trace.Name())
	refs := map[string]string{}
	g := &gitCommand{
		opts:     f.opts,
		location: remoteLocation(s),
		workTree: filepath.Dir(trace.Name()),
		trace:    trace.Name(),
		idle:     f.opts.Timeout, // no pack is prepared
		stdout: &lineWriter{end: '\n', line: func(line string) error {
			id, name, _ := strings.Cut(line, "\t")
			if refs[name] = id; len(refs) > maxReferences {
				return errTooMany
			}
			return nil
		}},
	}
	_, err = g.run(ctx, append([]string{"ls-remote", "origin"}, patterns...)...)
	if len(refs) > maxReferences && ctx.Err() == nil {
		return nil, remote{}, &Error{
			Section:  s.Name,
			Location: redact.URL(s.Location),
			Problem:  fmt.Sprintf("more than %d branches and tags", maxReferences),
			hint:     limitHint(s),
		}
	}
	if err != nil {
		return nil, remote{}, err
	}
	r, err := readTrace(trace.Name())
	return refs, r, err
}

// readTrace reads what a server can do from a trace of packets. The server decides how
// long the trace is, so it is read line by line.
func readTrace(path string) (remote, error) {
	r := remote{probed: true}
	packets, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return remote{}, err
	}
	defer packets.Close()
	lines := bufio.NewScanner(packets)
	lines.Buffer(nil, maxTraceLine)
	for lines.Scan() {
		r.smart = true
		// Version 2 of the protocol has a line per capability, version 0 a list after
		// the first reference.
		_, capabilities, received := bytes.Cut(lines.Bytes(), []byte("< "))
		if !received {
			continue
		}
		r.sha256 = r.sha256 || bytes.Contains(capabilities, []byte("object-format=sha256"))
		if bytes.HasPrefix(capabilities, []byte("fetch=")) || bytes.Contains(capabilities, []byte("multi_ack")) {
			words := strings.FieldsFunc(string(capabilities), func(c rune) bool { return c == ' ' || c == '=' })
			r.filter = r.filter || slices.Contains(words, "filter")
		}
	}
	return r, lines.Err()
}

// maxTraceLine is the longest line of a trace, in bytes. A packet has 64 KiB, and its
// bytes may be escaped.
const maxTraceLine = 1 << 20

// similarRef returns a hint with the branches and tags that are similar to a name
// that does not exist.
func similarRef(name string, refs map[string]string) string {
	var names []string
	for ref := range maps.Keys(refs) {
		name := strings.TrimPrefix(strings.TrimPrefix(ref, "refs/heads/"), "refs/tags/")
		if name != ref && !strings.HasSuffix(ref, "^{}") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if near := suggest.Near(name, names, 1); len(near) > 0 {
		return fmt.Sprintf("did you mean %q?", near[0])
	}
	return ""
}
