package build

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/plan"
	digest "github.com/opencontainers/go-digest"
)

// The scheduler does not depend on the builder. These tests give it work that takes a
// fixed time on synctest's clock. The real builder runs in the tests of buildkit and
// in the end-to-end tests.

// work is the build of an image: its duration, and its errors, one for each attempt.
type work struct {
	took time.Duration
	errs []error
}

type site struct {
	work map[string]work

	mu      sync.Mutex
	order   []string
	running int
	most    int
	tries   map[string]int
	uploads map[string]error
	events  []Event
}

func (s *site) Build(ctx context.Context, it *plan.Item, _ func(Event)) (Output, error) {
	s.mu.Lock()
	s.order = append(s.order, it.Image.Name)
	s.running++
	s.most = max(s.most, s.running)
	try := s.tries[it.Image.Name]
	s.tries[it.Image.Name]++
	w := s.work[it.Image.Name]
	s.mu.Unlock()
	defer func() { s.mu.Lock(); s.running--; s.mu.Unlock() }()
	select {
	case <-time.After(w.took):
	case <-ctx.Done():
		return Output{}, context.Cause(ctx)
	}
	if try < len(w.errs) {
		return Output{}, w.errs[try]
	}
	return Output{Digest: digest.Digest("sha256:" + it.Image.Name), Size: 1}, nil
}

func (s *site) Upload(_ context.Context, it *plan.Item, _ digest.Digest) error {
	return s.uploads[it.Image.Name]
}

func (s *site) emit(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}

func newSite(w map[string]work) *site { return &site{work: w, tries: map[string]int{}} }

// items returns a plan of "child<parent" and "root" entries; a leading "=" means that
// the image is stored.
func items(t *testing.T, specs ...string) *plan.Plan {
	t.Helper()
	var in []plan.Input
	kept := map[digest.Digest]bool{}
	for _, s := range specs {
		s, keep := strings.CutPrefix(s, "=")
		name, parent, has := strings.Cut(s, "<")
		i := plan.Input{Image: image.ID{Name: name}, Reference: "r/" + name + ":t", Key: digest.FromString(name),
			Parent: image.ID{Name: parent}}
		if has {
			i.Needs = []image.ID{i.Parent}
		}
		kept[i.Key] = keep
		in = append(in, i)
	}
	return plan.New(in, plan.History{
		Stored:   func(k digest.Digest) (plan.StoredImage, bool) { return plan.StoredImage{Digest: k}, kept[k] },
		Parts:    func(image.ID) (map[string]string, bool) { return nil, false },
		Duration: func(image.ID) (time.Duration, bool) { return 0, false },
	}, false)
}

func statuses(rs []Result) string {
	var s []string
	for _, r := range rs {
		s = append(s, r.Image.String()+"="+string(r.Status))
	}
	return strings.Join(s, " ")
}

func TestFailureCostsDescendantsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(map[string]work{"nova-base": {errs: []error{errors.New("step failed")}}})
		rs := Run(t.Context(), items(t, "base", "nova-base<base", "nova-api<nova-base", "nova-x<nova-api", "cron<base"),
			Options{Builder: s, Emit: s.emit, Threads: 4, Retries: 3})
		if got, want := statuses(rs), "base=built nova-base=error nova-api=parent_error nova-x=parent_error cron=built"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if rs[3].Reason != "skipped because nova-base failed" {
			t.Errorf("a grandchild's reason is %q: it must name the first cause", rs[3].Reason)
		}
		if s.tries["nova-base"] != 1 {
			t.Errorf("a failure that will not pass was tried %d times", s.tries["nova-base"])
		}
	})
}

type passing struct{ error }

func (passing) Temporary() bool { return true }

func TestTransientFaultsAreRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := passing{errors.New("mirror in motion")}
		s := newSite(map[string]work{"base": {errs: []error{p, p}}, "far": {errs: []error{p, p, p, p}}})
		rs := Run(t.Context(), items(t, "base", "far"), Options{Builder: s, Emit: s.emit, Threads: 1, Retries: 2})
		if got, want := statuses(rs), "base=built far=error"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if s.tries["base"] != 3 || s.tries["far"] != 3 {
			t.Errorf("tries %v, want one and two more", s.tries)
		}
	})
}

// flaky is the failure of a command with unknown output.
type flaky struct {
	error
	sig string
}

func (f flaky) Signature() string { return f.sig }

func TestSameFailureTwiceIsFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := flaky{errors.New("exit 1"), "a"}, flaky{errors.New("exit 1"), "b"}
		s := newSite(map[string]work{
			"chance": {errs: []error{a}},
			"same":   {errs: []error{a, a, a, a}},
			"other":  {errs: []error{a, b, a, b}},
			"final":  {errs: []error{flaky{errors.New("exit 127"), ""}}},
		})
		rs := Run(t.Context(), items(t, "chance", "same", "other", "final"),
			Options{Builder: s, Emit: s.emit, Threads: 1, Retries: 5})
		if got, want := statuses(rs), "chance=built same=error other=error final=error"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if got := fmt.Sprint(s.tries); got != "map[chance:2 final:1 other:3 same:2]" {
			t.Errorf("tries %s", got)
		}
		if got := rs[1].Failure.Err.Error(); got != "exit 1 (tried 2 times)" {
			t.Errorf("the error is %q", got)
		}
	})
}

func TestSignaturesForgetNumbers(t *testing.T) {
	first := SignatureOf("RUN x", 1, []string{"10:22:03 pid 41: lost 0xdeadbeef", "of sha256:1234567890abcdef"})
	two := SignatureOf("RUN x", 1, []string{"10:23:59 pid 1177: lost 0xcafe", "of sha256:fedcba0987654321"})
	if first != two {
		t.Errorf("%q and %q differ", first, two)
	}
	if first == SignatureOf("RUN x", 2, []string{"10:22:03 pid 41: lost 0xdeadbeef", "of sha256:1234567890abcdef"}) {
		t.Error("another exit code is the same failure")
	}
}

func TestRetryTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := passing{errors.New("mirror in motion")}
		s := newSite(map[string]work{"base": {took: time.Minute, errs: []error{p, p, p, p, p, p}}})
		Run(t.Context(), items(t, "base"), Options{Builder: s, Emit: s.emit, Threads: 1, Retries: 9,
			RetryTime: 150 * time.Second})
		if s.tries["base"] != 2 && s.tries["base"] != 3 { // the waits are spread
			t.Errorf("%d tries of a minute each start within 150 seconds", s.tries["base"])
		}
	})
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(map[string]work{"a": {took: time.Second}, "b": {took: time.Second}, "c": {took: time.Second}})
		start := time.Now()
		rs := Run(t.Context(), items(t, "a", "b", "c", "d", "e<d"), Options{Builder: s, Emit: s.emit, Threads: 4,
			Gate: func(it *plan.Item, running int) Verdict {
				if it.Image.Name == "d" {
					return Verdict{Err: errors.New("the disk is full")}
				}
				return Verdict{Start: running == 0 && time.Since(start) >= 700*time.Millisecond}
			}})
		if got, want := statuses(rs), "a=built b=built c=built d=error e=parent_error"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if s.most != 1 || time.Since(start) != 4*time.Second {
			t.Errorf("%d at once, took %v: the gate lets one at a time, from the first poll after 700ms on",
				s.most, time.Since(start))
		}
	})
}

func TestGateFailsFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(map[string]work{})
		rs := Run(t.Context(), items(t, "a", "b"), Options{Builder: s, Emit: s.emit, Threads: 1, FailFast: true,
			Gate: func(*plan.Item, int) Verdict { return Verdict{Err: errors.New("full")} }})
		if rs[0].Status != StatusError || rs[1].Status != StatusCanceled {
			t.Errorf("%s and %s, want the first failure to be the last", rs[0].Status, rs[1].Status)
		}
	})
}

func TestThreadsBoundAndLongestPathFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := map[string]work{}
		for _, n := range []string{"base", "a", "b", "c", "deep", "deeper"} {
			w[n] = work{took: time.Second}
		}
		s := newSite(w)
		start := time.Now()
		Run(t.Context(), items(t, "base", "a<base", "b<base", "c<base", "deep<base", "deeper<deep"),
			Options{Builder: s, Emit: s.emit, Threads: 2})
		if s.most != 2 {
			t.Errorf("%d images built at once, want 2", s.most)
		}
		if !slices.Contains(s.order[1:3], "deep") { // the two start at the same time
			t.Errorf("order %v: what the most hangs on must come first", s.order)
		}
		if elapsed := time.Since(start); elapsed != 4*time.Second {
			t.Errorf("took %v, want 4s: base, then five images in two slots", elapsed)
		}
	})
}

func TestKeptImagesCostNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(nil)
		rs := Run(t.Context(), items(t, "=base", "=a<base", "b<a"), Options{Builder: s, Emit: s.emit, Threads: 1})
		if got, want := statuses(rs), "base=unchanged a=unchanged b=built"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if !slices.Equal(s.order, []string{"b"}) {
			t.Errorf("built %v", s.order)
		}
	})
}

func TestCancelEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(map[string]work{"base": {took: time.Second}, "a": {took: time.Hour}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		rs := Run(ctx, items(t, "base", "a<base", "b<a", "c"), Options{Builder: s, Emit: s.emit, Threads: 2})
		if got, want := statuses(rs), "base=built a=canceled b=canceled c=built"; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

func TestFailFastAndTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(map[string]work{"a": {took: time.Second, errs: []error{errors.New("no")}}, "b": {took: time.Hour}})
		rs := Run(t.Context(), items(t, "a", "b"), Options{Builder: s, Emit: s.emit, Threads: 2, FailFast: true})
		if got, want := statuses(rs), "a=error b=canceled"; got != want {
			t.Errorf("fail fast: got %s, want %s", got, want)
		}
		if rs[1].Reason != errFailFast.Error() {
			t.Errorf("reason %q", rs[1].Reason)
		}
		s = newSite(map[string]work{"a": {took: time.Hour}})
		rs = Run(t.Context(), items(t, "a"), Options{Builder: s, Emit: s.emit, Threads: 1, Timeout: time.Minute})
		if got := fmt.Sprint(rs[0].Status, ": ", rs[0].Reason); got != "error: not built within 1m0s" {
			t.Errorf("timeout: %s", got)
		}
	})
}

func TestUploads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(nil)
		s.uploads = map[string]error{"base": errors.New("registry is full")}
		rs := Run(t.Context(), items(t, "base", "=a<base"),
			Options{Builder: s, Uploader: s, Emit: s.emit, Threads: 1, PushThreads: 1})
		if got, want := statuses(rs), "base=push_error a=unchanged"; got != want {
			t.Errorf("got %s, want %s: a child can be built although its parent was not uploaded", got, want)
		}
		ends := 0
		for _, e := range s.events {
			if e.Kind == EventImageEnd {
				ends++
			}
		}
		if ends != 2 {
			t.Errorf("%d ends of images were emitted, want one each", ends)
		}
	})
}

func TestTransientFault(t *testing.T) {
	for line, want := range map[string]bool{
		"E: Failed to fetch http://x  Hash Sum mismatch":                                             true,
		"Err:1 http://x trixie InRelease\n  Temporary failure resolving 'x'":                         true,
		"E: Unable to locate package nosuch":                                                         false,
		"ERROR: Could not find a version that satisfies the requirement nosuch":                      false,
		"E: Failed to fetch http://x  503  Service Unavailable [IP: 10.0.0.1 80]":                    true,
		"error: RPC failed; curl 56 GnuTLS recv error; fatal: the remote end hung up unexpectedly":   true,
		"Errors during downloading metadata: Curl error (28): Timeout was reached for http://x/repo": true,
		"make: *** [all] Error 2":                                                                       false,
		"The requested URL returned error: 503":                                                         true,
		"ERROR: HTTP error 429 while getting http://x/simple/":                                          true,
		"requests.exceptions.HTTPError: 502 Server Error: Bad Gateway for url: http://x":                true,
		"ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated": true,
		"[MIRROR] x.rpm: Downloading successful, but checksum doesn't match. Calculated: 1 Expected: 2": true,
		"failed to load cache key: invalid response status 503":                                         true,
		"test_503_items ... FAILED":                                                                     false,
		"AssertionError: 500 is not 200":                                                                false,
	} {
		if got := TransientFault([]string{"before", line}); got != want {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	}
}

// TestManyUploadsAtOnce is for the race detector: builds and uploads end in any
// order.
func TestManyUploadsAtOnce(t *testing.T) {
	specs := []string{"base"}
	for i := range 300 {
		specs = append(specs, fmt.Sprintf("i%d<base", i))
	}
	s := newSite(nil)
	rs := Run(t.Context(), items(t, specs...), Options{Builder: s, Uploader: s, Emit: s.emit, Threads: 8, PushThreads: 8})
	for _, r := range rs {
		if r.Status != StatusBuilt {
			t.Fatalf("%s: %s", r.Image, r.Status)
		}
	}
}

func TestBackoffIsBounded(t *testing.T) {
	for attempt := range 100 {
		if d := backoff(attempt); d <= 0 || d > 45*time.Second {
			t.Fatalf("attempt %d waits %v", attempt, d)
		}
	}
}

// finisher takes a set time for each image, and fails for some.
type finisher struct {
	took time.Duration
	slow map[string]time.Duration // in addition, by image
	errs map[string]error

	mu    sync.Mutex
	ended map[string]time.Time
}

func (f *finisher) Finish(ctx context.Context, it *plan.Item, built Output, _ func(Event)) (Output, error) {
	select {
	case <-time.After(f.took + f.slow[it.Image.Name]):
	case <-ctx.Done():
		return Output{}, context.Cause(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended[it.Image.Name] = time.Now()
	return Output{Digest: built.Digest + "-final", Size: 2}, f.errs[it.Image.Name]
}

// TestFinish checks that children build while their parent is finished, that
// results and uploads have the final image, and that a failure to finish an
// image is its own.
func TestFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(map[string]work{"base": {took: time.Minute}, "a": {took: time.Minute}, "b": {took: time.Minute}})
		f := &finisher{took: 10 * time.Minute, errs: map[string]error{"a": errors.New("disk full")},
			ended: map[string]time.Time{}}
		start := time.Now()
		rs := Run(t.Context(), items(t, "base", "a<base", "b<a"),
			Options{Builder: s, Finisher: f, Uploader: s, Emit: s.emit, Threads: 1, PushThreads: 1})
		if got, want := statuses(rs), "base=built a=error b=built"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if elapsed := time.Since(start); elapsed != 13*time.Minute {
			t.Errorf("the run took %v: children waited for their parent's final form", elapsed)
		}
		if rs[0].Digest != "sha256:base-final" || rs[0].Size != 2 || rs[0].Duration != time.Minute {
			t.Errorf("result %+v", rs[0])
		}
		if rs[1].Reason != "disk full" {
			t.Errorf("reason %q", rs[1].Reason)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := newSite(nil)
		f := &finisher{took: time.Hour, ended: map[string]time.Time{}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		rs := Run(ctx, items(t, "base", "a<base"), Options{Builder: s, Finisher: f, Emit: s.emit, Threads: 1})
		if got, want := statuses(rs), "base=canceled a=canceled"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// TestParentsAreUploadedFirst checks that an image that is finished before its parent waits for
// the upload of that to begin: one slot may be all there is, and an uploader may wait for the
// parent. A parent that is not uploaded keeps nothing back.
func TestParentsAreUploadedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(nil)
		f := &finisher{slow: map[string]time.Duration{"base": time.Hour, "x": time.Minute},
			errs: map[string]error{"x": errors.New("disk full")}, ended: map[string]time.Time{}}
		rs := Run(t.Context(), items(t, "base", "a<base", "b<a", "x<base", "y<x"),
			Options{Builder: s, Finisher: f, Uploader: s, Emit: s.emit, Threads: 5, PushThreads: 1})
		if got, want := statuses(rs), "base=built a=built b=built x=error y=built"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		var order []string
		for _, e := range s.events {
			if e.Kind == EventPushStart {
				order = append(order, e.Image.Name)
			}
		}
		if got := strings.Join(order, " "); got != "y base a b" {
			t.Errorf("uploaded in the order %s", got)
		}
	})
}

// Images that are known to fail do so before anything is built. The rest is built, unless
// the first failure ends the run. Kept images are not looked at.
func TestKnownFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failed := func(id image.ID) error {
			if id.Name == "api" || id.Name == "kept" || id.Name == "root" {
				return errors.New("no secret")
			}
			return nil
		}
		for failFast, want := range map[bool]string{
			false: "kept=unchanged base=built api=error x=parent_error cron=built root=error",
			true:  "kept=canceled base=canceled api=error x=parent_error cron=canceled root=error",
		} {
			s := newSite(map[string]work{"base": {took: time.Hour}})
			rs := Run(t.Context(), items(t, "=kept", "base", "api<base", "x<api", "cron<base", "root"),
				Options{Builder: s, Emit: s.emit, Threads: 4, FailFast: failFast, Failed: failed})
			if got := statuses(rs); got != want {
				t.Errorf("fail-fast %v: got  %s\nwant %s", failFast, got, want)
			}
			if slices.Contains(s.order, "api") || slices.Contains(s.order, "root") {
				t.Errorf("%v were built", s.order)
			}
			if rs[2].Failure == nil || rs[2].Reason != "no secret" || rs[3].Reason != "skipped because api failed" {
				t.Errorf("%+v, %+v", rs[2], rs[3])
			}
		}
	})
}
