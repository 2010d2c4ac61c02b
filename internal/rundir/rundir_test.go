package rundir

import (
	"errors"
	"io/fs"
	"slices"
	"testing"
	"time"
)

func TestNamesAreUniqueAndOrdered(t *testing.T) {
	at := time.Date(2026, 3, 1, 4, 5, 6, 0, time.FixedZone("elsewhere", 7200))
	for _, first := range []string{Name(at), NameUTC(at)} {
		var names []string
		for range 11 {
			err := Create(first, func(name string) error {
				if slices.Contains(names, name) {
					return fs.ErrExist
				}
				names = append(names, name)
				return nil
			})
			if last := names[len(names)-1]; err != nil || IsName(last) == IsNameUTC(last) {
				t.Fatalf("%q, %v", last, err)
			}
		}
		sorted := slices.Clone(names)
		slices.Reverse(sorted)
		slices.SortFunc(sorted, Compare)
		if !slices.Equal(sorted, names) {
			t.Errorf("%q, want %q", sorted, names)
		}
	}
}

func TestCreateReturnsOtherErrors(t *testing.T) {
	want := errors.New("read-only")
	if err := Create("2026-03-01T040506", func(string) error { return want }); err != want {
		t.Errorf("%v, want %v", err, want)
	}
}

func TestOtherNamesAreNotThoseOfRuns(t *testing.T) {
	for _, name := range []string{"latest", "2026-03-01", "2026-03-01T040506Z-", "x2026-03-01T040506",
		"2026-03-01T040506-a"} {
		if IsName(name) || IsNameUTC(name) {
			t.Errorf("%q is treated as the directory of a run", name)
		}
	}
}
