package buildkit

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/util/grpcerrors"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc/codes"
)

// Request is one image to build.
type Request struct {
	Image      image.ID // of the events
	Definition *Definition
	Created    time.Time // creation time of the image and of its new history; zero means the Unix epoch
}

// Build builds an image, exports it into the store and returns its manifest's
// descriptor. It calls emit, which must not block, with the events of its steps. If
// the builder cannot build the image, the error is a *BuildError.
func (b *Builder) Build(ctx context.Context, req Request, emit func(build.Event)) (ocispecs.Descriptor, error) {
	def := req.Definition
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := newWatcher(req.Image, emit)
	watch.secrets = b.opts.Secrets
	watch.limit, watch.expire = b.opts.StepTimeout, cancel
	status := make(chan *client.SolveStatus)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for s := range status {
			watch.handle(s)
		}
	}()
	attrs := map[string]string{
		"tar": "false",
		// Layers keep their times and are not compressed: this process does both while
		// later builds run on the builder's own snapshots. Layers of base images stay
		// as they are.
		"compression":                   "uncompressed",
		exptypes.ExporterImageConfigKey: string(def.Config),
	}
	epoch := int64(0)
	if !req.Created.IsZero() {
		epoch = req.Created.Unix()
	}
	attrs[string(exptypes.OptKeySourceDateEpoch)] = strconv.FormatInt(epoch, 10)
	if def.Base != nil {
		attrs[exptypes.ExporterImageBaseConfigKey] = string(def.Base) // its history keeps its times
	}
	res, err := b.client.Solve(ctx, def.LLB, client.SolveOpt{
		Exports:               []client.ExportEntry{{Type: client.ExporterOCI, Attrs: attrs, OutputStore: b.opts.Store}},
		SharedSession:         b.session,
		SessionPreInitialized: true,
		Internal:              true, // a record in the daemon's build history takes as long as a small step
		AllowedEntitlements:   b.opts.Entitlements,
		CompatibilityVersion:  cmp.Or(b.opts.Compatibility, DefaultCompatibility),
	}, status)
	<-watched
	watch.stop()
	if err != nil {
		var slow *stepTimeout
		if errors.As(context.Cause(ctx), &slow) {
			return ocispecs.Descriptor{}, &BuildError{Failure: slow.failure(def, watch), timeout: true}
		}
		if ctx.Err() != nil {
			return ocispecs.Descriptor{}, context.Cause(ctx)
		}
		if b.daemon != nil {
			if exitErr := b.daemon.exited(); exitErr != nil {
				return ocispecs.Descriptor{}, &LostError{exitErr}
			}
		}
		if b.Lost() {
			return ocispecs.Descriptor{}, &LostError{err}
		}
		return ocispecs.Descriptor{}, watch.buildError(def, err)
	}
	return descriptor(res.ExporterResponse)
}

func descriptor(response map[string]string) (ocispecs.Descriptor, error) {
	var desc ocispecs.Descriptor
	data, err := base64.StdEncoding.DecodeString(response[exptypes.ExporterImageDescriptorKey])
	if err == nil {
		err = json.Unmarshal(data, &desc)
	}
	if err == nil && desc.Digest == "" {
		err = errors.New("no digest")
	}
	if err != nil {
		return desc, fmt.Errorf("the builder returned no image: %w", err)
	}
	return desc, nil
}

// LostError reports that the connection to the builder was lost during a build. The
// build may succeed with a new builder.
type LostError struct{ Err error }

func (e *LostError) Error() string { return "the builder was lost: " + e.Err.Error() }

func (e *LostError) Unwrap() error { return e.Err }

// Temporary implements build.Temporary.
func (e *LostError) Temporary() bool { return true }

// BuildError is an image that the builder could not build.
type BuildError struct {
	Failure build.Failure
	timeout bool       // of a step
	final   bool       // the step reads only what is stored: another attempt would read the same
	tails   [][]string // the last lines of each stream of the failed step's output
}

func (e *BuildError) Error() string { return e.Failure.Err.Error() }

func (e *BuildError) Unwrap() error { return e.Failure.Err }

// Detail implements build.Detailed.
func (e *BuildError) Detail() build.Failure { return e.Failure }

// Temporary implements build.Temporary: network failures, in a command or in a download
// by the builder, may be temporary, and what a killed builder left is removed.
func (e *BuildError) Temporary() bool {
	if e.Failure.ExitCode == 0 && !e.timeout && leftSnapshot.MatchString(e.Failure.Err.Error()) {
		return true
	}
	if e.timeout || e.final {
		return false
	}
	if e.Failure.ExitCode == 0 && build.TransientFault([]string{e.Failure.Err.Error()}) {
		return true
	}
	return slices.ContainsFunc(e.tails, build.TransientFault) || isUnavailable(e.Failure.Err)
}

// Signature implements build.Repeatable for commands that failed for no known
// reason. A command that does not exist (127) or cannot be executed (126) always
// fails.
func (e *BuildError) Signature() string {
	f := e.Failure
	if e.timeout {
		return build.SignatureOf(f.Step, 0) // its progress is not deterministic
	}
	if f.ExitCode == 0 || f.ExitCode == 126 || f.ExitCode == 127 || slices.ContainsFunc(e.tails, build.PermanentFault) {
		return ""
	}
	return build.SignatureOf(f.Step, f.ExitCode, e.tails...)
}

// leftSnapshot matches the error of a builder that finds the directory of the snapshot that it
// creates. A builder that was killed between creating the directory and recording it leaves one
// such directory; the builder that reports it also removes it.
var leftSnapshot = regexp.MustCompile(`failed to rename: rename \S+/snapshots/new-\d+ \S+/snapshots/\d+: file exists`)

// isUnavailable reports whether the daemon could not be reached, in contrast to an
// error that it returned.
func isUnavailable(err error) bool {
	return grpcerrors.Code(err) == codes.Unavailable || errors.Is(err, context.DeadlineExceeded)
}
