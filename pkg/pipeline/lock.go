package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/httpget"
	"github.com/kolla-build/kolla-build/internal/redact"
	"github.com/kolla-build/kolla-build/internal/retry"
	"github.com/kolla-build/kolla-build/internal/stepproxy"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/inputs"
	"github.com/kolla-build/kolla-build/pkg/lock"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// LockOptions are the settings of Lock.
type LockOptions struct {
	File   string // "" for lock.FileName
	Update bool   // replace an existing lock
}

// Lock builds the selected images while it records what their steps fetch, and writes
// a lock of all inputs.
func Lock(ctx context.Context, cfg *config.Config, con *console.Console, opts LockOptions) error {
	rec := &recording{file: opts.File}
	if rec.file == "" {
		rec.file = lock.FileName
	}
	switch _, err := os.Stat(rec.file); {
	case err == nil && !opts.Update:
		return usererr.Errorf("--update replaces it and shows what has changed", "%s exists", rec.file)
	case err == nil:
		if rec.older, err = lock.Read(rec.file); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("writing the lock: %w", err)
	}
	if err := checkWritable(filepath.Dir(rec.file)); err != nil {
		return fmt.Errorf("writing the lock %s: %w", rec.file, err)
	}
	c := *cfg
	c.Cache, c.Refresh, c.Push, c.Engine, c.Offline = false, false, false, "none", false
	return run(ctx, &c, con, runOptions{recording: rec})
}

// recording is a run whose inputs are recorded.
type recording struct {
	file  string
	older *lock.Lock // that the new one replaces, nil for none

	recorder *stepproxy.Recorder
	stateDir string // of the builder: an empty one, so that every step runs and fetches
}

// recordDir returns the directory of the contents that a lock recorded.
func recordDir(cfg *config.Config) string { return filepath.Join(cfg.DataDir, "lock", "files") }

// network returns the network of the steps of a recorded run.
func (r *recording) network(ctx context.Context, s *session) (*stepNetwork, error) {
	client := httpget.NewHTTPClient(seconds(max(1, s.cfg.Timeout)), 2*max(1, s.cfg.Threads))
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	var err error
	if r.recorder, err = stepproxy.NewRecorder(ctx, recordDir(s.cfg), client); err != nil {
		return nil, err
	}
	if r.stateDir, err = os.MkdirTemp(filepath.Join(s.cfg.DataDir, "lock"), "buildkit-"); err != nil {
		return nil, fmt.Errorf("recording what steps fetch: %w", err)
	}
	// Each image has caches of its own, so that it fetches all that it needs.
	return openStepNetwork(s.cfg, r.recorder, func(id image.ID) string { return "lock-" + id.String() })
}

// finish writes the lock of a run that has succeeded.
func (r *recording) finish(s *session, p *planned, b *built) error {
	l, err := r.lock(s, p, b)
	if err != nil {
		return fmt.Errorf("writing the lock: %w", err)
	}
	text := l.Marshal()
	if s.secrets.Occurs(text) {
		return usererr.Errorf("pass it in a header instead, such as curl -H @FILE or a .netrc file: headers are not recorded",
			"writing the lock: a step has a secret in a URL that it fetches")
	}
	if err := atomicfile.WriteFile(r.file, text, atomicfile.Options{Durable: true, Mode: 0o644}); err != nil {
		return fmt.Errorf("writing the lock: %w", err)
	}
	if r.older != nil {
		for _, line := range lock.Summary(r.older, l) {
			fmt.Fprintln(s.console.Stdout, line)
		}
	}
	var size int64
	for _, f := range l.Files {
		size += f.Size
	}
	s.console.Notice("%s: %s, %s, %s, %s of %s", r.file, units.Count(len(l.Images), "image"), units.Count(len(l.Bases), "base image"),
		units.Count(len(l.Sources), "source"), units.Count(len(l.Files), "file"), units.Bytes(size))
	for _, m := range l.Missed {
		s.console.Notice("warning: not captured, so it fails offline: %s requested %s: %s", clientName(m.Image), m.Request, m.Reason)
	}
	return nil
}

func (r *recording) lock(s *session, p *planned, b *built) (*lock.Lock, error) {
	first := p.rendered.First().Config
	l := &lock.Lock{Version: lock.Version, Compatibility: buildkit.DefaultCompatibility,
		Set: lock.Set{Base: first.Base, BaseTag: first.BaseTag, InstallType: first.InstallType, Release: first.OpenstackRelease}}
	for _, res := range b.results {
		l.Images = append(l.Images, lock.Image{Name: res.Image.String(), Key: p.defined.Image(res.Image).Key, Digest: res.Digest})
	}
	for _, base := range p.defined.BaseImages() {
		size, err := blobBytes(s.store, base.Digest)
		if err != nil {
			return nil, fmt.Errorf("base image %s: %w", base.Reference, err)
		}
		l.Bases = append(l.Bases, lock.Base{Name: base.Reference, Platform: base.Platform, Digest: base.Digest, Size: size})
	}
	for _, f := range p.defined.Fetched() {
		l.Sources = append(l.Sources, lock.Source{Section: f.Spec.Name, Type: f.Spec.Type, Location: redact.URL(f.Spec.Location),
			Reference: f.Spec.Reference, Commit: f.Resolved.Commit, Digest: f.Digest, Size: f.Size, Modified: f.Resolved.Modified.Truncate(time.Second)})
	}
	records, missed := r.recorder.Records()
	for _, rec := range records {
		images := slices.DeleteFunc(slices.Clone(rec.Clients), func(c string) bool { return c == "" })
		if len(images) < len(rec.Clients) {
			images = nil // the builder fetched it, for whatever image
		}
		switch {
		case rec.Status == http.StatusOK:
			l.Files = append(l.Files, lock.File{URL: rec.URL, Digest: rec.Digest, Size: rec.Size, Type: lockedType(rec.Type), Encoding: rec.Encoding, Modified: rec.Modified, Images: images})
		case rec.Location != "":
			l.Redirect = append(l.Redirect, lock.Link{URL: rec.URL, To: rec.Location, Status: rec.Status, Images: images})
		default:
			l.Absent = append(l.Absent, lock.Absent{URL: rec.URL, Status: rec.Status, Images: images})
		}
	}
	for _, m := range missed {
		l.Missed = append(l.Missed, lock.Missed{Request: m.Request, Image: m.Client, Reason: m.Reason})
	}
	l.Sort()
	return l, nil
}

// lockedType returns the media types on which clients depend: those of indexes. That
// of a package tells nothing.
func lockedType(mediaType string) string {
	main, _, _ := strings.Cut(mediaType, ";")
	if main == "text/html" || strings.HasPrefix(main, "application/vnd.pypi.") || main == "application/json" {
		return mediaType
	}
	return ""
}

// blobBytes returns the size of all blobs of an image.
func blobBytes(st *store.Store, d digest.Digest) (int64, error) {
	img, err := st.Image(d)
	if err != nil {
		return 0, err
	}
	m, err := img.Manifest()
	if err != nil {
		return 0, err
	}
	raw, err := img.RawManifest()
	if err != nil {
		return 0, err
	}
	size := int64(len(raw)) + m.Config.Size
	for _, layer := range m.Layers {
		size += layer.Size
	}
	return size, nil
}

// lockID identifies the content of a lock.
func lockID(l *lock.Lock) string { return digest.FromBytes(l.Marshal()).Encoded()[:16] }

// FetchOptions are the settings of Fetch.
type FetchOptions struct {
	Lock   string // "" for lock.FileName
	Output string
}

// Fetch gets the inputs of a lock into a directory.
func Fetch(ctx context.Context, cfg *config.Config, con *console.Console, opts FetchOptions) error {
	if opts.Output == "" {
		return usererr.Usage(usererr.Errorf("kolla-build fetch --output inputs", "fetch needs --output DIR"))
	}
	if opts.Lock == "" {
		opts.Lock = lock.FileName
	}
	l, err := lock.Read(opts.Lock)
	if err != nil {
		return err
	}
	client, err := workspace.RegistryClient(cfg, con)
	if err != nil {
		return err
	}
	defer client.Close()
	st, err := workspace.OpenStoreForReading(cfg)
	if err == nil {
		defer st.Close()
	}
	images := func(ctx context.Context, bases []lock.Base, dir string) error {
		return inputs.WriteBases(ctx, bases, dir, func(ctx context.Context, b lock.Base) (v1.Image, error) {
			if st != nil {
				if img, err := st.Image(b.Digest); err == nil {
					return img, nil
				}
			}
			con.Notice("pulling base image %s", b.Name)
			img, _, err := client.Fetch(ctx, pinnedName(b), b.Platform)
			return img, err
		})
	}
	started := time.Now()
	res, err := inputs.Fetch(ctx, inputs.FetchOptions{Lock: l, Dir: opts.Output, Images: images,
		Caches: []string{recordDir(cfg), filepath.Join(cfg.DataDir, "sources", "blobs")},
		HTTP:   httpget.NewHTTPClient(seconds(max(1, cfg.Timeout)), cfg.Threads), Threads: cfg.Threads, Stall: seconds(max(1, cfg.Timeout)),
		Retry: retry.Policy{Retries: cfg.Retries, MaxElapsed: seconds(cfg.RetryTime), BaseDelay: time.Second}, Notice: con.Notice})
	if err != nil {
		return err
	}
	con.Notice("%s: %s (%d were there, %d copied, %d downloaded, %s in %s) and %s", opts.Output, units.Count(res.Files, "file"),
		res.Present, res.Copied, res.Downloaded, units.Bytes(res.Bytes), units.Duration(time.Since(started)), units.Count(len(l.Bases), "base image"))
	return nil
}

// pinnedName returns the reference of a base image with its digest.
func pinnedName(b lock.Base) string {
	name, _, _ := strings.Cut(b.Name, "@")
	return name + "@" + b.Digest.String()
}
