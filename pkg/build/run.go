package build

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kolla-build/kolla-build/pkg/plan"
)

// Output is what a builder made of an image.
type Output struct {
	Digest string // of the manifest
	Size   int64  // bytes, compressed
}

// Builder builds one image of a plan. Its parents are built when it is called.
// emit takes events of the image's steps and logs and does not block.
type Builder interface {
	Build(ctx context.Context, item *plan.Item, emit func(Event)) (Output, error)
}

// Uploader brings a finished image to where the set will be published, under
// its digest; tags are not its business.
type Uploader interface {
	Upload(ctx context.Context, item *plan.Item, digest string) error
}

// LoadError is an Uploader's error that is a container engine's, not a
// registry's.
type LoadError struct{ Err error }

func (e *LoadError) Error() string { return e.Err.Error() }

func (e *LoadError) Unwrap() error { return e.Err }

// Options say how a plan is run.
type Options struct {
	Builder  Builder
	Uploader Uploader    // nil if nothing is published
	Emit     func(Event) // must not block; required

	Threads     int // images that build at once, at least 1
	PushThreads int // images that upload at once, at least 1
	Retries     int // times that an image is tried again after a passing fault
	FailFast    bool

	// RetryTime bounds the time from an image's first try to its last one's
	// start; 0 for no bound.
	RetryTime time.Duration

	// Gate is asked before each build that Threads would let start; nil lets
	// all start. It must not block.
	Gate func(it *plan.Item, running int) Verdict

	// Timeout bounds one image's build, 0 for no bound.
	Timeout time.Duration
}

// Verdict is what a gate says about starting an image now: Start it, or wait,
// or, with Err, do without it.
type Verdict struct {
	Start bool
	Err   error
}

// gatePoll is how often a gate that said wait is asked again, if nothing that
// runs ends before.
const gatePoll = 500 * time.Millisecond

// Run runs a plan and returns one result for each of its items, in the plan's
// order. What fails costs its descendants only. When ctx ends, running builds
// are stopped and what has not finished is canceled.
func Run(ctx context.Context, p *plan.Plan, opts Options) []*Result {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r := &run{opts: opts, stop: stop, results: map[string]*Result{}, items: map[string]*plan.Item{},
		waits: map[string]int{}, children: map[string][]*plan.Item{}, done: make(chan finished)}
	start := time.Now()
	opts.Emit(Event{Time: start, Kind: EventRunStart, Total: p.ToBuild(), Estimate: p.Estimate(opts.Threads)})
	r.queue(p)
	r.loop(ctx)
	opts.Emit(Event{Time: time.Now(), Kind: EventRunEnd, Duration: time.Since(start)})
	results := make([]*Result, 0, len(p.Items))
	for _, it := range p.Items {
		results = append(results, r.results[it.Image])
	}
	return results
}

// run is the state of one Run. One goroutine, loop's, touches it.
type run struct {
	opts     Options
	stop     context.CancelCauseFunc
	items    map[string]*plan.Item
	results  map[string]*Result
	waits    map[string]int          // needs not yet there
	children map[string][]*plan.Item // by need
	ready    byPath
	uploads  []*plan.Item
	building int
	pushing  int
	held     bool // the gate lets nothing start
	done     chan finished
}

// finished is the end of a build or an upload.
type finished struct {
	item    *plan.Item
	started time.Time
	out     Output
	err     error
	tries   int
	upload  bool
}

var errFailFast = errors.New("stopped after the first failure")

func (r *run) queue(p *plan.Plan) {
	for _, it := range p.Items {
		r.items[it.Image] = it
	}
	for _, it := range p.Items {
		for _, n := range it.Needs {
			if r.items[n] != nil {
				r.waits[it.Image]++
				r.children[n] = append(r.children[n], it)
			}
		}
		if r.waits[it.Image] == 0 {
			heap.Push(&r.ready, it)
		}
	}
}

func (r *run) loop(ctx context.Context) {
	for {
		r.startWhatCan(ctx)
		var again <-chan time.Time
		if r.held {
			again = time.After(gatePoll)
		} else if r.building+r.pushing == 0 {
			return
		}
		var f finished
		select {
		case f = <-r.done:
		case <-again:
			continue
		}
		if f.upload {
			r.pushing--
			r.uploaded(ctx, f)
		} else {
			r.building--
			r.built(ctx, f)
		}
	}
}

func (r *run) startWhatCan(ctx context.Context) {
	r.held = false
	for !r.held && r.ready.Len() > 0 && (r.building < max(1, r.opts.Threads) || r.ready[0].Action == plan.Keep) {
		it := heap.Pop(&r.ready).(*plan.Item)
		switch {
		case ctx.Err() != nil:
			r.cancel(ctx, it)
		case it.Action == plan.Keep:
			r.succeed(it, &Result{Status: StatusUnchanged, Digest: it.Digest})
		default:
			if v := r.gate(it); v.Err != nil {
				r.fail(it, &Result{Status: StatusError, Reason: firstLine(v.Err), Failure: failure(v.Err, 1)})
				if r.opts.FailFast {
					r.stop(errFailFast)
				}
				continue
			} else if !v.Start {
				heap.Push(&r.ready, it)
				r.held = true
				continue
			}
			r.building++
			go func() {
				started := time.Now()
				out, tries, err := r.build(ctx, it)
				r.done <- finished{item: it, started: started, out: out, tries: tries, err: err}
			}()
		}
	}
	for len(r.uploads) > 0 && r.pushing < max(1, r.opts.PushThreads) {
		it := r.uploads[0]
		r.uploads = r.uploads[1:]
		if ctx.Err() != nil {
			r.end(it, StatusCanceled, "not uploaded: "+cause(ctx), nil)
			continue
		}
		r.pushing++
		digest := r.results[it.Image].Digest // the map is this goroutine's alone
		go func() {
			r.opts.Emit(Event{Time: time.Now(), Kind: EventPushStart, Image: it.Image})
			err := r.opts.Uploader.Upload(ctx, it, digest)
			end := Event{Time: time.Now(), Kind: EventPushEnd, Image: it.Image}
			if err != nil {
				end.Step.Err = firstLine(err)
			}
			r.opts.Emit(end)
			r.done <- finished{item: it, err: err, upload: true}
		}()
	}
}

func (r *run) gate(it *plan.Item) Verdict {
	if r.opts.Gate == nil {
		return Verdict{Start: true}
	}
	return r.opts.Gate(it, r.building)
}

// build tries an image until it is built, fails for good, or has been tried
// often or long enough. It returns the number of tries too.
func (r *run) build(ctx context.Context, it *plan.Item) (Output, int, error) {
	r.opts.Emit(Event{Time: time.Now(), Kind: EventImageStart, Image: it.Image, Estimate: it.Estimate})
	if r.opts.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.opts.Timeout, fmt.Errorf("not built within %v", r.opts.Timeout))
		defer cancel()
	}
	started, seen := time.Now(), map[string]bool{}
	for tries := 1; ; tries++ {
		out, err := r.opts.Builder.Build(ctx, it, r.opts.Emit)
		if err == nil || ctx.Err() != nil || tries > r.opts.Retries {
			return out, tries, err
		}
		why, worth := again(err, seen)
		wait := backoff(tries - 1)
		if !worth || r.opts.RetryTime > 0 && time.Since(started)+wait > r.opts.RetryTime {
			return out, tries, err
		}
		r.opts.Emit(Event{Time: time.Now(), Kind: EventMessage,
			Text: fmt.Sprintf("%s: %s, trying again in %v (%d of %d): %v", it.Image, why, wait.Round(time.Second), tries, r.opts.Retries, firstLine(err))})
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return out, tries, context.Cause(ctx)
		}
	}
}

func (r *run) built(ctx context.Context, f finished) {
	res := &Result{Started: f.started, Duration: time.Since(f.started), Digest: f.out.Digest, Size: f.out.Size}
	switch {
	case f.err == nil:
		res.Status, res.Reason = StatusBuilt, f.item.Reason
		r.succeed(f.item, res)
	case ctx.Err() != nil:
		res.Status, res.Reason = StatusCanceled, cause(ctx)
		r.fail(f.item, res)
	default:
		res.Status, res.Reason, res.Failure = StatusError, firstLine(f.err), failure(f.err, f.tries)
		r.fail(f.item, res)
		if r.opts.FailFast {
			r.stop(errFailFast)
		}
	}
}

// succeed records a built or kept image, and lets its children go.
func (r *run) succeed(it *plan.Item, res *Result) {
	if res.Reason == "" {
		res.Reason = it.Reason
	}
	r.record(it, res)
	for _, c := range r.children[it.Image] {
		r.waits[c.Image]--
		if r.waits[c.Image] == 0 && r.results[c.Image] == nil {
			heap.Push(&r.ready, c)
		}
	}
	if r.opts.Uploader != nil {
		r.uploads = append(r.uploads, it)
		return
	}
	r.tell(res)
}

func (r *run) fail(it *plan.Item, res *Result) {
	r.record(it, res)
	r.tell(res)
	r.skipChildren(it, it.Image, res.Status)
}

// skipChildren marks what stands on a failed image. The first cause keeps its
// name down to the last descendant.
func (r *run) skipChildren(it *plan.Item, culprit string, why Status) {
	for _, c := range r.children[it.Image] {
		if r.results[c.Image] != nil {
			continue
		}
		res := &Result{Status: StatusParentError, Reason: "skipped because " + culprit + " failed"}
		if why == StatusCanceled {
			res.Status, res.Reason = StatusCanceled, "skipped because "+culprit+" was canceled"
		}
		r.record(c, res)
		r.tell(res)
		r.skipChildren(c, culprit, why)
	}
}

func (r *run) cancel(ctx context.Context, it *plan.Item) {
	if r.results[it.Image] == nil {
		r.fail(it, &Result{Status: StatusCanceled, Reason: cause(ctx)})
	}
}

func (r *run) uploaded(ctx context.Context, f finished) {
	switch {
	case f.err == nil:
		r.tell(r.results[f.item.Image])
	case ctx.Err() != nil:
		r.end(f.item, StatusCanceled, "not uploaded: "+cause(ctx), nil)
	default:
		// Children are not touched: the image is built, and they can be.
		status := StatusPushError
		var load *LoadError
		if errors.As(f.err, &load) {
			status = StatusLoadError
		}
		r.end(f.item, status, firstLine(f.err), failure(f.err, 1))
		if r.opts.FailFast {
			r.stop(errFailFast)
		}
	}
}

// end changes the outcome of an image that was recorded before.
func (r *run) end(it *plan.Item, s Status, reason string, f *Failure) {
	res := r.results[it.Image]
	res.Status, res.Reason, res.Failure = s, reason, f
	r.tell(res)
}

func (r *run) record(it *plan.Item, res *Result) {
	res.Image, res.Reference, res.Parent = it.Image, it.Reference, it.Parent
	r.results[it.Image] = res
}

func (r *run) tell(res *Result) {
	r.opts.Emit(Event{Time: time.Now(), Kind: EventImageEnd, Image: res.Image, Result: res})
}

func cause(ctx context.Context) string {
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err.Error()
	}
	return "interrupted"
}

// byPath is a heap of items that can start: kept ones first, as they cost
// nothing, then those on the longest path.
type byPath []*plan.Item

func (h byPath) Len() int { return len(h) }
func (h byPath) Less(i, j int) bool {
	if ki, kj := h[i].Action == plan.Keep, h[j].Action == plan.Keep; ki != kj {
		return ki
	}
	if c := plan.Before(h[i], h[j]); c != 0 {
		return c < 0
	}
	return h[i].Image < h[j].Image
}
func (h byPath) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *byPath) Push(x any)   { *h = append(*h, x.(*plan.Item)) }
func (h *byPath) Pop() any {
	old := *h
	it := old[len(old)-1]
	*h = old[:len(old)-1]
	return it
}
