package offline

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

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/filelock"
	"github.com/kolla-build/kolla-build/internal/httpget"
	"github.com/kolla-build/kolla-build/internal/redact"
	"github.com/kolla-build/kolla-build/internal/stepproxy"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/build/builderdir"
	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/define"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/lock"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// Recording records the requests of a run's steps, for a lock of its inputs.
type Recording struct {
	file  string
	older *lock.Lock // the lock that is replaced, nil for none

	recorder *stepproxy.Recorder
}

// NewRecording returns a recording that writes a lock to a file, "" for
// lock.FileName. An existing lock is replaced only if update is set.
func NewRecording(file string, update bool) (*Recording, error) {
	if file == "" {
		file = lock.FileName
	}
	r := &Recording{file: file}
	switch _, err := os.Stat(file); {
	case err == nil && !update:
		return nil, usererr.Errorf("--update replaces it and shows what has changed", "%s exists", file)
	case err == nil:
		if r.older, err = lock.Read(file); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("writing the lock: %w", err)
	}
	if err := workspace.CheckWritable(filepath.Dir(file)); err != nil {
		return nil, fmt.Errorf("writing the lock %s: %w", file, err)
	}
	return r, nil
}

// FetchOptions returns the options with which fetch reads the lock, with a space before them.
func (r *Recording) FetchOptions() string {
	if r.file == lock.FileName {
		return ""
	}
	return " --lock " + r.file
}

// recordDir returns the directory of the contents that a lock recorded.
func recordDir(cfg *config.Config) string { return filepath.Join(cfg.DataDir, "lock", "files") }

// statePrefix begins the names of the state directories of builders.
const statePrefix = "buildkit-"

// newState makes the state directory of a recording's builder, and locks it until the
// recording ends. It removes those of recordings that were killed.
func newState(ctx context.Context, dir string) (state string, dirLock *filelock.Lock, err error) {
	// Without this lock, another recording could remove the directory before it is locked.
	l, err := filelock.AcquireContext(ctx, filepath.Join(dir, "states.lock"), nil)
	if err != nil {
		return "", nil, err
	}
	defer l.Close()
	removeAbandoned(dir)
	if state, err = os.MkdirTemp(dir, statePrefix); err != nil {
		return "", nil, err
	}
	if dirLock, err = filelock.TryDir(state); err != nil {
		_ = os.Remove(state)
		return "", nil, err
	}
	return state, dirLock, nil
}

// removeAbandoned removes the builders' directories of recordings that were killed. Those of
// others that run now are locked and stay, and so does what cannot be removed.
func removeAbandoned(dir string) {
	states, _ := os.ReadDir(dir)
	for _, e := range states {
		if e.IsDir() && strings.HasPrefix(e.Name(), statePrefix) {
			removeState(filepath.Join(dir, e.Name()))
		}
	}
}

func removeState(state string) {
	dirLock, err := filelock.TryDir(state)
	if err != nil {
		return
	}
	defer dirLock.Close()
	// A builder can outlive its recording, and its mounts show files outside of the directory.
	if _, err := builderdir.RemoveCache(state); err == nil {
		_ = os.RemoveAll(state)
	}
}

// OpenNetwork returns the network of the steps of the run. Their builder has a
// separate state directory, so that every step runs and fetches.
func (r *Recording) OpenNetwork(ctx context.Context, cfg *config.Config) (*Network, error) {
	client := httpget.NewHTTPClient(seconds(max(1, cfg.Timeout)), 2*max(1, cfg.Threads))
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	var err error
	if r.recorder, err = stepproxy.NewRecorder(ctx, recordDir(cfg), client); err != nil {
		return nil, err
	}
	// Images do not share caches, so that each one fetches all that it needs.
	n, err := openNetwork(cfg, r.recorder, func(id image.ID) string { return "lock-" + id.String() })
	if err != nil {
		return nil, err
	}
	if n.state, n.stateLock, err = newState(ctx, filepath.Join(cfg.DataDir, "lock")); err != nil {
		n.Close()
		return nil, fmt.Errorf("recording what steps fetch: %w", err)
	}
	return n, nil
}

// LockContent holds the content of a lock besides the files that steps fetched.
type LockContent struct {
	Set     lock.Set
	Defined *define.Defined
	Results []build.Result // all of them successful
	Store   *store.Store   // with the base images
	Secrets *buildkit.Secrets
}

// Finish writes the lock of a run that has succeeded.
func (r *Recording) Finish(run LockContent, con *console.Console) error {
	l, err := r.lock(run)
	if err != nil {
		return fmt.Errorf("writing the lock: %w", err)
	}
	text := l.Marshal()
	if run.Secrets.Occurs(text) {
		return usererr.Errorf("pass it in a header instead, such as curl -H @FILE or a .netrc file: headers are not recorded",
			"writing the lock: a step has a secret in a URL that it fetches")
	}
	if err := atomicfile.WriteFile(r.file, text, atomicfile.Options{Durable: true, Mode: 0o644}); err != nil {
		return fmt.Errorf("writing the lock: %w", err)
	}
	if r.older != nil {
		for _, line := range lock.Summary(r.older, l) {
			fmt.Fprintln(con.Stdout, line)
		}
	}
	var size int64
	for _, f := range l.Files {
		size += f.Size
	}
	con.Notice("%s: %s, %s, %s, %s of %s", r.file, units.Count(len(l.Images), "image"),
		units.Count(len(l.Bases), "base image"),
		units.Count(len(l.Sources), "source"), units.Count(len(l.Files), "file"), units.Bytes(size))
	for _, m := range l.Missed {
		con.Notice("warning: not captured, so it fails offline: %s requested %s: %s", clientName(m.Image), m.Request,
			m.Reason)
	}
	return nil
}

func (r *Recording) lock(run LockContent) (*lock.Lock, error) {
	l := &lock.Lock{Version: lock.Version, Compatibility: buildkit.DefaultCompatibility, Set: run.Set}
	for _, res := range run.Results {
		l.Images = append(l.Images, lock.Image{
			Name:   res.Image.String(),
			Key:    run.Defined.Image(res.Image).Key,
			Digest: res.Digest,
		})
	}
	for _, base := range run.Defined.BaseImages() {
		size, err := blobBytes(run.Store, base.Digest)
		if err != nil {
			return nil, fmt.Errorf("base image %s: %w", base.Reference, err)
		}
		l.Bases = append(l.Bases, lock.Base{Name: base.Reference, Platform: base.Platform, Digest: base.Digest, Size: size})
	}
	for _, f := range run.Defined.Fetched() {
		l.Sources = append(l.Sources,
			lock.Source{
				Section:   f.Spec.Name,
				Type:      f.Spec.Type,
				Location:  redact.URL(f.Spec.Location),
				Reference: f.Spec.Reference,
				Commit:    f.Resolved.Commit,
				Digest:    f.Digest,
				Size:      f.Size,
				Modified:  f.Resolved.Modified.Truncate(time.Second),
			})
	}
	records, missed := r.recorder.Records()
	for _, rec := range records {
		images := slices.DeleteFunc(slices.Clone(rec.Clients), func(c string) bool { return c == "" })
		if len(images) < len(rec.Clients) {
			images = nil // the builder fetched it, for an unknown image
		}
		switch {
		case rec.Status == http.StatusOK:
			l.Files = append(l.Files, lock.File{
				URL:      rec.URL,
				Digest:   rec.Digest,
				Size:     rec.Size,
				Type:     lockedType(rec.Type),
				Encoding: rec.Encoding,
				Modified: rec.Modified,
				Images:   images,
			})
		case rec.Location != "":
			l.Redirect = append(l.Redirect, lock.Link{URL: rec.URL, To: rec.Location, Status: rec.Status, Images: images})
		default:
			l.Absent = append(l.Absent, lock.Absent{URL: rec.URL, Status: rec.Status, Images: images})
		}
	}
	for _, m := range missed {
		l.Missed = append(l.Missed, lock.Unrepeatable{Request: m.Request, Image: m.Client, Reason: m.Reason})
	}
	l.Sort()
	return l, nil
}

// lockedType returns the media types that matter to clients: those of indexes, not
// those of packages.
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
