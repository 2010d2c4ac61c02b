package pipeline

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/plan"
	digest "github.com/opencontainers/go-digest"
)

// The effective key is the content key until an input of the image or of one
// it stands on moved; then it changes for both, and for nobody beside them.
func TestEffectiveKeys(t *testing.T) {
	cfg := &config.Config{DataDir: t.TempDir()}
	states, err := openInputStates(cfg)
	if err != nil {
		t.Fatal(err)
	}
	inputs := []plan.Input{{Image: image.ID{Name: "base"}, Key: "kb"}, {Image: image.ID{Name: "app"}, Key: "ka", Needs: []image.ID{{Name: "base"}}}, {Image: image.ID{Name: "other"}, Key: "ko", Needs: []image.ID{{Name: "base"}}},
		{Image: image.ID{Name: "leaf"}, Key: "kl", Needs: []image.ID{{Name: "app"}, {Name: "other"}}}, {Image: image.ID{Name: "broken"}, Needs: []image.ID{{Name: "app"}}}}
	m := &moving{states: states, bare: map[image.ID]digest.Digest{}, next: map[image.ID]inputState{}}
	for _, in := range inputs {
		m.bare[in.Image] = in.Key
	}
	plain := m.keys(inputs)
	if !maps.Equal(plain, m.bare) {
		t.Errorf("where nothing moved, keys are %v", plain)
	}
	m.next[image.ID{Name: "app"}] = inputState{Image: "app", Salt: "s1"}
	moved := m.keys(inputs)
	for name, same := range map[string]bool{"base": true, "other": true, "broken": true, "app": false, "leaf": false} {
		id := image.ID{Name: name}
		if (moved[id] == plain[id]) != same {
			t.Errorf("%s: key %q, before %q", id, moved[id], plain[id])
		}
	}
	if err := m.settle(image.ID{Name: "app"}); err != nil {
		t.Fatal(err)
	}

	// Another run finds it, and what a run beside it wrote is kept.
	again, err := openInputStates(cfg)
	if err != nil {
		t.Fatal(err)
	}
	beside, err := openInputStates(cfg)
	if err != nil {
		t.Fatal(err)
	}
	beside.put("ko", inputState{Image: "other", Salt: "s2"})
	if err := beside.save(); err != nil {
		t.Fatal(err)
	}
	again.put("kb", inputState{Image: "base"})
	if err := again.save(); err != nil {
		t.Fatal(err)
	}
	last, err := openInputStates(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if last.get("ka").Salt != "s1" || last.get("ko").Salt != "s2" || last.get("kb").Image != "base" {
		t.Errorf("states %v", last.all)
	}
	n := &moving{states: again, bare: m.bare, next: map[image.ID]inputState{}}
	if !maps.Equal(n.keys(inputs), moved) {
		t.Errorf("another run has keys %v, want %v", n.keys(inputs), moved)
	}
	if salt("a", []plan.Change{{Input: "x"}}) == salt("b", []plan.Change{{Input: "x"}}) || salt("a", []plan.Change{{Input: "x"}}) == salt("a", []plan.Change{{Input: "y"}}) {
		t.Error("the salt does not follow from what was and what moved")
	}

	if err := os.WriteFile(filepath.Join(cfg.DataDir, "inputs.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := openInputStates(cfg); err == nil || !strings.Contains(usererr.Hint(err), "--nocache") {
		t.Errorf("of a damaged file: %v", err)
	}
}
