package inputs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/ctxio"
	"github.com/kolla-build/kolla-build/internal/disk"
	"github.com/kolla-build/kolla-build/internal/filelock"
	"github.com/kolla-build/kolla-build/internal/httpget"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/redact"
	"github.com/kolla-build/kolla-build/internal/retry"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/lock"
)

// FetchOptions are the settings of Fetch.
type FetchOptions struct {
	Lock *lock.Lock
	Dir  string
	// Prune removes files of earlier locks, which remain otherwise.
	Prune bool

	// Caches are directories whose files are named after their sha256: recorded files,
	// and archives of sources.
	Caches []string
	// Images copies the base images of the lock into an OCI layout.
	Images func(ctx context.Context, bases []lock.Base, layout string) error

	HTTP    *http.Client
	Threads int           // downloads at the same time
	Stall   time.Duration // time without a byte after which a download is retried
	Retry   retry.Policy
	Notice  func(format string, args ...any)
}

// Result counts the files and bytes of Fetch.
type Result struct {
	Files, Present, Copied, Downloaded int
	Bytes                              int64

	// Stale are files that an earlier fetch wrote and that do not belong to the lock, which were
	// removed with FetchOptions.Prune.
	Stale      int
	StaleBytes int64
}

// Fetch fills a directory with the inputs of a lock. Existing files with the right
// content are kept, so that an interrupted fetch can be continued. Each file is
// verified before it gets its name.
func Fetch(ctx context.Context, o FetchOptions) (Result, error) {
	if err := atomicfile.MkdirAll(o.Dir, 0o755); err != nil {
		return Result{}, fmt.Errorf("fetching inputs: %w", err)
	}
	dirLock, err := filelock.Try(filepath.Join(o.Dir, dirLockFile))
	var held *filelock.HeldError
	if errors.As(err, &held) {
		return Result{}, usererr.Errorf(
			"another fetch writes to the directory, or a build uses it: repeat the command when it has ended",
			"fetching inputs into %s: %w", o.Dir, err)
	}
	if err != nil {
		return Result{}, fmt.Errorf("fetching inputs into %s: %w", o.Dir, err)
	}
	defer dirLock.Close()
	root, err := os.OpenRoot(o.Dir)
	if err != nil {
		return Result{}, fmt.Errorf("fetching inputs: %w", err)
	}
	defer root.Close()
	list, err := readFetched(root)
	if err != nil {
		return Result{}, fmt.Errorf("fetching inputs: %w", err)
	}
	defer list.close()
	f := &fetcher{FetchOptions: o, root: root, fetched: list, items: distinct(itemsOf(o.Lock))}
	if err := f.run(ctx); err != nil {
		return f.result(), err
	}
	return f.result(), nil
}

type fetcher struct {
	FetchOptions
	root    *os.Root
	fetched *fetched
	items   []item
	pages   []string // paths of the Python index

	stale      int // files of earlier locks
	staleBytes int64

	present, copied, downloaded atomic.Int64
	bytes                       atomic.Int64 // fetched so far
	total                       int64        // to get

	mu     sync.Mutex
	failed []string
}

func (f *fetcher) result() Result {
	return Result{Files: len(f.items), Present: int(f.present.Load()), Copied: int(f.copied.Load()),
		Downloaded: int(f.downloaded.Load()), Bytes: f.bytes.Load(), Stale: f.stale, StaleBytes: f.staleBytes}
}

func (f *fetcher) run(ctx context.Context) error {
	missing, err := f.missing(ctx)
	if err != nil {
		return err
	}
	for _, it := range missing {
		f.total += it.size
	}
	required := f.total
	for _, b := range f.Lock.Bases {
		required += b.Size
	}
	if total, free := disk.Space(f.Dir); total > 0 && required > free {
		return usererr.Errorf("--output names a directory on another disk",
			"the inputs need %s in %s, which has %s free", units.Bytes(required), f.Dir, units.Bytes(free))
	}
	if err := f.getAll(ctx, missing); err != nil {
		return err
	}
	if err := checkLinks(f.root); err != nil {
		return err
	}
	if err := f.writeBases(ctx); err != nil {
		return err
	}
	if err := f.writePythonIndex(); err != nil {
		return fmt.Errorf("writing the Python index: %w", err)
	}
	_ = os.RemoveAll(filepath.Join(f.Dir, partialDir))
	// The lock comes last: a directory that has it is complete, also after a power failure.
	if err := atomicfile.SyncFileSystem(f.Dir); err != nil {
		return fmt.Errorf("writing the inputs to disk: %w", err)
	}
	err = atomicfile.WriteFile(filepath.Join(f.Dir, lock.FileName), f.Lock.Marshal(),
		atomicfile.Options{Durable: true, Mode: 0o644})
	if err != nil {
		return err
	}
	switch err := f.findStale(ctx); {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil && f.Prune:
		return fmt.Errorf("the inputs are complete; removing files of earlier locks from %s: %w", f.Dir, err)
	case err != nil:
		f.Notice("files of earlier locks in %s were not counted: %s", f.Dir, usererr.FirstLine(err))
	}
	return nil
}

// getAll gets the missing items. It continues after errors, unless every other item would have
// the same.
func (f *fetcher) getAll(ctx context.Context, missing []item) error {
	defer f.reportProgress()()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, f.Threads))
	for _, it := range missing {
		g.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			err := f.get(ctx, it)
			switch {
			case err == nil:
				return nil
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EROFS):
				return usererr.Errorf("the same command continues when "+f.Dir+" has space and can be written", "writing %s: %w",
					filepath.Join(f.Dir, it.path), inputfile.WithoutPath(err))
			}
			f.mu.Lock()
			f.failed = append(f.failed, fmt.Sprintf("%s: %v", redact.InPlace(it.description), usererr.FirstLine(err)))
			f.mu.Unlock()
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if len(f.failed) > 0 {
		slices.Sort(f.failed)
		return &FetchError{Failed: f.failed, Of: len(f.items)}
	}
	return nil
}

// checkLinks refuses links in place of what the layout of base images consists of: a
// directory that comes from elsewhere must not have files outside of it replaced.
func checkLinks(root *os.Root) error {
	layout := []string{"oci", "oci/blobs", "oci/blobs/sha256", "oci/blobs/sha512", layoutIndex, "oci/oci-layout"}
	for _, name := range layout {
		if info, err := root.Lstat(name); err == nil && info.Mode()&os.ModeSymlink != 0 {
			return fmt.Errorf("%s is a link, where the inputs have a file or a directory", filepath.Join(root.Name(), name))
		}
	}
	return nil
}

// FetchError lists inputs that could not be fetched.
type FetchError struct {
	Failed []string
	Of     int
}

// Error implements error.
func (e *FetchError) Error() string {
	const shown = 10
	files, suffix := e.Failed, ""
	if len(files) > shown {
		files, suffix = files[:shown], fmt.Sprintf("\n  and %d more", len(files)-shown)
	}
	return fmt.Sprintf("%d of %s could not be fetched:\n  %s%s", len(e.Failed), units.Count(e.Of, "input"),
		strings.Join(files, "\n  "), suffix)
}

// Hint returns a hint for the user.
func (e *FetchError) Hint() string {
	return "repeat the command, which keeps the fetched files; if a repository has changed, " +
		"fetch with the --data-dir of the lock, or write a new lock with kolla-build lock --update"
}

// missing returns the items that are not in the directory. Existing ones are verified.
func (f *fetcher) missing(ctx context.Context) ([]item, error) {
	absent := make([]bool, len(f.items))
	var g errgroup.Group
	g.SetLimit(max(1, f.Threads))
	for i, it := range f.items {
		g.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			file, err := openIn(f.root, it.path)
			if err == nil {
				err = verify(ctx, file, it.digest, it.size)
				file.Close()
			}
			switch {
			case err == nil:
				f.present.Add(1)
			case ctx.Err() != nil:
				return context.Cause(ctx)
			default:
				absent[i] = true
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var out []item
	for i, it := range f.items {
		if absent[i] {
			out = append(out, it)
		}
	}
	return out, nil
}

// partialDir has files that are being fetched, see item.partial.
const partialDir = ".partial"

// partial returns the path of the item while it is fetched. Two items may have the
// same content.
func (it item) partial() string {
	return filepath.Join(partialDir, digest.FromString(it.path).Encoded()[:16]+"-"+it.digest.Encoded())
}

// get gets one item: from a cache, else from its URL.
func (f *fetcher) get(ctx context.Context, it item) error {
	if err := f.root.MkdirAll(partialDir, 0o755); err != nil {
		return err
	}
	for _, dir := range f.Caches {
		ok, err := f.fromCache(ctx, filepath.Join(dir, it.digest.Encoded()), it)
		if err != nil {
			return err
		}
		if ok {
			f.copied.Add(1)
			return nil
		}
	}
	if it.url == "" {
		return errors.New("only the machine that wrote the lock has it, and it is not in this data directory")
	}
	err := f.Retry.Do(ctx, func() error { return httpget.Retryable(f.download(ctx, it)) })
	var r *retry.Error
	if errors.As(err, &r) {
		err = r.Err
	}
	if err == nil {
		f.downloaded.Add(1)
	}
	return err
}

// fromCache copies an item from a cache, and reports whether the cache has it.
func (f *fetcher) fromCache(ctx context.Context, path string, it item) (bool, error) {
	in, err := inputfile.OpenRegular(path)
	if err != nil {
		return false, nil
	}
	defer in.Close()
	if verify(ctx, in, it.digest, it.size) != nil {
		return false, ctx.Err()
	}
	partial := it.partial() + ".copy"
	out, err := f.root.Create(partial)
	if err != nil {
		return false, err
	}
	defer out.Close()
	n, err := io.Copy(out, ctxio.NewReader(ctx, in))
	f.bytes.Add(n)
	if err != nil {
		return false, err
	}
	return true, f.name(partial, it)
}

// download is one attempt to download an item. It continues an earlier attempt.
func (f *fetcher) download(ctx context.Context, it item) error {
	partial := it.partial()
	out, err := f.root.OpenFile(partial, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	offset, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if offset >= it.size {
		offset = 0
	}
	ctx, watch := retry.WatchStall(ctx, f.Stall)
	defer watch.Stop()
	req, err := httpget.NewRequest(ctx, it.url, "kolla-build", httpget.Validators{})
	if err != nil {
		return err
	}
	req.Header.Set("Accept-Encoding", "identity")
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	resp, err := f.HTTP.Do(req)
	if err != nil {
		return httpget.Cause(ctx, err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusOK:
		offset = 0
	case resp.StatusCode == http.StatusPartialContent && offset > 0:
		// A wrong range gives a wrong digest, and then the download starts again.
	default:
		return httpget.NewStatusError(resp)
	}
	if err := out.Truncate(offset); err != nil {
		return err
	}
	if _, err := out.Seek(offset, io.SeekStart); err != nil {
		return err
	}
	n, err := io.Copy(out, io.LimitReader(watch.Reader(resp.Body), it.size-offset+1))
	f.bytes.Add(n)
	if err != nil {
		return httpget.Cause(ctx, err)
	}
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := verify(ctx, out, it.digest, it.size); err != nil {
		_ = out.Truncate(0)
		if ctx.Err() == nil && offset > 0 {
			return &retry.Error{Err: err, Again: true}
		}
		return fmt.Errorf("the file on the server has changed: %w", err)
	}
	return f.name(partial, it)
}

// name gives a complete file its path.
func (f *fetcher) name(partial string, it item) error {
	if !it.modified.IsZero() {
		_ = f.root.Chtimes(partial, it.modified, it.modified) // for web servers of the directory
	}
	if err := f.root.MkdirAll(filepath.Dir(it.path), 0o755); err != nil {
		return err
	}
	if err := f.fetched.add(it.path); err != nil {
		return err
	}
	return f.root.Rename(partial, it.path)
}

// reportProgress prints progress every few seconds until the returned function is
// called.
func (f *fetcher) reportProgress() func() {
	done := make(chan struct{})
	var wg sync.WaitGroup
	started := time.Now()
	wg.Go(func() {
		tick := time.NewTicker(5 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			got := f.bytes.Load()
			rate := float64(got) / time.Since(started).Seconds()
			remaining := ""
			if rate > 0 && got < f.total {
				remaining = ", " + units.Estimate(time.Duration(float64(f.total-got)/rate*float64(time.Second))) + " left"
			}
			f.Notice("fetched %s of %s, %s/s%s", units.Bytes(got), units.Bytes(f.total), units.Bytes(int64(rate)), remaining)
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}
