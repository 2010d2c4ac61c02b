package bundle

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/disk"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bundle/parts"
	"github.com/kolla-build/kolla-build/pkg/inventory"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// Compression is how the whole tar is compressed.
type Compression string

// The compressions that Save writes. Load recognises them.
const (
	None Compression = "" // the default, because layers are compressed
	Gzip Compression = "gzip"
	Zstd Compression = "zstd"
)

// SaveOptions are the options of Save.
type SaveOptions struct {
	Compression Compression
	Progress    Progress
	// Tool and Configuration are recorded in the manifest. The caller removes secrets.
	Tool          string
	Configuration map[string]string
	SignKey       ed25519.PrivateKey // signs the manifest, nil for no signature
	Stdout        io.Writer          // for output "-"; nil is os.Stdout

	// Split writes parts of at most this many bytes, named output.001 and so on, 0 one
	// file. Parity is the percentage of them that may be lost, see package parts.
	Split  int64
	Parity int

	// Since is what the other side has: the bundle contains only what is not in it,
	// and can be loaded only there. nil is a complete bundle.
	Since *inventory.Inventory
	// Bytes carries changed layers as byte deltas against the layers of Since that this
	// store has, where that is possible.
	Bytes bool
}

// Summary describes a bundle.
type Summary struct {
	Images   []store.Entry // sorted by name
	Blobs    int           // each counted once
	Bytes    int64         // of the blobs, each counted once
	Reused   int           // Load: blobs that the store had
	Repaired int           // Load: blobs that were damaged in the store
	Required int           // blobs and images of the other side that a delta refers to
	Deltas   int           // layers that are carried as byte deltas
	Parts    []string      // Save: the files, if it was split
	Extra    []string      // Save to a directory: files in it that belong to no bundle
	Restored []string      // Load: parts that were missing or damaged, and in which way
	Signed   bool          // Load: the signature was verified
	// DeltaBytes is the size of the byte deltas, DeltaLayers that of their layers.
	DeltaBytes, DeltaLayers int64
}

// Save writes images to the file output, to stdout if it is "-", or to a directory if it
// ends with a slash. A device or named pipe is written in place. A regular file is replaced when the bundle is
// complete; an error leaves it unchanged. Every blob is verified. Every image must
// have a name, and no two the same.
func Save(ctx context.Context, st Source, entries []store.Entry, output string, opts SaveOptions) (Summary, error) {
	sum, err := save(ctx, st, entries, output, opts)
	if err != nil {
		return sum, fmt.Errorf("saving bundle %s: %w", output, err)
	}
	return sum, nil
}

func save(ctx context.Context, st Source, entries []store.Entry, output string, opts SaveOptions) (Summary, error) {
	p, err := newPlan(ctx, st, entries, opts.Since)
	if err != nil {
		return Summary{}, err
	}
	if opts.Bytes && p.delta != nil {
		defer p.delta.close()
		if err := p.makeDeltas(ctx, p.tempDir(output)); err != nil {
			return Summary{}, err
		}
	}
	sum := p.summary()
	files, err := p.files(opts)
	if err != nil {
		return sum, err
	}
	if opts.Split > 0 {
		return writeParts(ctx, output, files, sum, opts)
	}
	if output == "-" {
		w := opts.Stdout
		if w == nil {
			w = os.Stdout
		}
		return sum, write(ctx, w, files, opts)
	}
	if isDir(output) {
		sum.Extra, err = writeDir(ctx, output, files, opts)
		return sum, noSpace(filepath.Clean(output), sum.Bytes, err)
	}
	target, special, err := atomicfile.Target(output)
	switch {
	case errors.Is(err, syscall.EISDIR):
		return sum, usererr.Errorf("name a file in it, such as "+filepath.Join(output, "set.tar")+", or write "+output+"/ to save to the directory", "it is a directory")
	case err != nil:
		return sum, err
	}
	dir := filepath.Dir(target)
	if !special {
		if _, err := os.Stat(dir); err != nil {
			return sum, usererr.WithHint(err, "create the directory first")
		}
		if _, free := disk.Space(dir); opts.Compression == None && free > 0 && free < sum.Bytes {
			return sum, &store.FullError{Path: dir, Need: sum.Bytes, Free: uint64(free)}
		}
	}
	err = atomicfile.Output(output, atomicfile.Options{Durable: true}, func(w io.Writer) error { return write(ctx, w, files, opts) })
	return sum, noSpace(dir, sum.Bytes, err)
}

// noSpace returns the error for a full file system, with the space that was needed.
func noSpace(dir string, need int64, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		_, free := disk.Space(dir)
		return &store.FullError{Path: dir, Need: need, Free: uint64(max(0, free)), Err: err}
	}
	return err
}

// writeParts writes the bundle in parts. Without an error all are there, with one
// none.
func writeParts(ctx context.Context, output string, files []file, sum Summary, opts SaveOptions) (Summary, error) {
	if output == "-" {
		return sum, usererr.Errorf("name a file, which gives the parts their names", "parts cannot be written to standard output")
	}
	if _, free := disk.Space(filepath.Dir(output)); opts.Compression == None && free > 0 && free < sum.Bytes+sum.Bytes*int64(opts.Parity)/100 {
		return sum, &store.FullError{Path: filepath.Dir(output), Need: sum.Bytes + sum.Bytes*int64(opts.Parity)/100, Free: uint64(free)}
	}
	w, err := parts.Create(ctx, output, opts.Split, opts.Parity)
	if err != nil {
		return sum, err
	}
	defer w.Abort()
	if err = write(ctx, w, files, opts); err == nil {
		sum.Parts, err = w.Close()
	}
	return sum, noSpace(filepath.Dir(output), sum.Bytes+sum.Bytes*int64(opts.Parity)/100, err)
}
