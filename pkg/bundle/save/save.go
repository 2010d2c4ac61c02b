// Package save writes bundles: files, directories and parts, complete or as deltas. An interrupted save
// is continued by the next one of the same set.
//
// The package must not know where the images come from: they are read through a Source.
package save

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/disk"
	"github.com/kolla-build/kolla-build/internal/filelock"
	"github.com/kolla-build/kolla-build/internal/partialfile"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/parts"
	"github.com/kolla-build/kolla-build/pkg/inventory"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// Compression is how the whole tar is compressed.
type Compression string

// The compressions of a bundle. Package reader recognizes them.
const (
	None Compression = "" // the default, because layers are compressed
	Gzip Compression = "gzip"
	Zstd Compression = "zstd"
)

// Options are the options of Bundle.
type Options struct {
	Compression Compression
	Progress    bundle.Progress
	// DeltaProgress is called while byte deltas are made, before Progress, with the bytes of
	// the layers that they are made of.
	DeltaProgress bundle.Progress
	// Tool and Configuration are recorded in the manifest. The caller removes secrets.
	Tool          string
	Configuration map[string]string
	SignKey       ed25519.PrivateKey // signs the manifest, nil for no signature
	Stdout        io.Writer          // for output "-"; nil is os.Stdout

	// Split writes parts of at most this many bytes, named output.001 and so on, 0 one
	// file. Parity is the percentage of them that may be lost, see package parts.
	Split  int64
	Parity int

	// Resume makes it an error if the data of an interrupted save belongs to another set.
	Resume bool

	// Since is the inventory of the other side: the bundle omits its blobs, and can be
	// loaded only there. nil makes a complete bundle.
	Since *inventory.Inventory
	// ByteDeltas carries changed layers as byte deltas, where that is possible: against layers of Since that
	// the source has.
	ByteDeltas bool
	// ReadOnce reports that reading a blob of the source is expensive, for example over a
	// network.
	ReadOnce bool
}

// Bundle writes images to the file output, to stdout if it is "-", or to a directory if it
// ends with a slash. A device or named pipe is written in place. A regular file is replaced
// when the bundle is complete; an error leaves it unchanged. The incomplete new file is kept
// beside it, and the next save of the same set continues it. Every blob is verified. Every
// image must have a unique name.
func Bundle(ctx context.Context, st Source, entries []store.Entry, output string, opts Options) (Summary, error) {
	sum, err := save(ctx, st, entries, output, opts)
	if err != nil {
		return sum, fmt.Errorf("saving bundle %s: %w", output, err)
	}
	return sum, nil
}

func save(ctx context.Context, st Source, entries []store.Entry, output string, opts Options) (Summary, error) {
	p, err := newPlan(ctx, st, entries, opts.Since)
	if err != nil {
		return Summary{}, err
	}
	if opts.ByteDeltas && p.delta != nil {
		p.delta.spool = opts.ReadOnce
		defer p.delta.close()
		if err := p.makeDeltas(ctx, p.tempDir(output), opts.DeltaProgress); err != nil {
			return Summary{}, err
		}
	}
	sum := p.summary()
	files, err := p.files(opts)
	if err != nil {
		return sum, err
	}
	switch {
	case opts.Split > 0:
		err = writeParts(ctx, output, files, &sum, opts)
	case output == "-":
		w := opts.Stdout
		if w == nil {
			w = os.Stdout
		}
		err = write(ctx, w, files, opts)
	case isDir(output):
		sum.Extra, err = writeDir(ctx, output, files, opts)
		err = noSpace(filepath.Clean(output), sum.Bytes, err)
	default:
		err = writeToFile(ctx, output, files, &sum, opts)
	}
	return sum, withMediumHint(output, err)
}

// writeToFile writes the bundle to a file, which gets its name when it is complete. After
// an error, the next save continues it.
func writeToFile(ctx context.Context, output string, files []bundle.File, sum *Summary, opts Options) error {
	target, special, err := atomicfile.Target(output)
	switch {
	case errors.Is(err, syscall.EISDIR):
		return usererr.Errorf(
			"name a file in it, such as "+filepath.Join(output, "set.tar")+", or write "+output+"/ to save to the directory",
			"it is a directory")
	case err != nil:
		return err
	case special:
		return atomicfile.Output(output, atomicfile.Options{}, func(w io.Writer) error { return write(ctx, w, files, opts) })
	}
	dir := filepath.Dir(target)
	if _, err := os.Stat(dir); err != nil {
		return usererr.WithHint(err, "create the directory first")
	}
	mode := os.FileMode(0o644)
	if st, err := os.Stat(target); err == nil {
		mode = st.Mode().Perm()
	}
	size, err := tarSize(files)
	if err != nil {
		return err
	}
	if opts.Compression == None {
		if size > disk.LargestFile(dir) {
			return withMediumHint(output, syscall.EFBIG)
		}
		if err := checkSpace(dir, size, partialfile.Name(target)); err != nil {
			return err
		}
	}
	f, err := partialfile.Open(target)
	if err != nil {
		return withBusyHint(err)
	}
	defer f.Close()
	first := true
	err = retryReads(ctx, func() error {
		if opts.Compression != None { // a compressed stream has no places at which it could be continued
			if err := f.Keep(0); err != nil {
				return err
			}
			return write(ctx, f, files, opts)
		}
		kept, err := writeResumed(ctx, &fileOutput{File: f}, files, opts)
		if first {
			sum.Kept, first = kept, false
		}
		return err
	})
	if err == nil {
		err = f.Commit(mode)
	}
	return withPartialHint(withMediumHint(target, noSpace(dir, size, err)), partialfile.Name(target))
}

// withMediumHint adds a hint to the error for a file that the file system of the output does
// not accept. An error about a file of the source or a temporary one gets none.
func withMediumHint(output string, err error) error {
	var about *fs.PathError
	switch {
	case err == nil || usererr.Hint(err) != "":
		return err
	case errors.As(err, &about) && !belongsTo(output, about.Path):
		return err
	case errors.Is(err, syscall.EFBIG):
		return usererr.WithHint(err,
			"the file system cannot hold a file of this size, FAT none of 4 GiB or more: write parts with --split 4G")
	case errors.Is(err, syscall.EROFS):
		return usererr.WithHint(err,
			"save to another place, or make this one writable: the switch of the medium, or mount -o remount,rw")
	case errors.Is(err, syscall.ENAMETOOLONG):
		return usererr.WithHint(err,
			"choose a shorter name or path: until a file is complete, its name is a few characters longer")
	case errors.Is(err, syscall.EINVAL) && strings.ContainsAny(filepath.Base(output), `:*?"<>|\`):
		return usererr.WithHint(err, `choose a name without : * ? " < > | \, which FAT and NTFS do not allow`)
	}
	return err
}

// belongsTo reports whether a path is of an output: a file in it, one with its name as a part
// of another name beside it, or a directory that contains it.
func belongsTo(output, path string) bool {
	output, path = filepath.Clean(output), filepath.Clean(path)
	dir := filepath.Dir(output)
	return path == output || path == dir || strings.HasPrefix(path, output+"/") || strings.HasPrefix(dir, path+"/") ||
		filepath.Dir(path) == dir && strings.Contains(filepath.Base(path), filepath.Base(output))
}

// withBusyHint returns the error for a file that another process is writing.
func withBusyHint(err error) error {
	if held := (*filelock.HeldError)(nil); errors.As(err, &held) {
		return errors.New("another save writes to it")
	}
	return err
}

// withPartialHint adds a hint to an error that leaves a file.
func withPartialHint(err error, name string) error {
	if err == nil || usererr.Hint(err) != "" {
		return err
	}
	return usererr.WithHint(err, "the same command continues; what is complete is in "+name)
}

// checkSpace fails if a file system has too little space for the bundle. Files with an
// earlier beginning of it count as written.
func checkSpace(dir string, required int64, earlier ...string) error {
	for _, name := range earlier {
		if st, err := os.Lstat(name); err == nil && st.Mode().IsRegular() {
			required -= st.Size()
		}
	}
	return store.CheckFree(dir, required)
}

// noSpace returns the error for a full file system, with the space that was needed.
func noSpace(dir string, required int64, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		_, free := disk.Space(dir)
		return &store.FullError{Path: dir, Need: required, Free: uint64(max(0, free)), Err: err}
	}
	return err
}

// writeParts writes the bundle in parts, which have their names when all are complete.
func writeParts(ctx context.Context, output string, files []bundle.File, sum *Summary, opts Options) error {
	if output == "-" {
		return usererr.Errorf("name a file, which gives the parts their names", "parts cannot be written to standard output")
	}
	dir := filepath.Dir(output)
	size, err := tarSize(files)
	if err != nil {
		return err
	}
	size = parts.Total(size, opts.Split, opts.Parity)
	if largest := disk.LargestFile(dir); opts.Split > largest {
		return usererr.Errorf("choose --split 4G", "parts of %s, and the file system of %s holds files of up to %s",
			units.Bytes(opts.Split), dir, units.Bytes(largest))
	}
	if opts.Compression == None {
		if err := checkSpace(dir, size, parts.Partial(output)...); err != nil {
			return err
		}
	}
	first := true
	err = retryReads(ctx, func() error {
		w, err := parts.Create(ctx, output, opts.Split, opts.Parity)
		if err != nil {
			return withBusyHint(err)
		}
		defer w.Abort()
		if opts.Compression != None {
			if err = w.Keep(0); err == nil {
				err = write(ctx, w, files, opts)
			}
		} else {
			var kept int64
			kept, err = writeResumed(ctx, w, files, opts)
			if first {
				sum.Kept, first = kept, false
			}
		}
		if err == nil {
			sum.Parts, err = w.Close()
			sum.Parity = w.ParityParts()
		}
		return err
	})
	err = withMediumHint(output, noSpace(dir, size, err))
	return withPartialHint(err, partialfile.Name(output+".001")+" and the like")
}
