package build

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/plan"
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

// Explainer completes the error of an image that could not be built, with what helps the
// user. That may take a while: Explain is called without using the slots of Threads, and
// returns what it has when ctx ends.
type Explainer interface {
	Explain(ctx context.Context, item *plan.Item, err error) error
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
	Builder   Builder
	Explainer Explainer   // nil if the errors of Builder are complete
	Finisher  Finisher    // nil if built images are in their final form
	Uploader  Uploader    // nil if images stay in the store
	Emit      func(Event) // must not block; required

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
	r := &run{opts: opts, images: newImages(p), done: make(chan finished)}
	if opts.Explainer != nil {
		outer := ctx // does not end with the first failure
		r.explain = func(it *plan.Item, err error) error { return opts.Explainer.Explain(outer, it, err) }
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r.stop = stop
	start := time.Now()
	known := r.knownFailures()
	opts.Emit(Event{Time: start, Kind: EventRunStart, Total: p.ToBuild(), Estimate: r.estimate(start)})
	for _, im := range r.images {
		if im.waits == 0 {
			heap.Push(&r.ready, im)
		}
	}
	r.failKnown(known)
	r.loop(ctx)
	opts.Emit(Event{Time: time.Now(), Kind: EventRunEnd, Duration: time.Since(start)})
	results := make([]Result, 0, len(r.images))
	for _, im := range r.images {
		results = append(results, im.result)
	}
	return results
}

// run is the state of one Run. Only the goroutine of loop touches it.
type run struct {
	opts       Options
	explain    func(*plan.Item, error) error // nil if errors are complete
	stop       context.CancelCauseFunc
	images     []*imageState // in the plan's order
	ready      byPath        // images whose parents are built
	uploads    []*imageState // queued uploads
	building   int           // running calls of Build
	explaining int           // running calls of Explain
	finish     int           // running calls of Finish
	pushing    int           // running calls of Upload
	held       bool          // the gate holds images back
	done       chan finished
}

// stage is a stage of an image in a run.
type stage int

const (
	stageBuild stage = iota
	stageExplain
	stageFinish
	stageUpload
)

// finished is the end of a stage.
type finished struct {
	stage   stage
	image   *imageState
	started time.Time
	took    time.Duration
	out     Output
	err     error
	tries   int
}

var errFailFast = errors.New("stopped after the first failure")

// knownFailures returns the images that are known to fail, with the reasons. They and
// their descendants are not part of estimates.
func (r *run) knownFailures() map[*imageState]error {
	known := map[*imageState]error{}
	for _, im := range r.images {
		if im.item.Action == plan.Keep || r.opts.Failed == nil {
			continue
		}
		if err := r.opts.Failed(im.item.Image); err != nil {
			known[im] = err
			im.markFailing()
		}
	}
	return known
}

// failKnown ends the images that are known to fail.
func (r *run) failKnown(known map[*imageState]error) {
	for _, im := range r.images {
		if err := known[im]; err != nil && !im.ended {
			r.failWith(im, Result{Status: StatusError, Reason: firstLine(err), Failure: failure(err, 1)})
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
		} else if r.building+r.explaining+r.finish+r.pushing == 0 {
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
		case stageExplain:
			r.explaining--
			r.failBuild(f)
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
	for !r.held && r.ready.Len() > 0 && (r.building < max(1, r.opts.Threads) || r.ready[0].item.Action == plan.Keep) {
		im := heap.Pop(&r.ready).(*imageState)
		switch {
		case im.ended:
		case ctx.Err() != nil:
			r.fail(im, Result{Status: StatusCanceled, Reason: cause(ctx)})
		case im.item.Action == plan.Keep:
			r.releaseChildren(im)
			r.complete(im, Result{Status: StatusUnchanged, Reason: im.item.Reason, Digest: im.item.Digest, Size: im.item.Size})
		default:
			if v := r.gate(im.item); v.Err != nil {
				r.failWith(im, Result{Status: StatusError, Reason: firstLine(v.Err), Failure: failure(v.Err, 1)})
				continue
			} else if !v.Start {
				heap.Push(&r.ready, im)
				r.held = true
				continue
			}
			r.building++
			started := time.Now()
			im.started = started
			go func() {
				out, tries, err := r.build(ctx, im.item)
				r.done <- finished{
					stage:   stageBuild,
					image:   im,
					started: started,
					took:    time.Since(started),
					out:     out,
					tries:   tries,
					err:     err,
				}
			}()
		}
	}
}

// startUploads starts uploads of finished images, as many as PushThreads allows.
func (r *run) startUploads(ctx context.Context) {
	for len(r.uploads) > 0 && r.pushing < max(1, r.opts.PushThreads) {
		im := r.uploads[0]
		r.uploads = r.uploads[1:]
		if ctx.Err() != nil {
			r.uploadFailed(im, StatusCanceled, "not uploaded: "+cause(ctx), nil)
			continue
		}
		r.pushing++
		id, digest := im.item.Image, im.result.Digest
		go func() {
			r.opts.Emit(Event{Time: time.Now(), Kind: EventPushStart, Image: id})
			err := r.opts.Uploader.Upload(ctx, im.item, digest)
			end := Event{Time: time.Now(), Kind: EventPushEnd, Image: id}
			if err != nil {
				end.Step.Err = firstLine(err)
			}
			r.opts.Emit(end)
			r.done <- finished{stage: stageUpload, image: im, err: err}
		}()
	}
}

func (r *run) gate(it *plan.Item) Verdict {
	if r.opts.Gate == nil {
		return Verdict{Start: true}
	}
	return r.opts.Gate(it, r.building)
}

func (r *run) built(ctx context.Context, done finished) {
	res := Result{Started: done.started, Duration: done.took, Digest: done.out.Digest, Size: done.out.Size}
	switch {
	case done.err == nil:
		res.Status, res.Reason = StatusBuilt, done.image.item.Reason
		done.image.built = true
		r.releaseChildren(done.image)
		if r.opts.Finisher == nil {
			r.complete(done.image, res)
			return
		}
		done.image.result = res
		r.finish++
		go func() {
			out, err := r.opts.Finisher.Finish(ctx, done.image.item, done.out, r.opts.Emit)
			r.done <- finished{stage: stageFinish, image: done.image, out: out, err: err}
		}()
	case ctx.Err() != nil:
		res.Status, res.Reason = StatusCanceled, cause(ctx)
		r.fail(done.image, res)
	case r.explain == nil:
		r.failBuild(done)
	default:
		if r.opts.FailFast {
			r.stop(errFailFast)
		}
		r.explaining++
		go func() {
			done.stage, done.err = stageExplain, r.explain(done.image.item, done.err)
			r.done <- done
		}()
	}
}

// failBuild ends an image that could not be built.
func (r *run) failBuild(f finished) {
	r.failWith(f.image, Result{Started: f.started, Duration: f.took, Status: StatusError,
		Reason: firstLine(f.err), Failure: failure(f.err, f.tries)})
}

// finished takes an image in its final form. If finishing fails, only this image fails:
// its children are built on the builder's copy.
func (r *run) finished(ctx context.Context, f finished) {
	res := f.image.result
	res.Digest, res.Size = f.out.Digest, f.out.Size
	switch {
	case f.err == nil:
		r.complete(f.image, res)
		return
	case ctx.Err() != nil:
		res.Status, res.Reason = StatusCanceled, cause(ctx)
	default:
		res.Status, res.Reason, res.Failure = StatusError, firstLine(f.err), failure(f.err, 1)
		if r.opts.FailFast {
			r.stop(errFailFast)
		}
	}
	r.end(f.image, res)
}

// releaseChildren lets the children of a built or kept image start.
func (r *run) releaseChildren(im *imageState) {
	for _, c := range im.children {
		c.waits--
		if c.waits == 0 && !c.ended {
			heap.Push(&r.ready, c)
		}
	}
}

// complete takes an image in its final form, and queues its upload if there is an
// uploader.
func (r *run) complete(im *imageState, res Result) {
	if r.opts.Uploader == nil {
		r.end(im, res)
		return
	}
	im.result, im.final = res, true
	if im.blocked == 0 {
		r.queueUpload(im)
	}
}

func (r *run) queueUpload(im *imageState) {
	r.uploads = append(r.uploads, im)
	r.unblock(im)
}

// unblock lets the children of an image be uploaded: its own upload is queued, or never
// will be.
func (r *run) unblock(im *imageState) {
	if im.childrenUnblocked {
		return
	}
	im.childrenUnblocked = true
	for _, c := range im.children {
		if c.blocked--; c.blocked == 0 && c.final {
			r.queueUpload(c)
		}
	}
}

// fail ends an image and skips its descendants.
func (r *run) fail(im *imageState, res Result) {
	r.end(im, res)
	r.skipChildren(im, im.item.Image, res.Status)
}

// failWith ends an image that failed on its own, which may end the run.
func (r *run) failWith(im *imageState, res Result) {
	r.fail(im, res)
	if now := time.Now(); im.item.Action == plan.Build {
		r.opts.Emit(Event{Time: now, Kind: EventEstimate, Estimate: r.estimate(now)})
	}
	if r.opts.FailFast {
		r.stop(errFailFast)
	}
}

// skipChildren ends the descendants of a failed image. Each one names the ancestor that
// failed first.
func (r *run) skipChildren(im *imageState, failed image.ID, status Status) {
	for _, c := range im.children {
		if c.ended {
			continue
		}
		res := Result{Status: StatusParentError, Reason: fmt.Sprintf("skipped because %s failed", failed)}
		if status == StatusCanceled {
			res = Result{Status: StatusCanceled, Reason: fmt.Sprintf("skipped because %s was canceled", failed)}
		}
		r.end(c, res)
		r.skipChildren(c, failed, status)
	}
}

func (r *run) uploaded(ctx context.Context, f finished) {
	switch {
	case f.err == nil:
		r.end(f.image, f.image.result)
	case ctx.Err() != nil:
		r.uploadFailed(f.image, StatusCanceled, "not uploaded: "+cause(ctx), nil)
	default:
		status := StatusPushError
		var load *LoadError
		if errors.As(f.err, &load) {
			status = StatusLoadError
		}
		r.uploadFailed(f.image, status, firstLine(f.err), failure(f.err, 1))
		if r.opts.FailFast {
			r.stop(errFailFast)
		}
	}
}

// uploadFailed ends an image that is only in the store. Its children can still be
// built.
func (r *run) uploadFailed(im *imageState, s Status, reason string, f *Failure) {
	res := im.result
	res.Status, res.Reason, res.Failure = s, reason, f
	r.end(im, res)
}

// end makes an image's result final and reports it.
func (r *run) end(im *imageState, res Result) {
	res.Image, res.Reference, res.Parent = im.item.Image, im.item.Reference, im.item.Parent
	im.result, im.ended = res, true
	r.opts.Emit(Event{Time: time.Now(), Kind: EventImageEnd, Image: res.Image, Result: &res})
	r.unblock(im)
}

func cause(ctx context.Context) string {
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err.Error()
	}
	return "interrupted"
}
