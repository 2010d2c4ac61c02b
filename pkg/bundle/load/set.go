package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// Loaded are the images of one or more files, whose blobs are in the store. They have
// no names there until Name is called; GC keeps the blobs until the store is closed.
type Loaded struct {
	Summary
	st      *store.Store
	replace bool
}

// Bundle is Read and Loaded.Name for one file. Commands publish between them, and call both.
func Bundle(ctx context.Context, path string, st *store.Store, opts Options) (Summary, error) {
	loaded, err := Read(ctx, []Input{{Path: path}}, st, opts)
	if err == nil && !opts.NamesOnly {
		err = loaded.Name()
	}
	return loaded.Summary, err
}

// Read stores the blobs of one or more files, and checks every digest and size, but
// adds no names. Its images have the names that they will get. Files may be deltas
// whose base is another of the files, in any order.
//
// Blobs that arrived complete before an error are kept without a name, so that loading
// again continues from there, or until GC removes them. If a name belongs to another
// image, and opts.Replace is not set, the error is a *store.NamesTakenError, where
// possible before content is read.
func Read(ctx context.Context, inputs []Input, st *store.Store, opts Options) (*Loaded, error) {
	set := &Loaded{st: st, replace: opts.Replace, Summary: Summary{Renamed: make([]bool, len(opts.Renames))}}
	named := map[string]origin{}
	progress := newTotalProgress(inputs, opts.Progress)
	for pending := inputs; len(pending) > 0; {
		var deferred []Input
		var missing error
		for _, in := range pending {
			opts.Progress = progress.of(in)
			l, entries, err := readInput(ctx, in, st, opts)
			var base *MissingError
			if errors.As(err, &base) && in.Path != "-" && len(inputs) > 1 {
				// Another file may contain the blobs that the delta requires.
				deferred, missing = append(deferred, in), fmt.Errorf("loading bundle %s: %w", in.Path, err)
				continue
			}
			progress.read(in)
			set.add(l.sum)
			if err == nil {
				err = set.merge(named, in, entries)
			}
			if err != nil {
				return set, fmt.Errorf("loading bundle %s: %w", in.Path, withHint(err))
			}
		}
		if len(deferred) == len(pending) {
			return set, missing
		}
		pending = deferred
	}
	slices.SortFunc(set.Images, func(a, b store.Entry) int { return strings.Compare(a.Name, b.Name) })
	if opts.NamesOnly || opts.Replace {
		return set, nil
	}
	taken, err := st.TakenNames(set.Images)
	if err == nil && len(taken) > 0 {
		err = withHint(&store.NamesTakenError{Names: taken})
	}
	if err != nil {
		return set, fmt.Errorf("loading bundle %s: %w", inputs[0].Path, err)
	}
	return set, nil
}

// origin is the file that a name of a set comes from.
type origin struct {
	entry store.Entry
	path  string
}

// readInput reads one file.
func readInput(ctx context.Context, in Input, st *store.Store, opts Options) (*loader, []store.Entry, error) {
	l := newLoader(st, opts)
	l.checkIndex = func() error {
		entries, err := l.entriesToStore()
		if err == nil && opts.NamesOnly {
			l.sum.Images = entries
			return errNamesRead
		}
		if err != nil || opts.Replace || len(l.received) > 0 || l.docker != nil {
			// Docker's index comes after the blobs, and its images may get other digests
			// (see plain.go): the check at the end of Read decides.
			return err
		}
		taken, err := st.TakenNames(entries)
		if l.manifest.Manifest == nil {
			// Images of a layout that another tool wrote may get other digests, too, so that a name that was
			// loaded earlier may belong to the same image.
			taken = slices.DeleteFunc(taken, func(name string) bool {
				e, ok, err := st.Lookup(name)
				return err == nil && ok && e.Kind == store.KindLoaded
			})
		}
		if err == nil && len(taken) > 0 {
			err = &store.NamesTakenError{Names: taken}
		}
		if err == nil && opts.Check != nil && l.manifest.Manifest != nil {
			err = opts.Check(ctx, entries)
		}
		return err
	}
	err := l.read(ctx, in)
	if errors.Is(err, errNamesRead) {
		return l, l.sum.Images, nil
	}
	if err != nil {
		return l, nil, err
	}
	entries, err := l.entriesToStore()
	return l, entries, err
}

func withHint(err error) error {
	var fe *bundle.FormatError
	if errors.As(err, &fe) && fe.Advice == bundle.AdviceTruncated {
		fe.Advice += "; blobs that arrived complete are kept, so that loading it again continues from there"
	}
	var taken *store.NamesTakenError
	if errors.As(err, &taken) {
		return usererr.WithHint(err,
			"--replace moves the names to the images of the bundle; "+
				"--registry, --namespace and --rename load them under other names")
	}
	return err
}

// merge adds the images of a file.
func (s *Loaded) merge(named map[string]origin, in Input, entries []store.Entry) error {
	for _, e := range entries {
		other, ok := named[e.Name]
		switch {
		case !ok:
			named[e.Name] = origin{e, in.Path}
			s.Images = append(s.Images, e)
		case other.entry.Digest != e.Digest:
			return usererr.Errorf("load the older one first, with a separate command, then the newer one with "+
				"--replace; or give them different names with --rename or --tag",
				"image %s is in %s with digest %s, and here with %s", e.Name, other.path, other.entry.Digest, e.Digest)
		}
	}
	return nil
}

// add adds the images of a file.
func (s *Loaded) add(sum Summary) {
	s.Blobs += sum.Blobs
	s.Bytes += sum.Bytes
	s.Reused += sum.Reused
	s.Repaired += sum.Repaired
	s.Deltas += sum.Deltas
	s.DeltaBytes += sum.DeltaBytes
	s.DeltaLayers += sum.DeltaLayers
	s.Required += sum.Required
	s.Restored = append(s.Restored, sum.Restored...)
	s.Partial = append(s.Partial, sum.Partial...)
	s.Signed = s.Signed || sum.Signed
	for i, renamed := range sum.Renamed {
		s.Renamed[i] = s.Renamed[i] || renamed
	}
}

// Name gives the images their names in the store, all of them or none.
func (s *Loaded) Name() error {
	put := s.st.PutNew
	if s.replace {
		put = s.st.Put
	}
	if err := put(s.Images...); err != nil {
		return fmt.Errorf("naming the images: %w", withHint(err))
	}
	for i, e := range s.Images {
		var err error
		if s.Images[i], _, err = s.st.Lookup(e.Name); err != nil {
			return err
		}
	}
	return nil
}
