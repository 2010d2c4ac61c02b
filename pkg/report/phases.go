package report

import (
	"bytes"
	"time"

	"github.com/kolla-build/kolla-build/pkg/build"
)

// Phase is a kind of work or waiting during the time of an image in a run.
type Phase string

// The phases, in the order in which an image goes through them.
const (
	PhaseParents     Phase = "waiting_for_parents" // until the last parent is built
	PhaseSlot        Phase = "waiting_for_slot"
	PhaseFiles       Phase = "files"              // loading base images and context files, COPY and ADD
	PhaseDownload    Phase = "package_download"   // including package lists
	PhaseUnpack      Phase = "unpacking"          // of packages
	PhaseScripts     Phase = "maintainer_scripts" // of packages
	PhaseTriggers    Phase = "triggers"           // of packages, and byte-compiling, which follows them
	PhaseCommands    Phase = "other_commands"     // all other work of RUN steps
	PhaseSnapshots   Phase = "between_steps"      // the builder's snapshots and layers
	PhaseExport      Phase = "export"             // from the builder into the store, and squashing there
	PhaseCompression Phase = "compression"
	PhaseUploadWait  Phase = "waiting_for_upload"
	PhaseUpload      Phase = "upload" // to the registry or into an engine
)

// Phases are all phases in their order, with their titles.
var Phases = []struct {
	Phase Phase
	Title string
}{
	{PhaseParents, "waiting for parents"}, {PhaseSlot, "waiting for a slot"}, {PhaseFiles, "files"},
	{PhaseDownload, "package download"}, {PhaseUnpack, "unpacking"}, {PhaseScripts, "maintainer scripts"},
	{PhaseTriggers, "triggers"}, {PhaseCommands, "other commands"},
	{PhaseSnapshots, "between steps"}, {PhaseExport, "export"}, {PhaseCompression, "compression"},
	{PhaseUploadWait, "waiting for upload"}, {PhaseUpload, "upload"},
}

// stepPhases has the phase of each kind of step. RUN steps are divided further by their
// output.
var stepPhases = map[build.StepKind]Phase{
	build.StepFiles:    PhaseFiles,
	build.StepCommand:  PhaseCommands,
	build.StepExport:   PhaseExport,
	build.StepCompress: PhaseCompression,
	build.StepLoad:     PhaseUpload,
}

// outputPhases are the phases that begin with a line of a package manager.
var outputPhases = []struct {
	prefix string
	phase  Phase
}{
	// apt and dpkg.
	{"Get:", PhaseDownload}, {"Hit:", PhaseDownload}, {"Ign:", PhaseDownload}, {"Fetched ", PhaseCommands},
	{"Reading package lists", PhaseCommands}, {"Selecting previously unselected package", PhaseUnpack},
	{"Preparing to unpack ", PhaseUnpack}, {"Unpacking ", PhaseUnpack}, {"(Reading database", PhaseUnpack},
	{"Setting up ", PhaseScripts}, {"Preconfiguring packages", PhaseScripts}, {"Processing triggers for ", PhaseTriggers},
	{"kolla_apt_install: ", PhaseCommands},
	// dnf.
	{"Downloading Packages:", PhaseDownload}, {"Running transaction", PhaseUnpack}, {"Running scriptlet", PhaseScripts},
	{"Installing  ", PhaseUnpack}, {"Upgrading  ", PhaseUnpack}, {"Complete!", PhaseCommands},
	// pip.
	{"Collecting ", PhaseDownload}, {"Downloading ", PhaseDownload}, {"Building wheel", PhaseCommands},
	{"Installing collected packages", PhaseUnpack}, {"Successfully installed ", PhaseCommands},
}

// stepClock divides the time of a step among phases by its output.
type stepClock struct {
	phase Phase
	since time.Time
	spent map[Phase]time.Duration
}

func newStepClock(kind build.StepKind, at time.Time) *stepClock {
	return &stepClock{phase: stepPhases[kind], since: at, spent: map[Phase]time.Duration{}}
}

// output reads complete lines of output with the time of their arrival.
func (c *stepClock) output(at time.Time, data []byte) {
	for line := range bytes.Lines(data) {
		line = bytes.TrimLeft(line, " ")
		for _, o := range outputPhases {
			if bytes.HasPrefix(line, []byte(o.prefix)) {
				c.enter(o.phase, at)
				break
			}
		}
	}
}

func (c *stepClock) enter(p Phase, at time.Time) {
	if p != c.phase {
		c.spent[c.phase] += max(0, at.Sub(c.since))
		c.phase, c.since = p, at
	}
}

// end returns the phases of a step. Events are delayed, so the sum is scaled to the
// duration of the step.
func (c *stepClock) end(at time.Time, duration time.Duration) map[Phase]time.Duration {
	c.spent[c.phase] += max(0, at.Sub(c.since))
	var sum time.Duration
	for _, d := range c.spent {
		sum += d
	}
	if sum <= 0 {
		return map[Phase]time.Duration{c.phase: duration}
	}
	for p, d := range c.spent {
		c.spent[p] = time.Duration(float64(d) * float64(duration) / float64(sum))
	}
	return c.spent
}
