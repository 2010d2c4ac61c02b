package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Annotations of a descriptor in index.json. The names of images are under
// OCI's own annotation, where other tools look.
const (
	annotationKey    = "io.kolla-build.key"
	annotationKind   = "io.kolla-build.kind"
	annotationOrigin = "io.kolla-build.origin"
	annotationSize   = "io.kolla-build.size"
	annotationStored = "io.kolla-build.stored"
)

const emptyIndex = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}` + "\n"

// Kind says how an image came into the store.
type Kind string

// The kinds of images.
const (
	KindBuilt Kind = "built" // by a run
	KindBase  Kind = "base"  // from outside: bootstrapped, imported or pulled
)

// Entry is an image in the store.
type Entry struct {
	Name      string        // full reference, such as "localhost:4000/kolla/nova-api:t"; "" once its name moved on
	Digest    digest.Digest // of the manifest, or of the index of a multi-platform image
	MediaType string        // of what Digest names
	Size      int64         // bytes of manifest, config and layers as stored (compressed)
	Key       string        // content key of the build, "" for images from elsewhere
	Platform  string        // such as "linux/amd64", "" for an index
	Created   time.Time     // as the image's config says
	Stored    time.Time     // when it was put here
	Kind      Kind          // "" for images that another tool put here
	Origin    string        // for people: where a base image came from
}

// snapshot is index.json as read, with its entries by name and key.
type snapshot struct {
	file    *os.File // kept open, so that its inode cannot come back as another file's
	stat    os.FileInfo
	index   ocispec.Index
	entries []Entry
	byName  map[string]int
	byKey   map[string]int
	normal  map[string]int // names as Docker completes them
}

// snapshot returns the current index, reading it anew only if it changed.
func (s *Store) snapshot() (*snapshot, error) {
	path := filepath.Join(s.dir, ocispec.ImageIndexFile)
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := os.Stat(path)
	if err == nil && s.snap != nil && os.SameFile(st, s.snap.stat) &&
		st.ModTime().Equal(s.snap.stat.ModTime()) && st.Size() == s.snap.stat.Size() {
		return s.snap, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading store index: %w", err)
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, corruptIndex(path, errors.New("the file has vanished"))
	}
	if err != nil {
		return nil, fmt.Errorf("reading store index: %w", err)
	}
	snap := &snapshot{file: f}
	if err := snap.read(path); err != nil {
		f.Close()
		return nil, err
	}
	if s.snap != nil {
		s.snap.file.Close()
	}
	s.snap = snap
	return snap, nil
}

func (p *snapshot) read(path string) error {
	var err error
	if p.stat, err = p.file.Stat(); err != nil {
		return fmt.Errorf("reading store index: %w", err)
	}
	b, err := io.ReadAll(p.file)
	if err != nil {
		return fmt.Errorf("reading store index: %w", err)
	}
	if err := json.Unmarshal(b, &p.index); err != nil {
		return corruptIndex(path, err)
	}
	if err := p.parse(); err != nil {
		return corruptIndex(path, err)
	}
	return nil
}

func corruptIndex(path string, err error) error {
	return &OpenError{Path: path, Problem: ProblemCorrupt, Err: err,
		Hint: fmt.Sprintf("blobs are kept: move the file away with `mv %[1]s %[1]s.bad` and run again, the next build makes the names anew", path)}
}

func (p *snapshot) parse() error {
	if p.index.SchemaVersion != 2 {
		return fmt.Errorf("schemaVersion is %d, not 2", p.index.SchemaVersion)
	}
	p.entries = make([]Entry, 0, len(p.index.Manifests))
	p.byName = make(map[string]int, len(p.index.Manifests))
	p.byKey = make(map[string]int, len(p.index.Manifests))
	for i, d := range p.index.Manifests {
		if err := d.Digest.Validate(); err != nil {
			return fmt.Errorf("manifest %d: digest %q: %w", i+1, d.Digest, err)
		}
		e := EntryOf(d)
		p.entries = append(p.entries, e)
		// Later entries win: they were put later.
		if e.Name != "" {
			p.byName[e.Name] = i
		}
		if e.Key != "" {
			p.byKey[e.Key] = i
		}
	}
	return nil
}

// EntryOf reads an entry from a descriptor in the index of this store, or of
// any other layout.
func EntryOf(d ocispec.Descriptor) Entry {
	a := d.Annotations
	e := Entry{
		Name: a[ocispec.AnnotationRefName], Digest: d.Digest, MediaType: d.MediaType,
		Key: a[annotationKey], Kind: Kind(a[annotationKind]), Origin: a[annotationOrigin],
	}
	if e.Size, _ = strconv.ParseInt(a[annotationSize], 10, 64); e.Size == 0 {
		e.Size = d.Size
	}
	e.Created, _ = time.Parse(time.RFC3339Nano, a[ocispec.AnnotationCreated])
	e.Stored, _ = time.Parse(time.RFC3339Nano, a[annotationStored])
	if d.Platform != nil {
		e.Platform = formatPlatform(*d.Platform)
	}
	return e
}

func formatPlatform(p ocispec.Platform) string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

func parsePlatform(s string) *ocispec.Platform {
	parts := strings.Split(s, "/")
	if len(parts) < 2 {
		return nil
	}
	p := &ocispec.Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) > 2 {
		p.Variant = parts[2]
	}
	return p
}

// Descriptor is the inverse of EntryOf; size is that of the manifest alone, in
// bytes.
func (e Entry) Descriptor(size int64) ocispec.Descriptor {
	a := map[string]string{}
	set := func(k, v string) {
		if v != "" {
			a[k] = v
		}
	}
	set(ocispec.AnnotationRefName, e.Name)
	set(annotationKey, e.Key)
	set(annotationKind, string(e.Kind))
	set(annotationOrigin, e.Origin)
	set(annotationSize, strconv.FormatInt(e.Size, 10))
	if !e.Created.IsZero() {
		set(ocispec.AnnotationCreated, e.Created.UTC().Format(time.RFC3339Nano))
	}
	if !e.Stored.IsZero() {
		set(annotationStored, e.Stored.UTC().Format(time.RFC3339Nano))
	}
	return ocispec.Descriptor{
		MediaType: e.MediaType, Digest: e.Digest, Size: size, Annotations: a, Platform: parsePlatform(e.Platform),
	}
}

// Lookup returns the image with this name. A name is also found in its long
// form: debian:trixie and docker.io/library/debian:trixie are the same image.
func (s *Store) Lookup(ref string) (Entry, bool, error) {
	p, err := s.snapshot()
	if err != nil {
		return Entry{}, false, err
	}
	if i, ok := p.byName[ref]; ok {
		return p.entries[i], true, nil
	}
	n := normal(ref)
	if n == "" {
		return Entry{}, false, nil
	}
	s.mu.Lock()
	if p.normal == nil {
		p.normal = make(map[string]int, len(p.byName))
		for have, i := range p.byName {
			if h := normal(have); h != "" {
				p.normal[h] = i
			}
		}
	}
	i, ok := p.normal[n]
	s.mu.Unlock()
	if !ok {
		return Entry{}, false, nil
	}
	return p.entries[i], true, nil
}

// normal completes a reference as Docker does, "" if it is none.
func normal(ref string) string {
	r, err := name.ParseReference(ref)
	if err != nil {
		return ""
	}
	return r.Name()
}

// ByKey returns the image that was built from this content key, the newest if
// several were, whether or not it still has a name.
func (s *Store) ByKey(key string) (Entry, bool, error) {
	p, err := s.snapshot()
	if err != nil || key == "" {
		return Entry{}, false, err
	}
	i, ok := p.byKey[key]
	if !ok {
		return Entry{}, false, nil
	}
	return p.entries[i], true, nil
}

// ByDigest returns an entry with this digest, a named one if there is one.
func (s *Store) ByDigest(d digest.Digest) (Entry, bool, error) {
	p, err := s.snapshot()
	if err != nil {
		return Entry{}, false, err
	}
	found, ok := Entry{}, false
	for _, e := range p.entries {
		if e.Digest == d && (!ok || found.Name == "") {
			found, ok = e, true
		}
	}
	return found, ok, nil
}

// Entries returns all images: named ones sorted by name, then those that only
// their key remembers, oldest first.
func (s *Store) Entries() ([]Entry, error) {
	p, err := s.snapshot()
	if err != nil {
		return nil, err
	}
	var named, rest []Entry
	for i, e := range p.entries {
		switch {
		case e.Name == "":
			rest = append(rest, e)
		case p.byName[e.Name] == i:
			named = append(named, e)
		}
	}
	sort.Slice(named, func(i, j int) bool { return named[i].Name < named[j].Name })
	return append(named, rest...), nil
}

// checkName refuses names that would confuse the tools that read the layout.
func checkName(n string) error {
	if len(n) > 4096 {
		return fmt.Errorf("image name of %d bytes is too long", len(n))
	}
	for _, r := range n {
		if r <= ' ' || r == unicode.ReplacementChar || unicode.IsControl(r) || unicode.IsSpace(r) {
			return fmt.Errorf("image name %q holds a space or control character", n)
		}
	}
	return nil
}

// update runs change on the index under its lock and replaces the file if
// change reports that it did something.
func (s *Store) update(change func(*snapshot) (bool, error)) error {
	unlock, err := s.lock(lockIndex)
	if err != nil {
		return fmt.Errorf("writing store index: %w", err)
	}
	defer unlock()
	cur, err := s.snapshot()
	if err != nil {
		return err
	}
	// A copy: the current one is in the hands of readers.
	next := &snapshot{index: cur.index}
	next.index.Manifests = append([]ocispec.Descriptor(nil), cur.index.Manifests...)
	changed, err := change(next)
	if err != nil || !changed {
		return err
	}
	next.index.Versioned = specs.Versioned{SchemaVersion: 2}
	next.index.MediaType = ocispec.MediaTypeImageIndex
	if next.index.Manifests == nil {
		next.index.Manifests = []ocispec.Descriptor{}
	}
	b, err := json.Marshal(next.index)
	if err != nil {
		return fmt.Errorf("writing store index: %w", err)
	}
	if err := s.replace(filepath.Join(s.dir, ocispec.ImageIndexFile), append(b, '\n')); err != nil {
		return fmt.Errorf("writing store index: %w", err)
	}
	return nil
}
