package build

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/plan"
	digest "github.com/opencontainers/go-digest"
)

// recorded is an image of testdata/times.json, with its time in a real build of three
// images at a time. The set has the names and parents of Kolla's tree, and steps that
// write up to 25 MB.
type recorded struct {
	Image   string  `json:"image"`
	Parent  string  `json:"parent"`
	Seconds float64 `json:"seconds"`
}

func readRecord(t *testing.T) []recorded {
	t.Helper()
	data, err := os.ReadFile("testdata/times.json")
	if err != nil {
		t.Fatal(err)
	}
	var set []recorded
	if err := json.Unmarshal(data, &set); err != nil {
		t.Fatal(err)
	}
	if len(set) != 187 {
		t.Fatalf("%d images are recorded, want 187", len(set))
	}
	return set
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// planOf returns the plan of a first run (timed is false) or of a later one.
func planOf(set []recorded, timed bool) *plan.Plan {
	var in []plan.Input
	known := map[string]time.Duration{}
	for _, r := range set {
		i := plan.Input{Image: image.ID{Name: r.Image}, Key: digest.FromString(r.Image), Parent: image.ID{Name: r.Parent}}
		if r.Parent != "" {
			i.Needs = []image.ID{i.Parent}
		}
		in = append(in, i)
		known[r.Image] = seconds(r.Seconds)
	}
	return plan.New(in, plan.History{
		Stored:   func(digest.Digest) (plan.StoredImage, bool) { return plan.StoredImage{}, false },
		Parts:    func(image.ID) (map[string]string, bool) { return nil, false },
		Duration: func(id image.ID) (time.Duration, bool) { return known[id.Name], timed },
	}, false)
}

// ours returns the duration of the set with this package's scheduler, on synctest's
// clock.
func ours(t *testing.T, set []recorded, slots int, timed bool) (elapsed time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := map[string]work{}
		for _, r := range set {
			w[r.Image] = work{took: seconds(r.Seconds)}
		}
		s := newSite(w)
		p := planOf(set, timed)
		started := time.Now()
		for _, r := range Run(t.Context(), p, Options{Builder: s, Emit: s.emit, Threads: slots}) {
			if r.Status != StatusBuilt {
				t.Fatalf("%s: %s", r.Image, r.Status)
			}
		}
		elapsed = time.Since(started)
		if s.most > slots {
			t.Errorf("%d images were built at once, %d may", s.most, slots)
		}
	})
	return elapsed
}

// firstCome returns the duration of the set in the order of the Python tool: worker
// threads take tasks from a queue, and a task that ends adds the children of its image,
// in the order of the tree.
func firstCome(t *testing.T, set []recorded, slots int) (elapsed time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		children := map[string][]recorded{}
		queue := make(chan recorded, len(set))
		for _, r := range set {
			if r.Parent == "" {
				queue <- r
			} else {
				children[r.Parent] = append(children[r.Parent], r)
			}
		}
		started := time.Now()
		var left, workers sync.WaitGroup
		left.Add(len(set))
		ctx, stop := context.WithCancel(t.Context())
		for range slots {
			workers.Go(func() {
				for {
					select {
					case r := <-queue:
						time.Sleep(seconds(r.Seconds))
						for _, c := range children[r.Image] {
							queue <- c
						}
						left.Done()
					case <-ctx.Done():
						return
					}
				}
			})
		}
		left.Wait()
		elapsed = time.Since(started)
		stop()
		workers.Wait()
	})
	return elapsed
}

// bounds returns lower bounds for every order. simple is the longest path or the work
// divided by the slots, whichever is longer. tight also considers that nothing can
// run in parallel with the root, which all others depend on.
func bounds(set []recorded, slots int) (simple, tight time.Duration) {
	var work, longest, root time.Duration
	path := map[string]time.Duration{}
	for _, r := range set {
		work += seconds(r.Seconds)
		path[r.Image] = path[r.Parent] + seconds(r.Seconds)
		longest = max(longest, path[r.Image])
		if r.Parent == "" {
			root = seconds(r.Seconds)
		}
	}
	return max(longest, work/time.Duration(slots)), max(longest, root+(work-root)/time.Duration(slots))
}

// TestOrderIsNearTheBound builds a recorded set with the real scheduler on a simulated
// clock. With the times of an earlier run, the result is within 5 % of the lower
// bound. `make simulate` prints the table.
func TestOrderIsNearTheBound(t *testing.T) {
	set := readRecord(t)
	var table strings.Builder
	fmt.Fprintf(&table, "| slots | path or work/slots | and nothing parallel to the root | by earlier times | first run | "+
		"first come, first served |\n|---|---|---|---|---|---|\n")
	for _, slots := range []int{2, 4, 8, 16, 32, 64} {
		simple, tight := bounds(set, slots)
		timed, first, fifo := ours(t, set, slots, true), ours(t, set, slots, false), firstCome(t, set, slots)
		over := func(d, least time.Duration) string {
			return fmt.Sprintf("+%.1f %%", 100*(d.Seconds()/least.Seconds()-1))
		}
		cell := func(d time.Duration) string { return fmt.Sprintf("%.1f s, %s", d.Seconds(), over(d, tight)) }
		fmt.Fprintf(&table, "| %d | %.1f s | %.1f s | %s (%s over the first) | %s | %s |\n", slots,
			simple.Seconds(), tight.Seconds(),
			cell(timed), over(timed, simple), cell(first), cell(fifo))
		if timed > tight+tight/20 {
			t.Errorf("%d slots: %v, more than 5 %% over %v", slots, timed, tight)
		}
		if timed > fifo+fifo/100 {
			t.Errorf("%d slots: %v, worse than first come, first served: %v", slots, timed, fifo)
		}
	}
	t.Logf("\n%s", table.String())
}
