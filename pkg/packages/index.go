package packages

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/untar"
)

// Index is the state of a repository.
type Index struct {
	// Digest covers the lists of packages in the signed index. It changes when
	// packages change, but not when the same index is signed again.
	Digest digest.Digest

	lists   []list
	release map[string]string // fields of apt's Release file, with lower-case names
	offers  *shared[map[string][]string]
	load    func(ctx context.Context) (map[string][]string, error)
}

// list is a list of packages, in each of the compressions that the index names.
// A server may lack some of them.
type list []listFile

type listFile struct {
	urls []string // locations of the same content
	sum  string   // SHA-256 in hex
	name string   // with the extension of the compression
}

// Offers returns the versions of each package in the repository, for its
// architecture or for all architectures.
func (ix *Index) Offers(ctx context.Context) (map[string][]string, error) {
	return ix.offers.get(ctx, ix.load, func(error) bool { return false })
}

// Index returns the state of a repository. Errors are *RepositoryError, or the
// error of ctx. The former are final: the repository is not asked again.
func (c *Client) Index(ctx context.Context, r Repository) (*Index, error) {
	id, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	if c.indexes == nil {
		c.indexes = map[string]*shared[*Index]{}
	}
	index := c.indexes[string(id)]
	if index == nil {
		index = newShared[*Index]()
		c.indexes[string(id)] = index
	}
	c.mu.Unlock()
	read := func(ctx context.Context) (*Index, error) { return c.readIndex(ctx, r) }
	return index.get(ctx, read, func(error) bool { return true })
}

func (c *Client) readIndex(ctx context.Context, repo Repository) (*Index, error) {
	locations, err := c.locations(ctx, repo)
	var ix *Index
	for _, location := range locations {
		if repo.Type == RPM {
			ix, err = c.rpmIndex(ctx, location)
		} else {
			ix, err = c.aptIndex(ctx, repo, location)
		}
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	if err == nil && ix == nil {
		err = errors.New("it has no location")
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &RepositoryError{repo.String(), err}
	}
	h := sha256.New()
	for _, l := range ix.lists {
		fmt.Fprintf(h, "%s %s\n", l[0].sum, l[0].name)
	}
	ix.Digest = digest.NewDigest(digest.SHA256, h)
	ix.offers = newShared[map[string][]string]()
	ix.load = func(ctx context.Context) (map[string][]string, error) {
		versions := map[string][]string{}
		for _, l := range ix.lists {
			if err := c.readList(ctx, repo, l, versions); err != nil {
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				return nil, &RepositoryError{repo.String(), err}
			}
		}
		return versions, nil
	}
	return ix, nil
}

// readList adds the packages of a list to versions, from its first file that the
// server has.
func (c *Client) readList(ctx context.Context, r Repository, l list, versions map[string][]string) error {
	var err error
	for _, f := range l {
		for _, location := range f.urls {
			var data []byte
			if data, err = c.getHashed(ctx, location, f.sum); err == nil {
				return r.read(f.name, data, versions)
			}
			if !isNotFound(err) {
				return err
			}
		}
	}
	return fmt.Errorf("%s, which its index names: %w", l[0].name, err)
}

// read adds the packages in a list to versions.
func (r Repository) read(name string, data []byte, versions map[string][]string) error {
	plain, err := untar.Decompress(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer plain.Close()
	limited := &io.LimitedReader{R: plain, N: maxExpanded}
	if r.Type == RPM {
		err = readPrimary(limited, r.Arch, versions)
	} else {
		err = readPackages(limited, r.Arch, versions)
	}
	if err == nil && limited.N <= 0 {
		err = fmt.Errorf("larger than %s", units.Bytes(maxExpanded))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

const (
	// maxPackages limits the packages of a list. Distributions have a tenth of it.
	maxPackages = 500_000
	// maxVersions limits the versions of a package. Archives that keep every version
	// have hundreds of versions.
	maxVersions = 10_000
)

// addVersion adds a version of a package.
func addVersion(versions map[string][]string, name, version string) error {
	present, known := versions[name]
	switch {
	case slices.Contains(present, version):
		return nil
	case !known && len(versions) >= maxPackages:
		return fmt.Errorf("more than %d packages", maxPackages)
	case len(present) >= maxVersions:
		return fmt.Errorf("more than %d versions of %s", maxVersions, name)
	}
	versions[name] = append(present, version)
	return nil
}
