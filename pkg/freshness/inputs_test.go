package freshness

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/define"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/plan"
)

func named(names ...string) []image.ID {
	var ids []image.ID
	for _, n := range names {
		ids = append(ids, image.ID{Name: n})
	}
	return ids
}

func inputsOf(t *testing.T, dir string, images []define.Image) *Inputs {
	t.Helper()
	s, err := openStates(dir)
	if err != nil {
		t.Fatal(err)
	}
	in := &Inputs{states: s, content: map[image.ID]digest.Digest{}, next: map[image.ID]state{}}
	for _, im := range images {
		in.content[im.ID] = im.Key
	}
	return in
}

// The effective key is the content key until an input of the image or of an
// ancestor changed. Then it changes for the image and its descendants only.
func TestEffectiveKeys(t *testing.T) {
	dir := t.TempDir()
	images := []define.Image{
		{ID: image.ID{Name: "base"}, Key: "kb"},
		{ID: image.ID{Name: "app"}, Key: "ka", Needs: named("base")},
		{ID: image.ID{Name: "other"}, Key: "ko", Needs: named("base")},
		{ID: image.ID{Name: "leaf"}, Key: "kl", Needs: named("app", "other")},
		{ID: image.ID{Name: "broken"}, Needs: named("app")},
	}
	in := inputsOf(t, dir, images)
	before := in.effectiveKeys(images)
	if !maps.Equal(before, in.content) {
		t.Errorf("without changes, keys are %v", before)
	}
	in.next[image.ID{Name: "app"}] = state{Image: "app", Salt: "s1"}
	after := in.effectiveKeys(images)
	for name, same := range map[string]bool{"base": true, "other": true, "broken": true, "app": false, "leaf": false} {
		id := image.ID{Name: name}
		if (after[id] == before[id]) != same {
			t.Errorf("%s: key %q, before %q", id, after[id], before[id])
		}
	}
	if err := in.Settle(image.ID{Name: "app"}); err != nil {
		t.Fatal(err)
	}

	// A later run has the same keys, and concurrent runs keep each other's states.
	later, concurrent := inputsOf(t, dir, images), inputsOf(t, dir, images)
	concurrent.states.put("ko", state{Image: "other", Salt: "s2"})
	if err := concurrent.states.save(); err != nil {
		t.Fatal(err)
	}
	later.states.put("kb", state{Image: "base"})
	if err := later.states.save(); err != nil {
		t.Fatal(err)
	}
	if keys := later.effectiveKeys(images); !maps.Equal(keys, after) {
		t.Errorf("a later run has keys %v, want %v", keys, after)
	}
	all := inputsOf(t, dir, images).states.all
	if all["ka"].Salt != "s1" || all["ko"].Salt != "s2" || all["kb"].Image != "base" {
		t.Errorf("states %v", all)
	}
}

func TestSaltDependsOnHistoryAndChange(t *testing.T) {
	x, y := []plan.Change{{Input: "x"}}, []plan.Change{{Input: "y"}}
	same := []plan.Change{{Input: "x"}}
	if salt("a", x) == salt("b", x) || salt("a", x) == salt("a", y) || salt("a", x) != salt("a", same) {
		t.Error("a salt must depend on the old one and on what changed, and on nothing else")
	}
}

// Effective keys of 756dd7a must stay: stores have images under them.
func TestEffectiveKeyIsStable(t *testing.T) {
	images := []define.Image{{ID: image.ID{Name: "a", Platform: "linux/arm64"}, Key: "ka"},
		{ID: image.ID{Name: "a-b", Platform: "linux/arm64"}, Key: "kb"},
		{ID: image.ID{Name: "c", Platform: "linux/arm64"}, Key: "kc",
			Needs: []image.ID{{Name: "a", Platform: "linux/arm64"}, {Name: "a-b", Platform: "linux/arm64"}}}}
	in := inputsOf(t, t.TempDir(), images)
	in.next[images[0].ID] = state{Salt: "s"}
	keys := in.effectiveKeys(images)
	first := digest.FromString("kolla-build effective key 1\nka\ns\n")
	// "a-b@arm64" sorts before "a@arm64".
	if want := digest.FromString("kolla-build effective key 1\nkc\n\nkb\n" + first.String() + "\n"); keys[images[0].ID] != first ||
		keys[images[2].ID] != want {
		t.Errorf("keys %v, want %s and %s", keys, first, want)
	}
}

func TestReadOnlyStoresNothing(t *testing.T) {
	dir := t.TempDir()
	in := inputsOf(t, dir, nil)
	in.opts.ReadOnly = true
	in.next[image.ID{Name: "app"}] = state{Salt: "s1"}
	if err := in.Settle(image.ID{Name: "app"}); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("the data directory has %v, %v", entries, err)
	}
}

func TestDamagedStateIsAnError(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "inputs.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := openStates(dir); err == nil || !strings.Contains(usererr.Hint(err), "--nocache") {
		t.Errorf("a damaged file: %v", err)
	}
}

// A file that reaches the limit loses the states that were unused for longest, and those with a
// salt last. It can always be read and written again, also if an earlier version wrote more.
func TestStatesNeverExceedTheirLimit(t *testing.T) {
	testenv.Slow(t)
	dir := t.TempDir()
	s, err := openStates(dir)
	if err != nil {
		t.Fatal(err)
	}
	key := func(i int) digest.Digest { return digest.FromString(strconv.Itoa(i)) }
	now := time.Now()
	for i := range 70 {
		st := state{Image: strings.Repeat("x", 1<<20), Used: now.Add(-time.Duration(i) * time.Hour)}
		if i == 69 {
			st.Salt = "s"
		}
		s.unsaved[key(i)] = st
	}
	if err := s.save(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(s.path); err != nil || info.Size() > inputfile.MaxState || info.Size() < inputfile.MaxState/2 {
		t.Errorf("%d bytes (%v)", info.Size(), err)
	}
	if s, err = openStates(dir); err != nil {
		t.Fatal(err)
	}
	for i, want := range map[int]bool{0: true, 30: true, 68: false, 69: true} {
		if _, kept := s.all[key(i)]; kept != want {
			t.Errorf("state %d is kept: %t", i, kept)
		}
	}
	f, err := os.OpenFile(s.path, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.Write(bytes.Repeat([]byte(" "), 20<<20)) // as large as one of an earlier version
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	if s, err = openStates(dir); err != nil {
		t.Fatal(err)
	}
	s.put(key(100), state{})
	if err := s.save(); err != nil {
		t.Error(err)
	}
}
