package save

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/retry"
	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// damagingSource is a source one of whose blobs arrives damaged for some times.
type damagingSource struct {
	*store.Store
	blob  digest.Digest
	times int
}

func (s *damagingSource) OpenBlob(d digest.Digest) (io.ReadCloser, error) {
	r, err := s.Store.OpenBlob(d)
	if err != nil || d != s.blob || s.times == 0 {
		return r, err
	}
	s.times--
	return &damagingReader{r}, nil
}

type damagingReader struct{ io.ReadCloser }

func (r *damagingReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	for i := range p[:n] {
		p[i] ^= 1
	}
	if err == io.EOF {
		err = &retry.Error{Err: errors.New("the content is damaged"), Again: true}
	}
	return n, err
}

// Content that arrives damaged is read again, and nothing of it is in the result.
func TestDamagedReads(t *testing.T) {
	policy := damagedReads
	damagedReads.BaseDelay = time.Millisecond
	t.Cleanup(func() { damagedReads = policy })
	s, entries := storetest.FillSize(t, 40_000)
	blobs := testenv.Must[[]blob](t)(largeBlobs(t, s, entries))
	for output, opts := range map[string]Options{"set.tar": {}, "set.tgz": {Compression: Gzip},
		"parts.tar": {Split: 70_000, Parity: 20}, "set/": {}} {
		want := contents(t, saved(t, s, entries, output, opts))
		for _, b := range blobs {
			dir := t.TempDir()
			source := &damagingSource{s, b.digest, damagedReads.Retries}
			testenv.Must[Summary](t)(Bundle(t.Context(), source, entries, dir+"/"+output, opts))
			if got := contents(t, dir); got != want {
				t.Errorf("%s, %s damaged: the result differs", output, b.digest)
			}
		}
		source := &damagingSource{s, blobs[0].digest, 1000}
		dir := t.TempDir()
		if _, err := Bundle(t.Context(), source, entries, dir+"/"+output, opts); err == nil || source.times < 1000-10 {
			t.Errorf("%s, always damaged: %v after %d readings", output, err, 1000-source.times)
		}
		if _, err := os.Stat(filepath.Join(dir, "index.json")); err == nil {
			t.Errorf("%s, always damaged: there is an index", output)
		}
		// What the failed save has left does no harm.
		testenv.Must[Summary](t)(Bundle(t.Context(), s, entries, dir+"/"+output, opts))
		if got := contents(t, dir); got != want {
			t.Errorf("%s, saved again: the result differs", output)
		}
	}
	var out bytes.Buffer
	if _, err := Bundle(t.Context(), &damagingSource{s, blobs[0].digest, 1}, entries, "-",
		Options{Stdout: &out}); err == nil {
		t.Error("a stream with damaged content was written")
	}
}

// saved saves to a new directory, and returns it.
func saved(t *testing.T, s *store.Store, entries []store.Entry, output string, opts Options) string {
	t.Helper()
	dir := t.TempDir()
	testenv.Must[Summary](t)(Bundle(t.Context(), s, entries, dir+"/"+output, opts))
	return dir
}

// largeBlobs returns the layers of images.
func largeBlobs(t *testing.T, s *store.Store, entries []store.Entry) ([]blob, error) {
	t.Helper()
	p, err := newPlan(t.Context(), s, entries, nil)
	if err != nil {
		return nil, err
	}
	return p.large, nil
}
