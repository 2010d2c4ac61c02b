package load

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/bundle/contents"
	"github.com/kolla-build/kolla-build/pkg/bundle/save"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// threeMonths returns the bundle of a first month, the byte deltas of the second and the
// third one, each made since the bundle before it, and the images of the third month.
func threeMonths(t *testing.T) (files []string, last []store.Entry) {
	t.Helper()
	st, dir := storetest.Open(t), t.TempDir()
	for month := range 3 {
		last = nil
		for i := range 3 {
			last = append(last, storetest.PutImage(t, st, fmt.Sprintf("kolla/image%d:t", i), storetest.LayerTar(1, 60, month),
				storetest.LayerTar(uint64(10+i), 20, month)))
		}
		opts := save.Options{}
		if month > 0 {
			inv, err := contents.Inventory(t.Context(), files[month-1], st)
			if err != nil {
				t.Fatal(err)
			}
			opts = save.Options{Since: inv, ByteDeltas: true}
		}
		file := filepath.Join(dir, fmt.Sprintf("month%d.tar", month))
		sum := testenv.Must[save.Summary](t)(save.Bundle(t.Context(), st, last, file, opts))
		if month > 0 && sum.Deltas != 4 {
			t.Fatalf("month %d has %d byte deltas, want 4", month, sum.Deltas)
		}
		files = append(files, file)
	}
	return files, last
}

// checkImages checks that the store has these images, with all their content.
func checkImages(t *testing.T, st *store.Store, want []store.Entry) {
	t.Helper()
	for _, e := range want {
		got, found, err := st.Lookup(e.Name)
		if err != nil || !found || got.Digest != e.Digest {
			t.Errorf("%s is %s (%v), want %s", e.Name, got.Digest, err, e.Digest)
		}
		if err := st.Verify(t.Context(), e.Digest); err != nil {
			t.Errorf("%s: %v", e.Name, err)
		}
	}
}

// A site that lacks a month refuses the next one and changes nothing. It loads both later,
// in order, and a month that it has already changes nothing either.
func TestDeltasOfThreeMonths(t *testing.T) {
	testenv.Slow(t)
	files, last := threeMonths(t)
	site := storetest.Open(t)
	load := func(month int) (Summary, error) {
		return Bundle(t.Context(), files[month], site, Options{Replace: true})
	}
	names := func() []store.Entry { return testenv.Must[[]store.Entry](t)(site.Entries()) }
	if _, err := load(0); err != nil {
		t.Fatal(err)
	}
	before, blobs := names(), storetest.BlobCount(t, site)
	for range 2 {
		var missing *MissingError
		if _, err := load(2); !errors.As(err, &missing) {
			t.Errorf("the third month without the second: %v", err)
		}
		if !slices.Equal(names(), before) || storetest.BlobCount(t, site) != blobs {
			t.Error("the store has changed")
		}
	}
	for _, month := range []int{1, 2, 2} {
		if _, err := load(month); err != nil {
			t.Fatalf("month %d: %v", month, err)
		}
	}
	checkImages(t, site, last)
	blobs = storetest.BlobCount(t, site)
	sum, err := load(2)
	if err != nil || sum.Reused != sum.Blobs || storetest.BlobCount(t, site) != blobs {
		t.Errorf("the third month again: %+v, %v", sum, err)
	}
	if _, err := Bundle(t.Context(), files[1], site, Options{}); err == nil {
		t.Error("the second month replaced the third without being asked to")
	}
}

// Loads of the same delta into one store, at the same time, all succeed.
func TestLoadsAtOnce(t *testing.T) {
	testenv.Slow(t)
	files, last := threeMonths(t)
	dir := filepath.Join(t.TempDir(), "store")
	for _, file := range files {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				st, err := store.Open(dir)
				if err != nil {
					t.Error(err)
					return
				}
				defer st.Close()
				if _, err := Bundle(t.Context(), file, st, Options{Replace: true}); err != nil {
					t.Errorf("%s: %v", filepath.Base(file), err)
				}
			})
		}
		wg.Wait()
	}
	st := testenv.Must[*store.Store](t)(store.Open(dir))
	defer st.Close()
	checkImages(t, st, last)
}
