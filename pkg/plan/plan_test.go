package plan

import (
	"fmt"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/pkg/image"
	digest "github.com/opencontainers/go-digest"
)

func known(stored map[digest.Digest]digest.Digest, parts map[string]map[string]string,
	times map[string]time.Duration) History {
	return History{
		Stored:   func(k digest.Digest) (StoredImage, bool) { d, ok := stored[k]; return StoredImage{Digest: d}, ok },
		Parts:    func(i image.ID) (map[string]string, bool) { p, ok := parts[i.Name]; return p, ok },
		Duration: func(i image.ID) (time.Duration, bool) { t, ok := times[i.Name]; return t, ok },
	}
}

func inputs() []Input {
	return []Input{
		{Image: image.ID{Name: "base"}, Key: "k1", Parts: map[string]string{"Dockerfile": "a", "FROM debian:trixie": "x"}},
		{Image: image.ID{Name: "nova-base"}, Parent: image.ID{Name: "base"}, Needs: []image.ID{{Name: "base"}}, Key: "k2",
			Parts: map[string]string{"Dockerfile": "b"}},
		{Image: image.ID{Name: "nova-api"}, Parent: image.ID{Name: "nova-base"}, Needs: []image.ID{{Name: "nova-base"}},
			Key: "k3", Parts: map[string]string{"Dockerfile": "c"}},
		{Image: image.ID{Name: "cron"}, Parent: image.ID{Name: "base"}, Needs: []image.ID{{Name: "base"}}, Key: "k4",
			Parts: map[string]string{"Dockerfile": "d"}},
	}
}

func TestReasons(t *testing.T) {
	last := map[string]map[string]string{
		"base":      {"Dockerfile": "a", "FROM debian:trixie": "w"},
		"nova-base": {"Dockerfile": "b"},
		"cron":      {"Dockerfile": "d"},
	}
	tests := []struct {
		name   string
		stored map[digest.Digest]digest.Digest
		force  bool
		want   [4]string
	}{
		{"base image changed", nil, false, [4]string{"FROM debian:trixie changed", "parent base is built", "new",
			"parent base is built"}},
		{"all there", map[digest.Digest]digest.Digest{"k1": "d1", "k2": "d2", "k3": "d3", "k4": "d4"}, false,
			[4]string{"unchanged", "unchanged", "unchanged", "unchanged"}},
		{"leaf lost", map[digest.Digest]digest.Digest{"k1": "d1", "k2": "d2", "k3": "d3"}, false,
			[4]string{"unchanged", "unchanged", "unchanged", "not in the store"}},
		{"forced", map[digest.Digest]digest.Digest{"k1": "d1"}, true,
			[4]string{"--nocache", "--nocache", "--nocache", "--nocache"}},
	}
	for _, tt := range tests {
		p := New(inputs(), known(tt.stored, last, nil), tt.force)
		for i, it := range p.Items {
			if it.Reason != tt.want[i] {
				t.Errorf("%s: %s: reason %q, want %q", tt.name, it.Image, it.Reason, tt.want[i])
			}
			if wantKeep := tt.want[i] == "unchanged"; (it.Action == Keep) != wantKeep {
				t.Errorf("%s: %s: action %s", tt.name, it.Image, it.Action)
			}
		}
	}
}

func TestPathsAndEstimate(t *testing.T) {
	times := map[string]time.Duration{"base": 10 * time.Second, "nova-base": 20 * time.Second,
		"nova-api": 5 * time.Second, "cron": time.Second}
	p := New(inputs(), known(nil, nil, times), false)
	want := map[string]time.Duration{"base": 35 * time.Second, "nova-base": 25 * time.Second,
		"nova-api": 5 * time.Second, "cron": time.Second}
	for _, it := range p.Items {
		if it.Path != want[it.Image.Name] {
			t.Errorf("%s: path %v, want %v", it.Image, it.Path, want[it.Image.Name])
		}
	}
	if got := p.Estimate(1); got != 36*time.Second {
		t.Errorf("one slot: %v, want the sum of all work", got)
	}
	if got := p.Estimate(8); got != 35*time.Second {
		t.Errorf("eight slots: %v, want the critical path", got)
	}
	if Before(p.Items[1], p.Items[3]) >= 0 {
		t.Error("nova-base has the longer path and must come before cron")
	}
}

func TestGuessIsTheMedianOfWhatIsKnown(t *testing.T) {
	p := New(inputs(), known(nil, nil,
		map[string]time.Duration{"base": 3 * time.Second, "cron": 9 * time.Second, "nova-base": 5 * time.Second}), false)
	if got := p.Items[2].Estimate; got != 5*time.Second {
		t.Errorf("nova-api was never timed: estimate %v, want the median 5s", got)
	}
	p = New(inputs(), known(nil, nil, nil), false)
	if got := p.Items[0].Estimate; got != defaultEstimate {
		t.Errorf("nothing was ever timed: estimate %v", got)
	}
}

// Changes of an image's own inputs come before those of a parent, and packages in few
// words; programs get all of it.
func TestChangedInputs(t *testing.T) {
	parts := map[string]string{"Dockerfile": "sha256:1"}
	changed := []Change{{Input: InputPackage, Package: "nova-api", From: "3:26.0-1", To: "3:26.1-1"},
		{Input: InputPackage, Package: "nova-common", From: "3:26.0-1", To: "3:26.1-1"},
		{Input: "ADD https://host/file", From: "sha256:1", To: "sha256:2"}}
	p := New([]Input{
		{Image: image.ID{Name: "base"}, Key: "b", Parts: parts, Changes: changed[:1]},
		{Image: image.ID{Name: "api"}, Key: "a", Parts: parts, Parent: image.ID{Name: "base"},
			Needs: []image.ID{{Name: "base"}}, Changes: changed},
		{Image: image.ID{Name: "leaf"}, Key: "l", Parts: parts, Parent: image.ID{Name: "api"},
			Needs: []image.ID{{Name: "api"}}},
		{Image: image.ID{Name: "file"}, Key: "f", Parts: map[string]string{"Dockerfile": "sha256:2"}},
		{Image: image.ID{Name: "kept"}, Key: "kept", Note: "packages not looked at: repository r cannot be read: x"},
	}, History{
		Stored:   func(key digest.Digest) (StoredImage, bool) { return StoredImage{Digest: "sha256:k"}, key == "kept" },
		Parts:    func(image.ID) (map[string]string, bool) { return parts, true },
		Duration: func(image.ID) (time.Duration, bool) { return 0, false },
	}, false)
	want := []string{
		"package nova-api 3:26.0-1 → 3:26.1-1 [{package nova-api 3:26.0-1 3:26.1-1}]",
		"package nova-api 3:26.0-1 → 3:26.1-1 (and 1 more), ADD https://host/file changed; parent base is built " +
			"[{package nova-api 3:26.0-1 3:26.1-1} {package nova-common 3:26.0-1 3:26.1-1} {ADD https://host/file  sha256:1 sha256:2} {parent base   }]",
		"parent api is built [{parent api   }]",
		"Dockerfile changed [{Dockerfile  sha256:1 sha256:2}]",
		"unchanged; packages not looked at: repository r cannot be read: x []",
	}
	for i, it := range p.Items {
		type plain Change // without its String
		changes := []plain{}
		for _, c := range it.Changes {
			changes = append(changes, plain(c))
		}
		if got := fmt.Sprintf("%s %v", it.Reason, changes); got != want[i] {
			t.Errorf("%s: %s\nwant %s", it.Image, got, want[i])
		}
	}
}
