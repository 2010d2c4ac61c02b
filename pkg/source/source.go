package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/memo"
	"github.com/kolla-build/kolla-build/internal/redact"
	"github.com/kolla-build/kolla-build/internal/retry"
)

// Types of sources, as in the key "type" of a section.
const (
	TypeURL   = "url"
	TypeGit   = "git"
	TypeLocal = "local"
)

// Spec is one source section of the configuration: [<image>], [<image>-plugin-<name>]
// or [<image>-additions-<name>], with variables replaced.
type Spec struct {
	Name      string            // of the section
	Type      string            // TypeURL, TypeGit or TypeLocal; "" means no source
	Location  string            // a URL, the URL of a git repository, or a path
	Reference string            // git: a branch, tag or commit
	Version   string            // for messages only; it is part of Location
	Enabled   bool              // a disabled source is ignored
	SHA256    map[string]string // digests in hex, by Debian architecture
	Mirrors   []string          // url: other locations of the same content
}

// active reports whether the source has to be fetched.
func (s *Spec) active() bool { return s != nil && s.Enabled && s.Type != "" }

// check finds mistakes for which a source can never be fetched.
func (s *Spec) check() error {
	switch {
	case s.Location == "":
		return &Error{Section: s.Name, Problem: "a type without a location",
			hint: fmt.Sprintf("set location = … in [%s], or omit its type", s.Name)}
	case s.Type != TypeURL && s.Type != TypeGit && s.Type != TypeLocal:
		return &Error{Section: s.Name, Problem: fmt.Sprintf("type %q is not one of url, git and local", s.Type)}
	}
	return nil
}

// defaultJobs is how many transfers run at the same time if Options.Jobs is 0.
const defaultJobs = 8

// Options configure a Fetcher.
type Options struct {
	// CacheDir is the directory of downloads and archives. Several processes may
	// use it at the same time. It must not be "".
	CacheDir string

	// Scratch returns a directory for what has to be written, so that CacheDir is only read. It
	// is not called before something is written. nil means that CacheDir is written.
	Scratch func() (string, error)

	// Arch is the Debian name of the architecture (amd64, arm64), the key of
	// Spec.SHA256. "" means amd64.
	Arch string

	// LocalsBase is the directory of relative local locations that do not exist in
	// the working directory.
	LocalsBase string

	// Mirrors has, for a prefix of URLs, prefixes to try after it. Spec.Mirrors come
	// before these.
	Mirrors map[string][]string

	// Offline uses the cache only, without the network.
	Offline bool

	// Provided returns the archive of a source that need not be fetched; ok is false
	// if there is none. Its content must have been verified. May be nil.
	Provided func(Spec) (p Provided, ok bool, err error)

	// MaxAge is how long the content of a URL or git reference is used without a new
	// request to the server. 0 means a request in each run.
	MaxAge time.Duration

	// Retries is how often a transfer is repeated after transient faults, MaxElapsed
	// the time limit for all attempts, Timeout the longest time without a byte.
	// [retry.Retries] reads the first; 0 means 15 minutes and [retry.DefaultTimeout]
	// for the others.
	Retries    int
	MaxElapsed time.Duration
	Timeout    time.Duration

	idleFloor time.Duration // in tests, instead of gitIdleFloor

	// Jobs is the number of transfers at the same time; 0 means 8.
	Jobs int

	// UserAgent is sent with HTTP requests. "" means "kolla-build".
	UserAgent string

	// Log receives a line for each fetch and retry, and Warn one for what is missing in an archive or is not
	// verified. They may be nil.
	Log, Warn func(line string)
}

// Fetcher fetches sources. It is safe for concurrent use, and fetches each source
// once.
type Fetcher struct {
	opts      Options
	cache     *cache
	downloads *downloader
	jobs      chan struct{}

	fetched memo.Map[string, fetched]
}

// fetched is a source in the cache.
type fetched struct {
	spec     Spec
	blob     blob
	resolved Resolved
}

// Provided is an archive that need not be fetched, with its metadata.
type Provided struct {
	Path     string
	Commit   string
	Modified time.Time
}

// New returns a Fetcher. It creates nothing and does not use the network.
func New(opts Options) (*Fetcher, error) {
	if opts.CacheDir == "" {
		return nil, errors.New("opening the cache of sources: no directory")
	}
	if opts.Arch == "" {
		opts.Arch = "amd64"
	}
	opts.Retries = retry.Retries(opts.Retries)
	if opts.MaxElapsed <= 0 {
		opts.MaxElapsed = 15 * time.Minute
	}
	if opts.Timeout <= 0 {
		opts.Timeout = retry.DefaultTimeout
	}
	if opts.idleFloor <= 0 {
		opts.idleFloor = gitIdleFloor
	}
	if opts.Jobs <= 0 {
		opts.Jobs = defaultJobs
	}
	if opts.UserAgent == "" {
		opts.UserAgent = "kolla-build"
	}
	if opts.Warn == nil {
		opts.Warn = func(string) {}
	}
	if opts.Log == nil {
		opts.Log = func(string) {}
	}
	c, err := openCache(opts.CacheDir, opts.Scratch)
	if err != nil {
		return nil, fmt.Errorf("opening the cache of sources: %w", err)
	}
	f := &Fetcher{opts: opts, cache: c, jobs: make(chan struct{}, opts.Jobs)}
	f.downloads = newDownloader(f.opts)
	return f, nil
}

// Resolved is the current content of a source.
type Resolved struct {
	Type     string
	Location string // without credentials
	// ID identifies the content: the digest ("sha256:…") of the archive of a URL or
	// local source, "git:COMMIT" for git. Equal IDs of a location mean equal bytes.
	ID     string
	Commit string // git: the full ID
	ETag   string // url: the validator of the server, if it has one
	// Mutable is false if the Spec pins the content: with a sha256 for the
	// architecture, or a full commit ID.
	Mutable  bool
	Modified time.Time // of the content, from the server, commit or files; may be zero
}

// Resolve returns the current content of a source. For git, that is one request; for
// a URL, the server is asked whether the content changed and it is then downloaded
// into the cache; local files are read. A Spec without a type has a zero Resolved.
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
	Source    *Spec  // may be nil
	Plugins   []Spec // files of later ones replace those of earlier ones
	Additions []Spec
	// Wants reports whether an archive is needed, by its name. nil means all.
	Wants func(archive string) bool
	// Context is the content of the directories "plugins" and "additions" in the
	// build context of the image. It becomes part of the archives; fetched files
	// replace it.
	Context []ContextEntry
}

// ContextEntry is a file, directory or symbolic link in a build context.
type ContextEntry struct {
	Path string // "plugins/…" or "additions/…"
	Mode fs.FileMode
	Open func() (io.ReadCloser, error) // for a link, its target; not called for directories
}

// File is an archive of an image's build context.
type File struct {
	Name     string // in the build context: "keystone-base-archive"
	Path     string // in the cache, read-only
	Digest   digest.Digest
	Size     int64
	Modified time.Time // the newest of its sources; may be zero
	Sources  []Resolved
}

// Names returns the names of the archives that Archives makes for the request: the
// image's source as <section>-archive, if it has one, and always plugins-archive and
// additions-archive.
func (r *Request) Names() []string {
	var names []string
	if r.Source.active() {
		names = append(names, r.Source.Name+archiveSuffix)
	}
	names = append(names, pluginsDir+archiveSuffix, additionsDir+archiveSuffix)
	return slices.DeleteFunc(names, func(name string) bool { return r.Wants != nil && !r.Wants(name) })
}

// Check finds mistakes in the configuration of the sources, without fetching them: also local
// sources that do not exist. localsBase is that of Options.
func (r *Request) Check(localsBase string) []error {
	var mistakes []error
	for _, name := range r.Names() {
		var specs []Spec
		switch name {
		case pluginsDir + archiveSuffix:
			specs = r.Plugins
		case additionsDir + archiveSuffix:
			specs = r.Additions
		default:
			specs = []Spec{*r.Source}
		}
		for _, s := range specs {
			if !s.active() {
				continue
			}
			err := s.check()
			if err == nil && s.Type == TypeLocal {
				_, _, err = findLocal(s, localsBase)
			}
			if err != nil {
				mistakes = append(mistakes, err)
			}
		}
	}
	return mistakes
}

// The directories in the archives of plugins and additions, and the end of the names of
// all archives.
const (
	pluginsDir    = "plugins"
	additionsDir  = "additions"
	archiveSuffix = "-archive"
)

// Archives fetches the archives that an image needs, see Names. Those of plugins and
// additions have an empty directory if there are none.
func (f *Fetcher) Archives(ctx context.Context, req Request) ([]File, error) {
	var out []File
	for _, name := range req.Names() {
		file, err := f.archive(ctx, name, req)
		if err != nil {
			return nil, err
		}
		out = append(out, file)
	}
	return out, nil
}

// archive makes one of the archives of an image.
func (f *Fetcher) archive(ctx context.Context, name string, req Request) (File, error) {
	switch name {
	case pluginsDir + archiveSuffix:
		return f.mergedArchive(ctx, pluginsDir, req.Plugins, req.Context)
	case additionsDir + archiveSuffix:
		return f.mergedArchive(ctx, additionsDir, req.Additions, req.Context)
	}
	b, res, err := f.get(ctx, *req.Source)
	if err != nil {
		return File{}, err
	}
	return f.file(name, b, res), nil
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

// get fetches a source into the cache, once per Fetcher.
func (f *Fetcher) get(ctx context.Context, s Spec) (blob, Resolved, error) {
	key := strings.Join([]string{s.Type, s.Location, s.Reference, s.SHA256[f.opts.Arch]}, "\x00")
	if s.Type == TypeGit {
		key += "\x00" + s.Name // the top directory depends on the name
	}
	got, err := f.fetched.Get(ctx, key, func() (fetched, error) {
		b, res, err := f.fetch(ctx, s)
		return fetched{s, b, res}, err
	})
	return got.blob, got.resolved, err
}

func (f *Fetcher) fetch(ctx context.Context, spec Spec) (blob, Resolved, error) {
	select {
	case f.jobs <- struct{}{}:
		defer func() { <-f.jobs }()
	case <-ctx.Done():
		return blob{}, Resolved{}, context.Cause(ctx)
	}
	if err := spec.check(); err != nil {
		return blob{}, Resolved{}, err
	}
	if f.opts.Provided != nil {
		p, ok, err := f.opts.Provided(spec)
		if err != nil {
			return blob{}, Resolved{}, &Error{Section: spec.Name, Location: redact.URL(spec.Location), Err: err}
		}
		if ok {
			return f.provided(ctx, spec, p)
		}
	}
	switch spec.Type {
	case TypeURL:
		return f.fetchURL(ctx, spec)
	case TypeGit:
		return f.fetchGit(ctx, spec)
	default: // local, see check
		return f.fetchLocal(ctx, spec)
	}
}

// provided copies an archive that need not be fetched into the cache.
func (f *Fetcher) provided(ctx context.Context, s Spec, p Provided) (blob, Resolved, error) {
	b, err := f.cache.addFile(ctx, p.Path)
	if err != nil {
		return blob{}, Resolved{}, &Error{Section: s.Name, Location: redact.URL(s.Location), Err: err}
	}
	res := Resolved{
		Type:     s.Type,
		Location: redact.URL(s.Location),
		ID:       b.Digest.String(),
		Commit:   p.Commit,
		Modified: p.Modified,
	}
	if p.Commit != "" {
		res.ID = "git:" + p.Commit
	}
	return b, res, nil
}

// Fetched is a source that a Fetcher got.
type Fetched struct {
	Spec     Spec
	Resolved Resolved
	Digest   digest.Digest // of the archive
	Size     int64         // of the archive, in bytes
}

// Fetched returns the sources that were fetched, sorted by section.
func (f *Fetcher) Fetched() []Fetched {
	var out []Fetched
	for _, got := range f.fetched.All() {
		out = append(out, Fetched{Spec: got.spec, Resolved: got.resolved, Digest: got.blob.Digest, Size: got.blob.Size})
	}
	slices.SortFunc(out, func(a, b Fetched) int { return strings.Compare(a.Spec.Name, b.Spec.Name) })
	return out
}

// mergedArchive makes the archive of plugins or additions, which contains all of them
// in one directory.
func (f *Fetcher) mergedArchive(ctx context.Context, dir string, specs []Spec, entries []ContextEntry) (File, error) {
	t := newTree(f.cache)
	defer t.close()
	t.addEmptyDir(dir)
	for _, c := range entries {
		if c.Path == dir || strings.HasPrefix(c.Path, dir+"/") {
			if err := t.addContextEntry(c); err != nil {
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
		if err := t.addArchive(ctx, f.cache.path(b.Digest), dir); err != nil {
			return File{}, &Error{Section: s.Name, Location: redact.URL(s.Location), Problem: "unpacking it", Err: err}
		}
		res = append(res, r)
	}
	b, err := t.write(ctx)
	if err != nil {
		return File{}, err
	}
	return f.file(dir+archiveSuffix, b, res...), nil
}
