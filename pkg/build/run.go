package build

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/plan"
	digest "github.com/opencontainers/go-digest"
)

// Output is an image that a builder has built.
type Output struct {
	Digest digest.Digest // of the manifest
	Size   int64         // bytes, compressed
}

// Builder builds one image of a plan. Its parents are built when it is called.
// emit takes events of the image's steps and logs and does not block.
type Builder interface {
	Build(ctx context.Context, item *plan.Item, emit func(Event)) (Output, error)
}

// Finisher brings a built image into its final form, such as with compressed layers.
// The image's children are built at the same time. The image is complete, and is
// uploaded, as Finish returns it. Finish is called concurrently for several images,
// without using the slots of Threads.
type Finisher interface {
	Finish(ctx context.Context, item *plan.Item, built Output, emit func(Event)) (Output, error)
}

// Uploader copies a finished image to a registry, where the set will be published, or
// to a container engine. It does not set tags in registries.
type Uploader interface {
	Upload(ctx context.Context, item *plan.Item, d digest.Digest) error
}

// LoadError is an Uploader's error that comes from a container engine, not from
// a registry.
type LoadError struct{ Err error }

func (e *LoadError) Error() string { return e.Err.Error() }

// Unwrap returns the engine's error.
func (e *LoadError) Unwrap() error { return e.Err }

// Options are the settings of a run.
type Options struct {
	Builder  Builder
	Finisher Finisher    // nil if built images are in their final form
	Uploader Uploader    // nil if images stay in the store
	Emit     func(Event) // must not block; required

	Threads     int // images that build at once, at least 1
	PushThreads int // images that upload at once, at least 1
	Retries     int // how often an image is tried again after a temporary fault
	FailFast    bool

	// RetryTime is the longest time between the start of an image's first attempt and
	// that of its last one; 0 for no limit.
	RetryTime time.Duration

	// Gate is called before each build that Threads allows to start; nil allows every
	// build. It must not block.
	Gate func(it *plan.Item, running int) Verdict

	// Failed returns why an image cannot be built if that is known before the run, else
	// nil. Such images fail immediately, without waiting for their parents.
	Failed func(image.ID) error

	// Timeout is the longest time for one image's build, 0 for no limit.
	Timeout time.Duration
}

// Verdict is a gate's decision about an image: start it, wait, or, with Err,
// fail it.
type Verdict struct {
	Start bool
	Err   error
}

// gatePoll is how long to wait before calling a gate again that holds images back,
// unless a running build ends before.
const gatePoll = 500 * time.Millisecond

// Run runs a plan and returns one result for each of its items, in the plan's
// order. A failure affects only the image's descendants. When ctx ends, running
// builds are stopped and images that have not finished are canceled.
func Run(ctx context.Context, p *plan.Plan, opts Options) []Result {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r := &run{opts: opts, stop: stop, results: map[image.ID]Result{}, stored: map[image.ID]Result{},
		waits: map[image.ID]int{}, children: map[image.ID][]*plan.Item{}, blocked: map[image.ID]int{}, final: map[image.ID]bool{}, passed: map[image.ID]bool{}, done: make(chan finished)}
	start := time.Now()
	opts.Emit(Event{Time: start, Kind: EventRunStart, Total: p.ToBuild(), Estimate: p.Estimate(opts.Threads)})
	r.queue(p)
	r.failKnown(p)
	r.loop(ctx)
	opts.Emit(Event{Time: time.Now(), Kind: EventRunEnd, Duration: time.Since(start)})
	results := make([]Result, 0, len(p.Items))
	for _, it := range p.Items {
		results = append(results, r.results[it.Image])
	}
	return results
}

// run is the state of one Run. Only the goroutine of loop touches it.
type run struct {
	opts     Options
	stop     context.CancelCauseFunc
	stored   map[image.ID]Result       // built or kept, and waiting for its upload
	results  map[image.ID]Result       // final
	waits    map[image.ID]int          // parents that have not been built
	children map[image.ID][]*plan.Item // by parent
	blocked  map[image.ID]int          // parents whose upload has not begun, and may yet
	ready    byPath
	uploads  []*plan.Item
	final    map[image.ID]bool // images that can be uploaded
	passed   map[image.ID]bool // images whose upload is queued, or never will be
	building int
	finish   int // number of calls of Finish that are running
	pushing  int
	held     bool // the gate holds images back
	done     chan finished
}

// stage is a stage of an image in a run.
type stage int

const (
	stageBuild stage = iota
	stageFinish
	stageUpload
)

// finished is the end of a stage.
type finished struct {
	stage   stage
	item    *plan.Item
	started time.Time
	out     Output
	err     error
	tries   int
}

var errFailFast = errors.New("stopped after the first failure")

func (r *run) queue(p *plan.Plan) {
	planned := map[image.ID]bool{}
	for _, it := range p.Items {
		planned[it.Image] = true
	}
	for _, it := range p.Items {
		for _, n := range it.Needs {
			if planned[n] {
				r.waits[it.Image]++
				r.blocked[it.Image]++
				r.children[n] = append(r.children[n], it)
			}
		}
		if r.waits[it.Image] == 0 {
			heap.Push(&r.ready, it)
		}
	}
}

// failKnown ends the images that are known to fail.
func (r *run) failKnown(p *plan.Plan) {
	if r.opts.Failed == nil {
		return
	}
	for _, it := range p.Items {
		if it.Action == plan.Keep || r.ended(it) {
			continue
		}
		if err := r.opts.Failed(it.Image); err != nil {
			r.failWith(it, Result{Status: StatusError, Reason: firstLine(err), Failure: failure(err, 1)})
		}
	}
}

func (r *run) loop(ctx context.Context) {
	for {
		r.startReady(ctx)
		r.startUploads(ctx)
		var poll <-chan time.Time
		if r.held {
			poll = time.After(gatePoll)
		} else if r.building+r.finish+r.pushing == 0 {
			return
		}
		var f finished
		select {
		case f = <-r.done:
		case <-poll:
			continue
		}
		switch f.stage {
		case stageBuild:
			r.building--
			r.built(ctx, f)
		case stageFinish:
			r.finish--
			r.finished(ctx, f)
		case stageUpload:
			r.pushing--
			r.uploaded(ctx, f)
		}
	}
}

// startReady starts builds of images whose parents are ready, as many as Threads and
// the gate allow.
func (r *run) startReady(ctx context.Context) {
	r.held = false
	for !r.held && r.ready.Len() > 0 && (r.building < max(1, r.opts.Threads) || r.ready[0].Action == plan.Keep) {
		it := heap.Pop(&r.ready).(*plan.Item)
		switch {
		case r.ended(it):
		case ctx.Err() != nil:
			r.cancel(ctx, it)
		case it.Action == plan.Keep:
			r.releaseChildren(it)
			r.complete(it, Result{Status: StatusUnchanged, Reason: it.Reason, Digest: it.Digest, Size: it.Size})
		default:
			if v := r.gate(it); v.Err != nil {
				r.failWith(it, Result{Status: StatusError, Reason: firstLine(v.Err), Failure: failure(v.Err, 1)})
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
				r.done <- finished{stage: stageBuild, item: it, started: started, out: out, tries: tries, err: err}
			}()
		}
	}
}

// startUploads starts uploads of finished images, as many as PushThreads allows.
func (r *run) startUploads(ctx context.Context) {
	for len(r.uploads) > 0 && r.pushing < max(1, r.opts.PushThreads) {
		it := r.uploads[0]
		r.uploads = r.uploads[1:]
		if ctx.Err() != nil {
			r.uploadFailed(it, StatusCanceled, "not uploaded: "+cause(ctx), nil)
			continue
		}
		r.pushing++
		d := r.stored[it.Image].Digest
		go func() {
			r.opts.Emit(Event{Time: time.Now(), Kind: EventPushStart, Image: it.Image})
			err := r.opts.Uploader.Upload(ctx, it, d)
			end := Event{Time: time.Now(), Kind: EventPushEnd, Image: it.Image}
			if err != nil {
				end.Step.Err = firstLine(err)
			}
			r.opts.Emit(end)
			r.done <- finished{stage: stageUpload, item: it, err: err}
		}()
	}
}

func (r *run) gate(it *plan.Item) Verdict {
	if r.opts.Gate == nil {
		return Verdict{Start: true}
	}
	return r.opts.Gate(it, r.building)
}

// build builds an image, and repeats that until it succeeds, its failure is final, or
// the retries are used up. It also returns the number of attempts.
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
		why, worth := retryReason(err, seen)
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
	res := Result{Started: f.started, Duration: time.Since(f.started), Digest: f.out.Digest, Size: f.out.Size}
	switch {
	case f.err == nil:
		res.Status, res.Reason = StatusBuilt, f.item.Reason
		r.releaseChildren(f.item)
		if r.opts.Finisher == nil {
			r.complete(f.item, res)
			return
		}
		r.stored[f.item.Image] = res
		r.finish++
		go func() {
			out, err := r.opts.Finisher.Finish(ctx, f.item, f.out, r.opts.Emit)
			r.done <- finished{stage: stageFinish, item: f.item, out: out, err: err}
		}()
	case ctx.Err() != nil:
		res.Status, res.Reason = StatusCanceled, cause(ctx)
		r.fail(f.item, res)
	default:
		res.Status, res.Reason, res.Failure = StatusError, firstLine(f.err), failure(f.err, f.tries)
		r.failWith(f.item, res)
	}
}

// finished takes an image in its final form. If finishing fails, only this image fails:
// its children are built on the builder's copy.
func (r *run) finished(ctx context.Context, f finished) {
	res := r.stored[f.item.Image]
	res.Digest, res.Size = f.out.Digest, f.out.Size
	switch {
	case f.err == nil:
		r.complete(f.item, res)
		return
	case ctx.Err() != nil:
		res.Status, res.Reason = StatusCanceled, cause(ctx)
	default:
		res.Status, res.Reason, res.Failure = StatusError, firstLine(f.err), failure(f.err, 1)
		if r.opts.FailFast {
			r.stop(errFailFast)
		}
	}
	r.end(f.item, res)
}

// releaseChildren lets the children of a built or kept image start.
func (r *run) releaseChildren(it *plan.Item) {
	for _, c := range r.children[it.Image] {
		r.waits[c.Image]--
		if r.waits[c.Image] == 0 && !r.ended(c) {
			heap.Push(&r.ready, c)
		}
	}
}

// complete takes an image in its final form, and queues its upload if there is an
// uploader.
func (r *run) complete(it *plan.Item, res Result) {
	if r.opts.Uploader == nil {
		r.end(it, res)
		return
	}
	r.stored[it.Image], r.final[it.Image] = res, true
	if r.blocked[it.Image] == 0 {
		r.queueUpload(it)
	}
}

func (r *run) queueUpload(it *plan.Item) {
	r.uploads = append(r.uploads, it)
	r.unblock(it)
}

// unblock lets the children of an image be uploaded: its own upload is queued, or never
// will be.
func (r *run) unblock(it *plan.Item) {
	if r.passed[it.Image] {
		return
	}
	r.passed[it.Image] = true
	for _, c := range r.children[it.Image] {
		if r.blocked[c.Image]--; r.blocked[c.Image] == 0 && r.final[c.Image] {
			r.queueUpload(c)
		}
	}
}

func (r *run) fail(it *plan.Item, res Result) {
	r.end(it, res)
	r.skipChildren(it, it.Image, res.Status)
}

// failWith ends an image that failed on its own, which may end the run.
func (r *run) failWith(it *plan.Item, res Result) {
	r.fail(it, res)
	if r.opts.FailFast {
		r.stop(errFailFast)
	}
}

// skipChildren ends the descendants of a failed image. Each one names the ancestor that
// failed first.
func (r *run) skipChildren(it *plan.Item, culprit image.ID, why Status) {
	for _, c := range r.children[it.Image] {
		if r.ended(c) {
			continue
		}
		res := Result{Status: StatusParentError, Reason: fmt.Sprintf("skipped because %s failed", culprit)}
		if why == StatusCanceled {
			res = Result{Status: StatusCanceled, Reason: fmt.Sprintf("skipped because %s was canceled", culprit)}
		}
		r.end(c, res)
		r.skipChildren(c, culprit, why)
	}
}

func (r *run) cancel(ctx context.Context, it *plan.Item) {
	if !r.ended(it) {
		r.fail(it, Result{Status: StatusCanceled, Reason: cause(ctx)})
	}
}

func (r *run) uploaded(ctx context.Context, f finished) {
	switch {
	case f.err == nil:
		r.end(f.item, r.stored[f.item.Image])
	case ctx.Err() != nil:
		r.uploadFailed(f.item, StatusCanceled, "not uploaded: "+cause(ctx), nil)
	default:
		status := StatusPushError
		var load *LoadError
		if errors.As(f.err, &load) {
			status = StatusLoadError
		}
		r.uploadFailed(f.item, status, firstLine(f.err), failure(f.err, 1))
		if r.opts.FailFast {
			r.stop(errFailFast)
		}
	}
}

// uploadFailed ends an image that is only in the store. Its children can still be
// built.
func (r *run) uploadFailed(it *plan.Item, s Status, reason string, f *Failure) {
	res := r.stored[it.Image]
	res.Status, res.Reason, res.Failure = s, reason, f
	r.end(it, res)
}

// end makes an image's result final and reports it.
func (r *run) end(it *plan.Item, res Result) {
	res.Image, res.Reference, res.Parent = it.Image, it.Reference, it.Parent
	r.results[it.Image] = res
	r.opts.Emit(Event{Time: time.Now(), Kind: EventImageEnd, Image: res.Image, Result: &res})
	r.unblock(it)
}

func (r *run) ended(it *plan.Item) bool {
	_, ok := r.results[it.Image]
	return ok
}

func cause(ctx context.Context) string {
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err.Error()
	}
	return "interrupted"
}

// byPath is a heap of items that can start: kept ones first, because they take no time,
// then those on the longest path.
type byPath []*plan.Item

func (h byPath) Len() int { return len(h) }
func (h byPath) Less(i, j int) bool {
	if ki, kj := h[i].Action == plan.Keep, h[j].Action == plan.Keep; ki != kj {
		return ki
	}
	if c := plan.Before(h[i], h[j]); c != 0 {
		return c < 0
	}
	return image.Compare(h[i].Image, h[j].Image) < 0
}
func (h byPath) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *byPath) Push(x any)   { *h = append(*h, x.(*plan.Item)) }
func (h *byPath) Pop() any {
	old := *h
	it := old[len(old)-1]
	*h = old[:len(old)-1]
	return it
}
