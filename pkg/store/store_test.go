package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/ctxio"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/testenv"
)

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func randomImage(t *testing.T, size int64, layers int) v1.Image {
	t.Helper()
	img, err := random.Image(size, int64(layers))
	if err != nil {
		t.Fatal(err)
	}
	img = mutate.ConfigMediaType(mutate.MediaType(img, types.OCIManifestSchema1), types.OCIConfigJSON)
	cf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	cf = cf.DeepCopy()
	cf.OS, cf.Architecture = "linux", "amd64"
	cf.Created = v1.Time{Time: time.Unix(1700000000, 0)}
	if img, err = mutate.ConfigFile(img, cf); err != nil {
		t.Fatal(err)
	}
	return img
}

func write(t *testing.T, s *Store, img v1.Image) digest.Digest {
	t.Helper()
	d, err := s.WriteImage(context.Background(), img)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func put(t *testing.T, s *Store, entries ...Entry) {
	t.Helper()
	if err := s.Put(entries...); err != nil {
		t.Fatal(err)
	}
}

// only shortens the results of byKey and similar functions: "" means not found.
func found(t *testing.T, e Entry, ok bool, err error) digest.Digest {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		return ""
	}
	return e.Digest
}

func TestWriteAndReadImage(t *testing.T) {
	ctx := context.Background()
	s := open(t, t.TempDir())
	img := randomImage(t, 100_000, 3)
	d := write(t, s, img)
	put(t, s, Entry{Name: "localhost:4000/kolla/a:t", Digest: d, Kind: KindBuilt, Key: "k1"})

	e, ok, err := s.Lookup("localhost:4000/kolla/a:t")
	if err != nil || !ok {
		t.Fatalf("Lookup = %v, %v", ok, err)
	}
	if e.Platform != "linux/amd64" || e.MediaType != string(types.OCIManifestSchema1) ||
		e.Created.Unix() != 1700000000 || e.Stored.IsZero() {
		t.Errorf("the entry is not completed from the image: %+v", e)
	}
	var want int64
	m, _ := img.Manifest()
	want, _ = img.Size()
	want += m.Config.Size
	for _, l := range m.Layers {
		want += l.Size
	}
	if e.Size != want {
		t.Errorf("size %d, want %d", e.Size, want)
	}
	reread, err := s.Image(d)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(reread); err != nil {
		t.Error(err)
	}
	if err := s.Verify(ctx, d); err != nil {
		t.Error(err)
	}
	blobs, err := s.Blobs(ctx, d)
	if err != nil || len(blobs) != 5 || blobs[0].MediaType != e.MediaType {
		t.Errorf("Blobs = %v, %v", blobs, err)
	}
}

func TestIndexOfPlatforms(t *testing.T) {
	s := open(t, t.TempDir())
	idx, err := random.Index(1000, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.WriteIndex(context.Background(), idx)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, Entry{Name: "multi:t", Digest: d})
	reread, err := s.ImageIndex(d)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(reread); err != nil {
		t.Error(err)
	}
	if _, err := s.Image(d); err == nil || !strings.Contains(err.Error(), "index of 3 images") {
		t.Errorf("Image of an index: %v", err)
	}
}

func TestBadBlobsAreNamed(t *testing.T) {
	ctx := context.Background()
	s := open(t, t.TempDir())
	d := write(t, s, randomImage(t, 5000, 2))
	put(t, s, Entry{Name: "a:t", Digest: d})
	img, err := s.Image(d)
	if err != nil {
		t.Fatal(err)
	}
	m, _ := img.Manifest()
	victim := digest.Digest(m.Layers[1].Digest.String())
	path := s.blobPath(victim)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte(nil), b...)
	flipped[len(b)/2] ^= 1
	overwrite := func(b []byte) {
		t.Helper()
		os.Remove(path)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	overwrite(flipped)
	if err := s.Check(ctx, d); err != nil {
		t.Errorf("Check reads no layers: %v", err)
	}
	wantBad := func(err error, detail string) {
		t.Helper()
		var be *BlobError
		if !errors.As(err, &be) || be.Digest != victim || !strings.Contains(err.Error(), detail) ||
			!strings.Contains(err.Error(), "layer 2 of 2") {
			t.Errorf("got %v, want %s and %q", err, victim, detail)
		}
	}
	wantBad(s.Verify(ctx, d), "its content has digest")
	layers, _ := img.Layers()
	rc, err := layers[1].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	var be *BlobError
	if _, err := ctxio.Copy(ctx, &bytes.Buffer{}, rc); !errors.As(err, &be) {
		t.Errorf("reading a flipped blob: %v", err)
	}
	rc.Close()
	overwrite(b[:len(b)-1])
	wantBad(s.Check(ctx, d), "its size is")
	if dropped, err := s.DropBad(ctx, victim); !dropped || err != nil {
		t.Errorf("DropBad = %v, %v", dropped, err)
	}
	wantBad(s.Check(ctx, d), "is missing")
	if !errors.Is(s.Check(ctx, d), ErrNotFound) {
		t.Error("a missing blob is not ErrNotFound")
	}
	if err := s.Put(Entry{Name: "b:t", Digest: d}); err == nil {
		t.Error("an image with a missing layer got a name")
	}
	if _, _, err := s.WriteBlob(ctx, bytes.NewReader(b), victim, int64(len(b))); err != nil {
		t.Error(err)
	}
	if err := s.Verify(ctx, d); err != nil {
		t.Errorf("after mending: %v", err)
	}
}

func TestNamesAndKeys(t *testing.T) {
	s := open(t, t.TempDir())
	a, b := write(t, s, randomImage(t, 100, 1)), write(t, s, randomImage(t, 100, 1))
	byKey := func(k string) digest.Digest { t.Helper(); e, ok, err := s.ByKey(k); return found(t, e, ok, err) }
	byName := func(n string) digest.Digest { t.Helper(); e, ok, err := s.Lookup(n); return found(t, e, ok, err) }

	put(t, s, Entry{Digest: a, Key: "ka", Kind: KindBuilt}) // built, not published yet
	if byKey("ka") != a {
		t.Error("an image without a name is not found by its key")
	}
	if err := s.TagAll(map[string]digest.Digest{"n:1": a, "n:nightly": a}); err != nil {
		t.Fatal(err)
	}
	entries, _ := s.Entries()
	if len(entries) != 2 || entries[0].Key != "ka" || entries[1].Key != "ka" || entries[0].Kind != KindBuilt {
		t.Errorf("after tagging: %+v", entries)
	}
	// The names change to another image; the first one is kept under its key.
	put(t, s, Entry{Name: "n:1", Digest: b, Key: "kb"}, Entry{Name: "n:nightly", Digest: b, Key: "kb"})
	if byKey("ka") != a || byKey("kb") != b || byName("n:1") != b {
		t.Error("keys or names were lost when names changed")
	}
	if entries, _ = s.Entries(); len(entries) != 3 || entries[2].Name != "" {
		t.Errorf("entries: %+v", entries)
	}
	// If a key is built again with another digest, the newer image has it.
	put(t, s, Entry{Name: "n:2", Digest: b, Key: "ka"})
	if byKey("ka") != b {
		t.Error("the newer image does not have its key")
	}
	// Storing the same entry again changes nothing.
	before, _ := os.Stat(filepath.Join(s.Dir(), "index.json"))
	put(t, s, Entry{Name: "n:2", Digest: b, Key: "ka"})
	if after, _ := os.Stat(filepath.Join(s.Dir(), "index.json")); !os.SameFile(before, after) {
		t.Error("an unchanged entry rewrote the index")
	}
	if n, err := s.Remove("n:1", "n:2", "n:nightly", "n:none"); n != 3 || err != nil {
		t.Errorf("Remove = %d, %v", n, err)
	}
	if entries, _ = s.Entries(); len(entries) != 0 {
		t.Errorf("left after removing all names: %+v", entries)
	}
	for _, bad := range []string{"a b", "a\nb", "a\x00"} {
		if err := s.Put(Entry{Name: bad, Digest: a}); err == nil {
			t.Errorf("name %q accepted", bad)
		}
	}
	put(t, s, Entry{Name: "debian:trixie", Digest: a})
	if byName("docker.io/library/debian:trixie") != a || byName("debian") != "" || byName("not a name") != "" {
		t.Error("the long and the short name differ")
	}
}

func TestForget(t *testing.T) {
	s := open(t, t.TempDir())
	a, b := write(t, s, randomImage(t, 100, 1)), write(t, s, randomImage(t, 100, 1))
	old := time.Now().Add(-48 * time.Hour)
	put(t, s, Entry{Digest: a, Key: "ka", Stored: old}, Entry{Digest: b, Key: "kb"})
	if n, err := s.Forget(time.Now().Add(-24 * time.Hour)); n != 1 || err != nil {
		t.Fatalf("Forget = %d, %v", n, err)
	}
	if e, ok, err := s.ByKey("kb"); found(t, e, ok, err) != b {
		t.Error("forgot a recent key")
	}
}

func TestBatchIsOneWrite(t *testing.T) {
	s := open(t, t.TempDir())
	d := write(t, s, randomImage(t, 100, 1))
	var entries []Entry
	for i := range 187 {
		entries = append(entries, Entry{Name: fmt.Sprintf("localhost:4000/kolla/image-%d:t", i), Digest: d,
			Key: fmt.Sprint("k", i)})
	}
	put(t, s, entries...)
	entries[3].Digest = digest.FromString("absent")
	entries[2].Name = "moved:t"
	if err := s.Put(entries...); err == nil {
		t.Fatal("a batch with an absent image was put")
	}
	if _, ok, _ := s.Lookup("moved:t"); ok {
		t.Error("half a batch was put")
	}
	if entries, _ := s.Entries(); len(entries) != 187 {
		t.Errorf("%d entries", len(entries))
	}
}

func TestGC(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s := open(t, dir)
	base := randomImage(t, 1000, 1)
	layers, _ := randomImage(t, 1000, 1).Layers()
	child, err := mutate.AppendLayers(base, layers...)
	if err != nil {
		t.Fatal(err)
	}
	b, c := write(t, s, base), write(t, s, child)
	put(t, s, Entry{Name: "base:t", Digest: b}, Entry{Name: "child:t", Digest: c})
	if _, err := s.Remove("child:t"); err != nil {
		t.Fatal(err)
	}
	if res, err := s.GC(ctx); err != nil || res.Blobs != 0 {
		t.Errorf("GC removed what this process wrote: %+v, %v", res, err)
	}
	other := open(t, dir)
	var busy *BusyError
	if _, err := other.GC(ctx); !errors.As(err, &busy) {
		t.Errorf("GC beside another user: %v", err)
	}
	s.Close()
	res, err := other.GC(ctx)
	if err != nil || res.Blobs != 3 { // manifest, config and the layer that no other image has
		t.Errorf("GC = %+v, %v, want 3 blobs", res, err)
	}
	if err := other.Verify(ctx, b); err != nil {
		t.Error(err)
	}
	if err := other.Check(ctx, c); !errors.Is(err, ErrNotFound) {
		t.Errorf("child after GC: %v", err)
	}
}

func TestHistory(t *testing.T) {
	s := open(t, t.TempDir())
	for i := range 7 {
		if err := s.RecordDurations(map[string]Record{"nova": {Took: time.Duration(i+1) * time.Second,
			Size: 5}}); err != nil {
			t.Fatal(err)
		}
	}
	h := s.Durations()["nova"]
	if len(h.Last) != keepDurations || h.Last[0] != 7*time.Second || h.Median() != 5*time.Second || h.Size != 5 {
		t.Errorf("history = %+v", h)
	}
	if err := os.WriteFile(filepath.Join(s.Dir(), historyFile), []byte("{broken"), 0o644); err != nil {
		t.Fatal(err)
	}
	if h := s.Durations(); len(h) != 0 {
		t.Errorf("broken history = %v", h)
	}
}

func TestSkopeoAndLayoutRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	s := open(t, dir)
	img := randomImage(t, 10_000, 2)
	d := write(t, s, img)
	const ref = "localhost:4000/kolla/nova-api:2026.1"
	other := write(t, s, randomImage(t, 10, 1))
	put(t, s, Entry{Name: ref, Digest: d, Key: "k"}, Entry{Name: "debian:trixie", Digest: other, Kind: KindBase},
		Entry{Digest: other, Key: "kept"})

	lp, err := layout.FromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	h, _ := img.Digest()
	got, err := lp.Image(h)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(got); err != nil {
		t.Error(err)
	}
	if _, err := name.ParseReference(ref); err != nil {
		t.Error(err)
	}
	skopeo := testenv.Program(t, "skopeo", "skopeo")
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(skopeo, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("skopeo %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	var info struct{ Digest, Architecture string }
	if err := json.Unmarshal([]byte(run("inspect", "oci:"+dir+":"+ref)), &info); err != nil || info.Digest != d.String() ||
		info.Architecture != "amd64" {
		t.Errorf("skopeo inspect: %+v, %v", info, err)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	run("copy", "oci:"+dir+":"+ref, "oci:"+copied+":x:y")
	// An image that skopeo writes into the store is read like any other.
	run("copy", "oci:"+copied+":x:y", "oci:"+dir+":from/skopeo:t")
	if e, ok, err := s.Lookup("from/skopeo:t"); found(t, e, ok, err) != d {
		t.Errorf("skopeo's image: %+v %v", e, ok)
	}
	if e, ok, err := s.ByKey("kept"); found(t, e, ok, err) != other {
		t.Error("skopeo's write lost a key")
	}
	if e, ok, err := s.ByKey("k"); found(t, e, ok, err) != d {
		t.Error("skopeo's write lost a named image's key")
	}
}

func TestManyWriters(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	var wg sync.WaitGroup
	shared := randomImage(t, 2000, 2)
	for p := range 3 {
		s := open(t, dir)
		for g := range 4 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for i := range 5 {
					layers, _ := random.Layer(100, types.OCILayer)
					img, err := mutate.AppendLayers(shared, layers)
					if err != nil {
						t.Error(err)
						return
					}
					d, err := s.WriteImage(ctx, img)
					if err == nil {
						err = s.Put(Entry{Name: fmt.Sprintf("i:%d-%d-%d", p, g, i), Digest: d, Key: d.String()})
					}
					if err != nil {
						t.Error(err)
					}
				}
			}()
		}
	}
	wg.Wait()
	s := open(t, dir)
	entries, err := s.Entries()
	if err != nil || len(entries) != 60 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	for _, e := range entries {
		if err := s.Verify(ctx, e.Digest); err != nil {
			t.Error(err)
		}
	}
}

// A history that is too large to be read is not replaced, and no record is written that is.
func TestLargeRecords(t *testing.T) {
	testenv.Slow(t)
	s := open(t, t.TempDir())
	path := filepath.Join(s.Dir(), historyFile)
	if err := s.writeRecord(historyFile, strings.Repeat("x", inputfile.MaxState)); err == nil || exists(path) {
		t.Errorf("more was written than can be read (%v)", err)
	}
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, inputfile.MaxState+1)); err != nil {
		t.Fatal(err)
	}
	var large *inputfile.TooLargeError
	if err := s.RecordDurations(map[string]Record{"nova": {Took: time.Second}}); !errors.As(err, &large) {
		t.Errorf("recorded: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != inputfile.MaxState+1 {
		t.Errorf("the history was replaced (%v)", err)
	}
}

// TestDirectoryInPlaceOfBlob checks that the error names a directory that has the name of a blob.
func TestDirectoryInPlaceOfBlob(t *testing.T) {
	s := open(t, t.TempDir())
	d := digest.FromString("content")
	path := s.blobPath(d)
	if err := os.MkdirAll(filepath.Join(path, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, _, err := s.WriteBlob(t.Context(), strings.NewReader("content"), d, -1)
	var taken *OpenError
	var damaged *BlobError // the content is not damaged, and another copy of it would not help
	if !errors.As(err, &taken) || taken.Problem != ProblemInPlace || taken.Path != path || errors.As(err, &damaged) {
		t.Error(err)
	}
}
