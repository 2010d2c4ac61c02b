package source

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Types of sources, as in a section's "type" key.
const (
	TypeURL   = "url"
	TypeGit   = "git"
	TypeLocal = "local"
)

// Spec is one source section of the configuration: [<image>],
// [<image>-plugin-<name>] or [<image>-additions-<name>], with variables put in.
type Spec struct {
	Name      string            // the section's name
	Type      string            // TypeURL, TypeGit, TypeLocal; "" means that there is no source
	Location  string            // a url, a git url, or a path
	Reference string            // git: branch, tag or commit
	Version   string            // for messages only; it is in Location already
	Enabled   bool              // a source that is not enabled is left out
	SHA256    map[string]string // digests in hex, by Debian architecture
	Mirrors   []string          // url: further places of the same content
}

// active reports whether there is something to get.
func (s *Spec) active() bool { return s != nil && s.Enabled && s.Type != "" }

// Options say how a Fetcher works.
type Options struct {
	// CacheDir is where downloads and archives are kept. It may be shared by
	// runs at the same time. It must not be empty.
	CacheDir string

	// Arch is the architecture as Debian names it (amd64, arm64), by which
	// Spec.SHA256 is looked up. "" means amd64.
	Arch string

	// LocalsBase is where relative local locations are looked for when they are
	// not in the working directory.
	LocalsBase string

	// Mirrors gives, for the beginning of a url, other beginnings to try after
	// it. Spec.Mirrors come before these.
	Mirrors map[string][]string

	// Offline uses what the cache has and asks nobody.
	Offline bool

	// MaxAge is for how long an answer on what a url or a git reference names is
	// taken as it is, without asking again. 0 means that each run asks.
	MaxAge time.Duration

	// Retries is how often a transfer is tried again after a transient fault,
	// MaxElapsed how long all tries of one may take, Timeout how long one may
	// move no byte. 0 means 5, 15 minutes and 2 minutes. Retries below 0 means
	// never.
	Retries    int
	MaxElapsed time.Duration
	Timeout    time.Duration

	// Jobs bounds the transfers at once. 0 means 8.
	Jobs int

	// UserAgent is sent with HTTP requests. "" means "kolla-build".
	UserAgent string

	// Log gets lines worth telling: what is fetched, retried, skipped. May be nil.
	Log func(line string)
}

// Fetcher gets sources. Safe for concurrent use; what several images need is
// got once in its life.
type Fetcher struct {
	opts  Options
	cache *cache
	http  *httpClient
	jobs  chan struct{}

	mu   sync.Mutex
	memo map[string]*flight
}

type flight struct {
	done chan struct{}
	blob blob
	res  Resolved
	err  error
}

// New makes a Fetcher and its cache directory. It touches no network.
func New(opts Options) (*Fetcher, error) {
	if opts.CacheDir == "" {
		return nil, fmt.Errorf("opening the sources' cache: no directory is given")
	}
	if opts.Arch == "" {
		opts.Arch = "amd64"
	}
	switch {
	case opts.Retries == 0:
		opts.Retries = 5
	case opts.Retries < 0:
		opts.Retries = 0
	}
	if opts.MaxElapsed <= 0 {
		opts.MaxElapsed = 15 * time.Minute
	}
	if opts.Timeout <= 0 {
		opts.Timeout = 2 * time.Minute
	}
	if opts.Jobs <= 0 {
		opts.Jobs = 8
	}
	if opts.UserAgent == "" {
		opts.UserAgent = "kolla-build"
	}
	if opts.Log == nil {
		opts.Log = func(string) {}
	}
	c, err := openCache(opts.CacheDir)
	if err != nil {
		return nil, fmt.Errorf("opening the sources' cache: %w", err)
	}
	f := &Fetcher{opts: opts, cache: c, jobs: make(chan struct{}, opts.Jobs), memo: map[string]*flight{}}
	f.http = newHTTPClient(f.opts)
	return f, nil
}

// Resolved says what a source names at this moment.
type Resolved struct {
	Type     string
	Location string // for messages: without credentials
	// ID decides the content: "sha256:…" of a url's or local source's archive,
	// "git:COMMIT" for git. Equal IDs of one location give equal bytes.
	ID     string
	Commit string // git: the commit's full id
	ETag   string // url: the server's validator, if it gave one
	// Moving is false when the Spec itself pins the content: a sha256 for the
	// architecture, or a full commit id.
	Moving   bool
	Modified time.Time // of the content, as the server, the commit or the files say; may be zero
}

// Resolve finds out what a source names now. For git that is one look-up; for a
// url the server is asked whether it changed, and if so it is downloaded into
// the cache; local files are read. A Spec without a type gives a zero Resolved.
func (f *Fetcher) Resolve(ctx context.Context, s Spec) (Resolved, error) {
	if !s.active() {
		return Resolved{}, nil
	}
	if s.Type == TypeGit {
		return f.resolveGit(ctx, s)
	}
	_, res, err := f.get(ctx, s)
	return res, err
}

// Request names the archives that an image needs.
type Request struct {
	Image     string
	Source    *Spec  // nil: none
	Plugins   []Spec // in order: files of later ones win
	Additions []Spec
	// Wants filters by the archives' names: what it refuses is not got. nil
	// means all.
	Wants func(archive string) bool
	// Own is what the image's build context has below "plugins" and "additions"
	// itself. It goes into the archives as well, under what is fetched.
	Own []Own
}

// Own is a file, a directory or a link of an image's build context.
type Own struct {
	Path string // in the context: "plugins/…" or "additions/…"
	Mode fs.FileMode
	Open func() (io.ReadCloser, error) // a link's target for a link; not called for directories
}

// File is an archive of an image's build context.
type File struct {
	Name     string // in the build context: "keystone-base-archive"
	Path     string // in the cache: read-only, with stable bytes
	Digest   string // "sha256:…" of its bytes
	Size     int64
	Modified time.Time // the newest of what is in it; zero when nothing says
	Sources  []Resolved
}

// Archives gets what an image needs: its own source as <section>-archive when it
// has one, and plugins-archive and additions-archive always, with nothing but a
// directory in them when there are no plugins or additions.
func (f *Fetcher) Archives(ctx context.Context, r Request) ([]File, error) {
	wants := r.Wants
	if wants == nil {
		wants = func(string) bool { return true }
	}
	var out []File
	if r.Source.active() {
		if name := r.Source.Name + "-archive"; wants(name) {
			b, res, err := f.get(ctx, *r.Source)
			if err != nil {
				return nil, err
			}
			out = append(out, f.file(name, b, res))
		}
	}
	for _, group := range []struct {
		dir   string
		specs []Spec
	}{{"plugins", r.Plugins}, {"additions", r.Additions}} {
		name := group.dir + "-archive"
		if !wants(name) {
			continue
		}
		file, err := f.bundle(ctx, group.dir, group.specs, r.Own)
		if err != nil {
			return nil, err
		}
		out = append(out, file)
	}
	return out, nil
}

func (f *Fetcher) file(name string, b blob, res ...Resolved) File {
	out := File{Name: name, Path: f.cache.path(b.Digest), Digest: b.Digest, Size: b.Size, Sources: res}
	for _, r := range res {
		if r.Modified.After(out.Modified) {
			out.Modified = r.Modified
		}
	}
	return out
}

// get brings a source into the cache, once per Fetcher.
func (f *Fetcher) get(ctx context.Context, s Spec) (blob, Resolved, error) {
	key := strings.Join([]string{s.Type, s.Location, s.Reference, s.SHA256[f.opts.Arch]}, "\x00")
	if s.Type == TypeGit {
		key += "\x00" + s.Name // it names the top directory
	}
	for {
		f.mu.Lock()
		fl := f.memo[key]
		if fl == nil {
			fl = &flight{done: make(chan struct{})}
			f.memo[key] = fl
			f.mu.Unlock()
			fl.blob, fl.res, fl.err = f.fetch(ctx, s)
			if fl.err != nil {
				f.mu.Lock()
				delete(f.memo, key) // a later call tries again
				f.mu.Unlock()
			}
			close(fl.done)
			return fl.blob, fl.res, fl.err
		}
		f.mu.Unlock()
		select {
		case <-fl.done:
		case <-ctx.Done():
			return blob{}, Resolved{}, context.Cause(ctx)
		}
		if fl.err == nil || !isContext(fl.err) {
			return fl.blob, fl.res, fl.err
		}
		// The other caller was interrupted, not the transfer: take over.
	}
}

func (f *Fetcher) fetch(ctx context.Context, s Spec) (blob, Resolved, error) {
	select {
	case f.jobs <- struct{}{}:
		defer func() { <-f.jobs }()
	case <-ctx.Done():
		return blob{}, Resolved{}, context.Cause(ctx)
	}
	if s.Location == "" {
		return blob{}, Resolved{}, &Error{Section: s.Name, Problem: "it has a type and no location",
			Advice: fmt.Sprintf("give location = … in [%s], or leave its type out", s.Name)}
	}
	switch s.Type {
	case TypeURL:
		return f.fetchURL(ctx, s)
	case TypeGit:
		return f.fetchGit(ctx, s)
	case TypeLocal:
		return f.fetchLocal(ctx, s)
	}
	return blob{}, Resolved{}, &Error{Section: s.Name, Problem: fmt.Sprintf("type %q is not one of url, git, local", s.Type)}
}

// fetchLocal archives a directory, or takes a file as it is.
func (f *Fetcher) fetchLocal(ctx context.Context, s Spec) (blob, Resolved, error) {
	path := s.Location
	fail := func(problem string, err error, advice string) (blob, Resolved, error) {
		return blob{}, Resolved{}, &Error{Section: s.Name, Location: path, Problem: problem, Err: err, Advice: advice}
	}
	info, err := os.Stat(path)
	if os.IsNotExist(err) && !filepath.IsAbs(path) && f.opts.LocalsBase != "" {
		if in, err2 := os.Stat(filepath.Join(f.opts.LocalsBase, path)); err2 == nil {
			path, info, err = filepath.Join(f.opts.LocalsBase, path), in, nil
		}
	}
	if err != nil {
		if os.IsNotExist(err) {
			return fail("there is no such file or directory", nil, fmt.Sprintf("check location in [%s] and --locals-base", s.Name))
		}
		return fail("", err, "")
	}
	res := Resolved{Type: TypeLocal, Location: path, Moving: true}
	var b blob
	switch {
	case info.IsDir():
		abs, err := filepath.Abs(path)
		if err != nil {
			return fail("", err, "")
		}
		t := newTree(f.cache)
		defer t.close()
		if err := t.addDir(ctx, path, filepath.Base(abs), f.opts.Log); err != nil {
			return fail("archiving it", err, "")
		}
		if b, err = t.write(ctx); err != nil {
			return fail("archiving it", err, "")
		}
		res.Modified = t.newest
	case info.Mode().IsRegular():
		if b, err = f.cache.addFile(ctx, path); err != nil {
			return fail("reading it", err, "")
		}
		if err := f.checkSafe(ctx, s, b); err != nil {
			return blob{}, Resolved{}, err
		}
		res.Modified = info.ModTime()
	default:
		return fail("it is neither a file nor a directory", nil, "")
	}
	if want := s.SHA256[f.opts.Arch]; want != "" && info.Mode().IsRegular() && !sameDigest(want, b.Digest) {
		return blob{}, Resolved{}, &ChecksumError{Section: s.Name, Location: path, Arch: f.opts.Arch, Want: strings.ToLower(want), Got: b.hex()}
	}
	res.ID = b.Digest
	return b, res, nil
}

// bundle makes the archive of plugins or additions: each one unpacked into one
// directory, later ones over earlier ones.
func (f *Fetcher) bundle(ctx context.Context, dir string, specs []Spec, own []Own) (File, error) {
	t := newTree(f.cache)
	defer t.close()
	t.addEmptyDir(dir)
	for _, o := range own {
		if o.Path == dir || strings.HasPrefix(o.Path, dir+"/") {
			if err := t.addOwn(o); err != nil {
				return File{}, err
			}
		}
	}
	var res []Resolved
	for _, s := range specs {
		if !s.active() {
			continue
		}
		b, r, err := f.get(ctx, s)
		if err != nil {
			return File{}, err
		}
		if err := t.addTar(ctx, f.cache.path(b.Digest), dir); err != nil {
			return File{}, &Error{Section: s.Name, Location: redact(s.Location), Problem: "unpacking it", Err: err}
		}
		res = append(res, r)
	}
	b, err := t.write(ctx)
	if err != nil {
		return File{}, err
	}
	return f.file(dir+"-archive", b, res...), nil
}
