package plan

import (
	"testing"
	"time"
)

func known(stored map[string]string, parts map[string]map[string]string, times map[string]time.Duration) Known {
	return Known{
		Stored:   func(k string) (string, bool) { d, ok := stored[k]; return d, ok },
		Parts:    func(i string) (map[string]string, bool) { p, ok := parts[i]; return p, ok },
		Duration: func(i string) (time.Duration, bool) { t, ok := times[i]; return t, ok },
	}
}

func inputs() []Input {
	return []Input{
		{Image: "base", Key: "k1", Parts: map[string]string{"Dockerfile": "a", "FROM debian:trixie": "x"}},
		{Image: "nova-base", Parent: "base", Needs: []string{"base"}, Key: "k2", Parts: map[string]string{"Dockerfile": "b"}},
		{Image: "nova-api", Parent: "nova-base", Needs: []string{"nova-base"}, Key: "k3", Parts: map[string]string{"Dockerfile": "c"}},
		{Image: "cron", Parent: "base", Needs: []string{"base"}, Key: "k4", Parts: map[string]string{"Dockerfile": "d"}},
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
		stored map[string]string
		force  bool
		want   [4]string
	}{
		{"base image moved", nil, false, [4]string{"FROM debian:trixie changed", "parent base is built", "new", "parent base is built"}},
		{"all there", map[string]string{"k1": "d1", "k2": "d2", "k3": "d3", "k4": "d4"}, false, [4]string{"unchanged", "unchanged", "unchanged", "unchanged"}},
		{"leaf lost", map[string]string{"k1": "d1", "k2": "d2", "k3": "d3"}, false, [4]string{"unchanged", "unchanged", "unchanged", "not in the store"}},
		{"forced", map[string]string{"k1": "d1"}, true, [4]string{"asked for without cache", "asked for without cache", "asked for without cache", "asked for without cache"}},
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
	times := map[string]time.Duration{"base": 10 * time.Second, "nova-base": 20 * time.Second, "nova-api": 5 * time.Second, "cron": time.Second}
	p := New(inputs(), known(nil, nil, times), false)
	want := map[string]time.Duration{"base": 35 * time.Second, "nova-base": 25 * time.Second, "nova-api": 5 * time.Second, "cron": time.Second}
	for _, it := range p.Items {
		if it.Path != want[it.Image] {
			t.Errorf("%s: path %v, want %v", it.Image, it.Path, want[it.Image])
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
	p := New(inputs(), known(nil, nil, map[string]time.Duration{"base": 3 * time.Second, "cron": 9 * time.Second, "nova-base": 5 * time.Second}), false)
	if got := p.Items[2].Estimate; got != 5*time.Second {
		t.Errorf("nova-api was never timed: estimate %v, want the median 5s", got)
	}
	p = New(inputs(), known(nil, nil, nil), false)
	if got := p.Items[0].Estimate; got != DefaultEstimate {
		t.Errorf("nothing was ever timed: estimate %v", got)
	}
}
