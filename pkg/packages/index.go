package packages

import (
	"bytes"
	"compress/bzip2"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// Index is the state of a repository.
type Index struct {
	// Digest is over what the signed index says of the lists that the
	// repository's entry is about: another one means that packages moved. A
	// signature that was made anew does not change it.
	Digest string

	lists   []list
	release map[string]string // fields of apt's Release file, names in lower case
	load    func(ctx context.Context) (map[string][]string, error)
}

// list is a file that lists packages, in the forms in which the index names it.
// Not every server has every form that its index names.
type list []form

type form struct {
	urls []string // the same content at several places
	sum  string   // SHA-256 in hex
	name string   // with the compression's suffix
}

// Offers returns the versions that the repository has of each package, for its
// architecture or for all.
func (ix *Index) Offers(ctx context.Context) (map[string][]string, error) { return ix.load(ctx) }

// indexOnce is an index that is being read, or was.
type indexOnce struct {
	once  sync.Once
	index *Index
	err   error
}

// Index returns the state of a repository. Errors are *RepositoryError, or that
// of ctx.
func (c *Client) Index(ctx context.Context, r Repository) (*Index, error) {
	id, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	if c.indexes == nil {
		c.indexes = map[string]*indexOnce{}
	}
	o := c.indexes[string(id)]
	if o == nil {
		o = &indexOnce{}
		c.indexes[string(id)] = o
	}
	c.mu.Unlock()
	o.once.Do(func() { o.index, o.err = c.index(ctx, r) })
	return o.index, o.err
}

func (c *Client) index(ctx context.Context, r Repository) (*Index, error) {
	places, err := c.places(ctx, r)
	var ix *Index
	for _, at := range places {
		if r.Type == RPM {
			ix, err = c.rpmIndex(ctx, at)
		} else {
			ix, err = c.aptIndex(ctx, r, at)
		}
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	if err == nil && ix == nil {
		err = errors.New("no place is known of it")
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &RepositoryError{r.String(), err}
	}
	h := sha256.New()
	for _, l := range ix.lists {
		fmt.Fprintf(h, "%s %s\n", l[0].sum, l[0].name)
	}
	ix.Digest = fmt.Sprintf("sha256:%x", h.Sum(nil))
	ix.load = onceWith(func(ctx context.Context) (map[string][]string, error) {
		out := map[string][]string{}
		for _, l := range ix.lists {
			if err := c.readList(ctx, r, l, out); err != nil {
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				return nil, &RepositoryError{r.String(), err}
			}
		}
		return out, nil
	})
	return ix, nil
}

// readList adds the packages of a list to out, from the first form of it that
// the server has.
func (c *Client) readList(ctx context.Context, r Repository, l list, out map[string][]string) error {
	var err error
	for _, f := range l {
		for _, at := range f.urls {
			var data []byte
			if data, err = c.getHashed(ctx, at, f.sum); err == nil {
				return r.read(f.name, data, out)
			}
			if !errors.Is(err, errAbsent) {
				return err
			}
		}
	}
	return fmt.Errorf("its index names %s, and %w", l[0].name, err)
}

// onceWith calls load until it succeeds, and one at a time.
func onceWith(load func(context.Context) (map[string][]string, error)) func(context.Context) (map[string][]string, error) {
	var mu sync.Mutex
	var got map[string][]string
	return func(ctx context.Context) (map[string][]string, error) {
		mu.Lock()
		defer mu.Unlock()
		if got != nil {
			return got, nil
		}
		out, err := load(ctx)
		if err == nil {
			got = out
		}
		return out, err
	}
}

// read adds the packages of a list to out.
func (r Repository) read(name string, data []byte, out map[string][]string) error {
	plain, err := decompress(name, data)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer plain.Close()
	limited := &io.LimitedReader{R: plain, N: maxPlain}
	if r.Type == RPM {
		err = readPrimary(limited, r.Arch, out)
	} else {
		err = readPackages(limited, r.Arch, out)
	}
	if err == nil && limited.N <= 0 {
		err = fmt.Errorf("it is larger than %d bytes", int64(maxPlain))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// maxVersions bounds what a list may have of one package; archives that keep all
// that there ever was have hundreds.
const maxVersions = 10_000

// offer adds a version of a package to what a list offers.
func offer(out map[string][]string, name, version string) error {
	have, known := out[name]
	switch {
	case slices.Contains(have, version):
		return nil
	case !known && len(out) >= maxPackages:
		return fmt.Errorf("it names more than %d packages", maxPackages)
	case len(have) >= maxVersions:
		return fmt.Errorf("it has more than %d versions of %s", maxVersions, name)
	}
	out[name] = append(have, version)
	return nil
}

func decompress(name string, data []byte) (io.ReadCloser, error) {
	r := bytes.NewReader(data)
	switch {
	case strings.HasSuffix(name, ".gz"):
		return gzip.NewReader(r)
	case strings.HasSuffix(name, ".zst"):
		z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(128<<20), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	case strings.HasSuffix(name, ".xz"):
		z, err := xz.ReaderConfig{DictCap: 64 << 20}.NewReader(r)
		return io.NopCloser(z), err
	case strings.HasSuffix(name, ".bz2"):
		return io.NopCloser(bzip2.NewReader(r)), nil
	}
	return io.NopCloser(r), nil
}
