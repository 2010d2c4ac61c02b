package server

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	digest "github.com/opencontainers/go-digest"

	// The algorithms of the digests that registries store content by.
	_ "crypto/sha256"
	_ "crypto/sha512"

	"github.com/kolla-build/kolla-build/internal/inputfile"
)

// A killed process may leave files that the distribution does not clean up: uploads,
// temporary files, tags without an image (which are listed but answered with 404), and
// images without a manifest (on which garbage collection fails). The directory must not
// be in use while it is repaired.

// temporaryFile matches files that the distribution writes before it renames them.
var temporaryFile = regexp.MustCompile(`\.[0-9a-f]{8}-[0-9a-f-]{27}\.tmp$`)

// repair removes the remains of killed processes. Tags that are removed are logged.
func repair(dir string, log func(format string, args ...any)) error {
	blobs := filepath.Join(dir, treeDir, "blobs")
	_, err := os.Stat(blobs)
	haveBlobs := err == nil // otherwise nothing was ever pushed, or the disk is not mounted
	if haveBlobs {
		if err := removeEmptyBlobs(blobs); err != nil {
			return err
		}
	}
	return eachRepository(dir, func(name, path string) error {
		if err := os.RemoveAll(filepath.Join(path, "_uploads")); err != nil {
			return err
		}
		err := filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && file != path && !strings.HasPrefix(d.Name(), "_") && filepath.Dir(file) == path:
				return fs.SkipDir // another repository
			case d.Type().IsRegular() && temporaryFile.MatchString(d.Name()):
				return os.Remove(file)
			}
			return nil
		})
		if err != nil || !haveBlobs {
			return err
		}
		return repairTags(name, filepath.Join(path, "_manifests"), blobs, log)
	})
}

// removeEmptyBlobs removes blobs that are empty after a power failure. The distribution
// would treat them as complete when they are pushed again.
func removeEmptyBlobs(blobs string) error {
	return filepath.WalkDir(blobs, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "data" {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Size() > 0 {
			return err
		}
		encoded := filepath.Dir(path)
		algorithm := digest.Algorithm(filepath.Base(filepath.Dir(filepath.Dir(encoded))))
		if algorithm.Available() && algorithm.FromBytes(nil).Encoded() == filepath.Base(encoded) {
			return nil // it is the empty blob
		}
		return os.RemoveAll(encoded)
	})
}

// repairTags removes the revisions of a repository whose manifest is missing, then the
// tags that refer to no revision.
func repairTags(name, manifests, blobs string, log func(format string, args ...any)) error {
	revisions, err := filepath.Glob(filepath.Join(escape(manifests), "revisions", "*", "*"))
	if err != nil {
		return err
	}
	known := map[digest.Digest]bool{}
	for _, path := range revisions {
		d := readLink(filepath.Join(path, "link"))
		_, err := os.Stat(filepath.Join(blobs, blobPath(d)))
		if known[d] = d != "" && err == nil; known[d] {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		if d != "" {
			log("%s@%s: its manifest is missing; the image was removed", name, d)
		}
	}
	tags, err := os.ReadDir(filepath.Join(manifests, "tags"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, tag := range tags {
		path := filepath.Join(manifests, "tags", tag.Name())
		d := readLink(filepath.Join(path, "current", "link"))
		if d != "" && known[d] {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		if d != "" {
			log("%s:%s: its image %s is missing; the tag was removed", name, tag.Name(), d)
		} else {
			log("%s:%s: it was pushed when the registry was killed, and refers to no image; the tag was removed",
				name, tag.Name())
		}
	}
	return nil
}

// escape returns a pattern that matches only this path.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// maxLink is the size of a link in bytes, with room for other algorithms.
const maxLink = 4 << 10

// readLink reads a link of the distribution, which is a file with a digest; "" if it is
// none.
func readLink(path string) digest.Digest {
	b, err := inputfile.ReadRegular(path, maxLink)
	if err != nil {
		return ""
	}
	d, err := digest.Parse(strings.TrimSpace(string(b)))
	if err != nil {
		return ""
	}
	return d
}

func blobPath(d digest.Digest) string {
	if d == "" {
		return ""
	}
	return filepath.Join(d.Algorithm().String(), d.Encoded()[:2], d.Encoded(), "data")
}

// eachRepository calls visit for each repository in a registry's directory, with its name.
func eachRepository(dir string, visit func(name, path string) error) error {
	root := filepath.Join(dir, treeDir, "repositories")
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case !d.IsDir():
			return nil
		case strings.HasPrefix(d.Name(), "_"):
			return fs.SkipDir
		}
		for _, part := range []string{"_manifests", "_uploads", "_layers"} {
			if _, err := os.Lstat(filepath.Join(path, part)); err == nil {
				name, err := filepath.Rel(root, path)
				if err != nil {
					return err
				}
				return visit(filepath.ToSlash(name), path)
			}
		}
		return nil
	})
}
