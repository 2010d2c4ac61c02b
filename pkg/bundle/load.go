package bundle

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// LoadOptions are the options of Load.
type LoadOptions struct {
	// Relocate puts images into another registry and namespace: those parts of
	// their names that are set in it are replaced.
	Relocate imageref.Naming
	// Retag, if it is not nil, returns the tag that replaces a tag of a built image.
	Retag func(tag string) string
	// NamesOnly reads no more than the index and stores nothing: Load returns the
	// entries that it would store. The store may be nil.
	NamesOnly bool
	// Replace moves names that other images in the store have. Without it they
	// are an error.
	Replace bool
	// Trust accepts what the bundle says about its images: the content keys that
	// they were built from, and that they are base images. Without it, images are
	// stored as store.KindLoaded, and no build uses them.
	Trust bool
	// VerifyKey requires that the bundle is signed with this key, which is checked before
	// anything is stored. A signed bundle is trusted.
	VerifyKey ed25519.PublicKey
	Progress  Progress
	Stdin     io.Reader // for path "-"; nil is os.Stdin
	// Parts are the files of a bundle that was split, in any order. Without it, path
	// may be one of them, and the ones beside it are found.
	Parts []string
}

// Load stores the images of a bundle and returns their entries. It reads the file
// path or, if path is "-", stdin. Every digest and size is checked. The names are
// added together at the end, or not at all; blobs that arrived complete before an
// error are kept without a name, so that loading again continues from there, or
// until GC removes them.
//
// If a name belongs to another image, and opts.Replace is not set, the error is a
// *store.NamesTakenError, as soon as the index has been read.
func Load(ctx context.Context, path string, st *store.Store, opts LoadOptions) (Summary, error) {
	sum, err := load(ctx, path, st, opts)
	if err != nil {
		var taken *store.NamesTakenError
		if errors.As(err, &taken) {
			err = usererr.WithHint(err, "--replace moves the names to the images of the bundle; --registry and --namespace load them under other names")
		}
		return sum, fmt.Errorf("loading bundle %s: %w", path, err)
	}
	return sum, nil
}

func load(ctx context.Context, path string, st *store.Store, opts LoadOptions) (Summary, error) {
	l := newLoader(st, opts)
	l.checkIndex = func() error {
		entries, err := l.named()
		if err == nil && opts.NamesOnly {
			l.sum.Images = entries
			return errNamesRead
		}
		if err != nil || opts.Replace || len(l.have) > 0 || l.docker != nil {
			// Docker's index comes after the blobs, and its images may get other digests
			// (see plain.go): PutNew decides.
			return err
		}
		taken, err := st.TakenNames(entries)
		if err == nil && len(taken) > 0 {
			err = &store.NamesTakenError{Names: taken}
		}
		return err
	}
	if err := l.read(ctx, path); errors.Is(err, errNamesRead) {
		return l.sum, nil
	} else if err != nil {
		return l.sum, err
	}
	entries, err := l.named()
	if err != nil {
		return l.sum, err
	}
	put := st.PutNew
	if opts.Replace {
		put = st.Put
	}
	if err := put(entries...); err != nil {
		return l.sum, err
	}
	for i, e := range entries {
		if entries[i], _, err = st.Lookup(e.Name); err != nil {
			return l.sum, err
		}
	}
	l.sum.Images = entries
	return l.sum, nil
}

// errNamesRead ends the reading of a bundle whose names alone are wanted.
var errNamesRead = errors.New("the names have been read")

// Unpack stores the blobs of a bundle and checks them, but adds no names. The
// entries that it returns say what the bundle says, names included; nothing of it
// was checked.
func Unpack(ctx context.Context, path string, st *store.Store, opts LoadOptions) (Summary, error) {
	l := newLoader(st, opts)
	err := l.read(ctx, path)
	if err == nil {
		l.sum.Images, err = l.claimed()
	}
	if err != nil {
		return l.sum, fmt.Errorf("loading bundle %s: %w", path, err)
	}
	return l.sum, nil
}

// claimed returns the images of the bundle as its index describes them, sorted by
// name.
func (l *loader) claimed() ([]store.Entry, error) {
	if len(l.images) == 0 {
		return nil, &FormatError{Detail: "it contains no image"}
	}
	var entries []store.Entry
	for _, d := range l.images {
		e := store.EntryOf(d)
		// Size, platform and time of storing are determined from the blobs.
		entries = append(entries, store.Entry{Name: fullName(d), Digest: e.Digest, Key: e.Key, Kind: e.Kind, Origin: e.Origin, Created: e.Created})
	}
	sort.SliceStable(entries, func(i, j int) bool { return entries[i].Name < entries[j].Name })
	return entries, nil
}

// named returns the entries to be stored: relocated, each name once, and without
// what is not trusted.
func (l *loader) named() ([]store.Entry, error) {
	claimed, err := l.claimed()
	if err != nil {
		return nil, err
	}
	first := map[string]store.Entry{} // with the name in the bundle
	var entries []store.Entry
	for _, e := range claimed {
		if e.Name == "" {
			continue // without a name, an image could only have a key
		}
		from := e
		if e.Name, err = l.relocate(e); err != nil {
			return nil, err
		}
		if other, ok := first[e.Name]; ok {
			if other.Digest == e.Digest {
				continue
			}
			return nil, &FormatError{Detail: fmt.Sprintf("images %s and %s would both be named %s", other.Name, from.Name, e.Name),
				Advice: "save them to different bundles: kolla-build save has --registry, --namespace and --tag"}
		}
		first[e.Name] = from
		if !l.opts.Trust {
			e.Key, e.Kind, e.Origin = "", store.KindLoaded, ""
		}
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return nil, &FormatError{Detail: "none of its images has a name"}
	}
	return entries, nil
}

// relocate returns the name under which an image of the bundle is stored.
func (l *loader) relocate(e store.Entry) (string, error) {
	ref, err := imageref.ParseTag(e.Name)
	if err != nil {
		return "", &FormatError{Detail: "image name", Err: err, Advice: adviceForeign}
	}
	if l.opts.Relocate != (imageref.Naming{}) {
		ref = l.opts.Relocate.Relocate(ref)
	}
	if l.opts.Retag != nil && e.Kind != store.KindBase {
		ref = ref.WithTag(l.opts.Retag(ref.Tag()))
	}
	return ref.Familiar(), nil
}
