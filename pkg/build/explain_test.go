package build

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/plan"
)

// explainer takes a minute for each error.
type explainer struct{ *site }

func (explainer) Explain(ctx context.Context, it *plan.Item, err error) error {
	select {
	case <-time.After(time.Minute):
		return fmt.Errorf("%w: explained", err)
	case <-ctx.Done():
		return err
	}
}

// Explaining a failure takes no slot of the builds, happens once for an image, and is not canceled
// by the end of the run that --fail-fast causes.
func TestExplanationsTakeNoSlot(t *testing.T) {
	for _, failFast := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := passing{errors.New("no such package")}
			s := newSite(map[string]work{"a": {took: time.Second, errs: []error{p, p}}, "b": {took: 20 * time.Second}})
			started := time.Now()
			rs := Run(t.Context(), items(t, "a", "b", "c<a"),
				Options{Builder: s, Explainer: explainer{s}, Emit: s.emit, Threads: 1, Retries: 1, FailFast: failFast})
			want := "a=error b=built c=parent_error"
			if failFast {
				want = "a=error b=canceled c=parent_error"
			}
			if got := statuses(rs); got != want {
				t.Errorf("fail-fast %v: got %s, want %s", failFast, got, want)
			}
			if got := rs[0].Failure.Err.Error(); got != "no such package: explained (tried 2 times)" {
				t.Errorf("fail-fast %v: the error is %q", failFast, got)
			}
			// b is built while a is explained.
			if took := time.Since(started); took > 70*time.Second {
				t.Errorf("fail-fast %v: the run took %v", failFast, took)
			}
		})
	}
}

// The expected time of a run does not contain images that cannot be built.
func TestEstimateLeavesOutFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(map[string]work{"step": {errs: []error{errors.New("failed")}}, "base": {took: 30 * time.Second}})
		known := func(id image.ID) error {
			if id.Name == "known" {
				return errors.New("no such source")
			}
			return nil
		}
		Run(t.Context(), items(t, "known", "known-child<known", "known-leaf<known-child", "step",
			"step-child<step", "step-leaf<step-child",
			"base"),
			Options{Builder: s, Emit: s.emit, Threads: 8, Failed: known})
		var estimates []time.Duration
		for _, e := range s.events {
			if e.Kind == EventRunStart || e.Kind == EventEstimate {
				estimates = append(estimates, e.Estimate)
			}
		}
		// Each image is expected to take 30 s: 90 s with the three images of step, 30 s without them.
		if want := []time.Duration{90 * time.Second, 90 * time.Second, 30 * time.Second}; !slices.Equal(estimates, want) {
			t.Errorf("expected times %v, want %v", estimates, want)
		}
	})
}

// Failures that differ only in the names of temporary files are of one kind.
func TestSignatureOfTemporaryFiles(t *testing.T) {
	a := SignatureOf("RUN x", 1, nil, []string{"mv: /tmp/tmp.Kq3ZxYvW1a/x: failed", "in tmpq_kzvxa"})
	if b := SignatureOf("RUN x", 1, nil, []string{"mv: /tmp/tmp.aBcDeFgHiJ/x: failed", "in tmpab_defg"}); a != b {
		t.Errorf("%q and %q", a, b)
	}
	if SignatureOf("RUN x", 1, []string{"a"}, nil) == SignatureOf("RUN x", 1, nil, []string{"b"}) {
		t.Error("different output has the same signature")
	}
}
