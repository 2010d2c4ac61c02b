package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"

	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/pkg/imageref"
)

const emptyIndex = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}` + "\n"

// snapshot is index.json as read, with its entries by name and key.
type snapshot struct {
	file    *os.File // kept open, so that its inode is not reused for another file
	stat    os.FileInfo
	index   ocispec.Index
	entries []Entry
	byName  map[string]int
	byKey   map[string]int
	full    map[string]int // by full reference
}

// snapshot returns the current index. It reads the file only if it changed.
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
	f, err := inputfile.OpenRegular(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, corruptIndex(path, errors.New("the file does not exist"))
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
	return &OpenError{
		Path:    path,
		Problem: ProblemCorrupt,
		Err:     err,
		Advice: fmt.Sprintf(
			"blobs are kept: move the file away with `mv %[1]s %[1]s.bad` and run again; the next build writes a new index",
			path),
	}
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
		// Later entries are newer and win.
		if e.Name != "" {
			p.byName[e.Name] = i
		}
		if e.Key != "" {
			p.byKey[e.Key] = i
		}
	}
	return nil
}

// Lookup returns the image with this name. All spellings of a reference find it:
// debian:trixie and docker.io/library/debian:trixie are the same image.
func (s *Store) Lookup(ref string) (Entry, bool, error) {
	p, err := s.snapshot()
	if err != nil {
		return Entry{}, false, err
	}
	e, ok := s.find(p, ref)
	return e, ok, nil
}

func (s *Store) find(snap *snapshot, ref string) (Entry, bool) {
	if i, ok := snap.byName[ref]; ok {
		return snap.entries[i], true
	}
	full := fullReference(ref)
	if full == "" {
		return Entry{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if snap.full == nil {
		snap.full = make(map[string]int, len(snap.byName))
		for name, i := range snap.byName {
			if f := fullReference(name); f != "" {
				snap.full[f] = i
			}
		}
	}
	i, ok := snap.full[full]
	if !ok {
		return Entry{}, false
	}
	return snap.entries[i], true
}

// fullReference returns the complete form of a reference, "" if it is not valid.
func fullReference(ref string) string {
	r, err := imageref.Parse(ref)
	if err != nil {
		return ""
	}
	return r.WithDefaultTag().String()
}

// ByKey returns the newest image that was built from this content key, whether or
// not it has a name.
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

// ByDigest returns an entry with this digest, one with a name if possible.
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

// Entries returns all images: those with a name sorted by name, then those that
// only have a key, oldest first.
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

// update runs change on a copy of the index under its lock, and replaces the file
// if change reports a change.
func (s *Store) update(change func(*snapshot) (bool, error)) error {
	lock, err := s.lock(lockIndex)
	if err != nil {
		return fmt.Errorf("writing store index: %w", err)
	}
	defer lock.Close()
	cur, err := s.snapshot()
	if err != nil {
		return err
	}
	next := &snapshot{index: cur.index, entries: cur.entries, byName: cur.byName} // others may be reading cur
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
