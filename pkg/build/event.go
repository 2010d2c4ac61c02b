package build

import (
	"slices"
	"time"

	"github.com/kolla-build/kolla-build/pkg/image"
	digest "github.com/opencontainers/go-digest"
)

// Status is an image's outcome in a run.
type Status string

// The outcomes that a run knows. Those whose text upstream's summary uses too
// (built, error, parent_error, unmatched, skipped, unbuildable, push_error)
// keep upstream's spelling, so that summaries stay readable by the same tools.
const (
	StatusBuilt       Status = "built"        // built in this run
	StatusUnchanged   Status = "unchanged"    // its key is in the store
	StatusError       Status = "error"        // one of its own steps failed
	StatusParentError Status = "parent_error" // not built because an ancestor failed
	StatusPushError   Status = "push_error"   // built, but not published
	StatusLoadError   Status = "load_error"   // built, but not loaded into the container engine
	StatusCanceled    Status = "canceled"     // the run was interrupted before it ended
	StatusUnmatched   Status = "unmatched"    // not selected
	StatusSkipped     Status = "skipped"      // selected, excluded by an option
	StatusUnbuildable Status = "unbuildable"  // cannot be built for this distro and architecture
)

// Bad reports whether s counts as a failure of the run.
func (s Status) Bad() bool {
	switch s {
	case StatusError, StatusParentError, StatusPushError, StatusLoadError, StatusCanceled:
		return true
	}
	return false
}

// OwnFailures returns the outcomes of images that failed themselves, and not because of an
// ancestor or a signal.
func OwnFailures() []Status { return []Status{StatusError, StatusPushError, StatusLoadError} }

// OwnFailure reports whether s is one of [OwnFailures].
func (s Status) OwnFailure() bool { return slices.Contains(OwnFailures(), s) }

// EventKind is the kind of an Event.
type EventKind int

// The kinds of events, with the fields of Event that each one fills.
const (
	EventRunStart   EventKind = iota // Total, Estimate
	EventImageStart                  // Image, Estimate
	EventStepStart                   // Image, Step
	EventStepEnd                     // Image, Step (with Cached, Err, Duration)
	EventLog                         // Image, Step, Data: output of a running step
	EventTransfer                    // Image, Step, Current, TotalBytes: bytes moved
	EventImageEnd                    // Image, Result
	EventMessage                     // Text: a message for the user that does not concern an image
	EventEstimate                    // Estimate: expected time from here, after an image failed
	EventRunEnd                      // Duration
	EventPushStart                   // Image: the upload of its content begins
	EventPushEnd                     // Image, Step.Err: the upload of its content has ended, with its error
)

// Event is something that happened in a run. Events of an image are in order; those of
// different images are interleaved. Consumers must not block.
type Event struct {
	Time  time.Time
	Kind  EventKind
	Image image.ID // zero for events of the run
	Step  Step

	Data []byte // EventLog: raw output, any bytes, not aligned to lines
	Text string // EventMessage

	Current, TotalBytes int64 // EventTransfer: bytes; TotalBytes is 0 while unknown

	Total    int           // EventRunStart: images that will be built
	Estimate time.Duration // expected time of the images that can be built, 0 when nothing is known
	Duration time.Duration // EventRunEnd

	Result *Result // EventImageEnd; not to be modified
	Log    string  // EventImageEnd: path of the image's log, "" if it has none
}

// Step is one step of an image's build, as the builder names it.
type Step struct {
	ID       string // unique within the image
	Name     string // such as "RUN apt-get install …"
	Kind     StepKind
	Cached   bool
	Err      string
	Duration time.Duration
}

// StepKind is the kind of work that a step does.
type StepKind int

// The kinds of steps.
const (
	StepFiles    StepKind = iota // loads a base image or context files, COPY, ADD
	StepCommand                  // RUN
	StepExport                   // from the builder into the store, and squashing there
	StepCompress                 // compresses the layers of an image after its build
	StepLoad                     // into Docker or Podman
)

// Result is the outcome of an image.
type Result struct {
	Image     image.ID
	Reference string   // full name with tag, such as "localhost:4000/kolla/nova-api:t"
	Parent    image.ID // zero for a root
	Status    Status
	Reason    string        // why: "new", "context changed", "skipped because base failed"
	Digest    digest.Digest // of the manifest, or ""
	Size      int64         // bytes of the compressed layers, config and manifest
	Started   time.Time
	Duration  time.Duration
	Failure   *Failure
}

// Failure describes where and why an image failed.
type Failure struct {
	Err        error
	Dockerfile string   // path of the rendered Dockerfile, "" if the user cannot open it
	Template   string   // FILE:LINE of the template or override that the failing line comes from
	Line       int      // 1-based line in the rendered Dockerfile, 0 if unknown
	Source     []string // the failing instruction's lines
	Step       string   // the failing step's name
	ExitCode   int      // of the command, 0 if no command failed
	Tail       []string // the step's last lines of output
	Name       string   // the missing package or program, "" if that is not the cause
	Package    bool     // Name is a package of the distribution
	Hint       string   // hint for the user, "" for none
}
