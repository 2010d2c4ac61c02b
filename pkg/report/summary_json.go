package report

import (
	"fmt"
	"io"
	"time"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/printable"
	"github.com/kolla-build/kolla-build/pkg/build"
)

// jsonSummary has the fields of upstream's summary, in upstream's order. Lists are
// sorted by name and present even if they are empty.
type jsonSummary struct {
	Error       string      `json:"error,omitempty"` // error that ended the run before its images
	Built       []jsonImage `json:"built"`
	Failed      []jsonImage `json:"failed"`
	NotMatched  []jsonName  `json:"not_matched"`
	Skipped     []jsonImage `json:"skipped"`
	Unbuildable []jsonImage `json:"unbuildable"`
	Times       *jsonTimes  `json:"times,omitempty"` // of a run that built images
}

// jsonTimes are the times of a run, in seconds. Phases are sums over all images,
// several of which are built at once.
type jsonTimes struct {
	Total        float64           `json:"total"`
	BeforeBuilds float64           `json:"before_first_build"`
	AfterBuilds  float64           `json:"after_last_build"`
	Stages       []jsonStage       `json:"stages"`
	Phases       map[Phase]float64 `json:"phases"`
}

type jsonStage struct {
	Name     string  `json:"name"`
	Started  string  `json:"started"` // RFC 3339
	Duration float64 `json:"duration"`
}

type jsonName struct {
	Name string `json:"name"`
}

// jsonImage is an image in a summary and in the image_end event of JSON progress.
// Upstream has name and, for failed images, status; the other fields are ours.
type jsonImage struct {
	Name          string          `json:"name"`
	Status        string          `json:"status,omitempty"`
	Unchanged     bool            `json:"unchanged,omitempty"`
	Canceled      bool            `json:"canceled,omitempty"`
	AllowedToFail bool            `json:"allowed_to_fail,omitempty"`
	Reason        string          `json:"reason,omitempty"`
	Parent        string          `json:"parent,omitempty"`
	Reference     string          `json:"reference,omitempty"`
	Digest        string          `json:"digest,omitempty"`
	Size          int64           `json:"size,omitempty"` // bytes
	Pushed        *bool           `json:"pushed,omitempty"`
	TagsChanged   bool            `json:"moved,omitempty"`    // this run changed one of its tags
	Started       string          `json:"started,omitempty"`  // RFC 3339
	Duration      *float64        `json:"duration,omitempty"` // seconds
	Log           string          `json:"log,omitempty"`
	Warnings      []string        `json:"warnings,omitempty"` // about its Dockerfile and patches
	Packages      []PackageChange `json:"packages,omitempty"` // with another version than before
	Loaded        string          `json:"loaded,omitempty"`   // the container engine that has it
	Failure       *jsonFailure    `json:"failure,omitempty"`

	Phases map[Phase]float64 `json:"phases,omitempty"` // seconds
}

type jsonFailure struct {
	Error      string   `json:"error,omitempty"`
	Step       string   `json:"step,omitempty"`
	ExitCode   int      `json:"exit_code,omitempty"`
	Template   string   `json:"template,omitempty"`
	Dockerfile string   `json:"dockerfile,omitempty"`
	Line       int      `json:"line,omitempty"`
	Source     []string `json:"source,omitempty"`
	Output     []string `json:"output,omitempty"`
	Hint       string   `json:"hint,omitempty"`
}

// upstreamStatus returns the status of an image as upstream reports it. Upstream has no
// status for an interrupted image: its summary has the last status, which is "building"
// for a started image and "matched" for others.
func upstreamStatus(r Result) string {
	switch r.Status {
	case build.StatusUnchanged:
		return string(build.StatusBuilt)
	case build.StatusLoadError: // upstream builds in the engine
		return string(build.StatusError)
	case build.StatusCanceled:
		if r.Started.IsZero() {
			return "matched"
		}
		return "building"
	}
	return string(r.Status)
}

func newJSONImage(result Result) jsonImage {
	j := jsonImage{
		Name:        result.Image.String(),
		Status:      upstreamStatus(result),
		Unchanged:   result.Status == build.StatusUnchanged,
		Canceled:    result.Status == build.StatusCanceled,
		Reason:      result.Reason,
		Parent:      result.Parent.String(),
		Reference:   result.Reference,
		Digest:      result.Digest.String(),
		Size:        result.Size,
		Log:         result.Log,
		TagsChanged: result.TagsChanged,
		Warnings:    result.Warnings,
		Packages:    result.Packages,
		Loaded:      result.Loaded,
	}
	switch result.Status {
	case build.StatusBuilt, build.StatusUnchanged, build.StatusError, build.StatusPushError, build.StatusLoadError:
		pushed, secs := result.Pushed, seconds(result.Duration)
		j.Pushed, j.Duration = &pushed, &secs
	}
	if !result.Started.IsZero() {
		j.Started = result.Started.UTC().Format(time.RFC3339Nano)
	}
	if f := result.Failure; f != nil {
		j.Failure = &jsonFailure{
			Step: f.Step, ExitCode: f.ExitCode, Template: f.Template, Dockerfile: f.Dockerfile,
			Line: f.Line, Source: f.Source, Output: f.Tail, Hint: f.Hint,
		}
		if f.Err != nil {
			j.Failure.Error = f.Err.Error()
		}
	}
	return j
}

// seconds returns d in seconds, rounded to milliseconds.
func seconds(d time.Duration) float64 {
	return float64(d.Round(time.Millisecond)/time.Millisecond) / 1000
}

func phaseSeconds(phases map[Phase]time.Duration) map[Phase]float64 {
	if len(phases) == 0 {
		return nil
	}
	out := make(map[Phase]float64, len(phases))
	for p, d := range phases {
		out[p] = seconds(d)
	}
	return out
}

func (t Times) json(total time.Duration) *jsonTimes {
	j := &jsonTimes{Total: seconds(total), BeforeBuilds: seconds(t.BeforeBuilds), AfterBuilds: seconds(t.AfterBuilds),
		Stages: []jsonStage{}, Phases: phaseSeconds(t.Total())}
	for _, st := range t.Stages {
		j.Stages = append(j.Stages, jsonStage{st.Name, st.Start.UTC().Format(time.RFC3339Nano), seconds(st.Took)})
	}
	return j
}

func (s Summary) json() jsonSummary {
	allowed := s.allowed()
	list := func(statuses ...build.Status) []jsonImage {
		out := []jsonImage{}
		for _, r := range s.with(statuses...) {
			j := newJSONImage(r)
			j.AllowedToFail = r.Status.Bad() && allowed[r.Image]
			j.Phases = phaseSeconds(s.Times.Images[r.Image])
			out = append(out, j)
		}
		return out
	}
	js := jsonSummary{
		Built: list(build.StatusBuilt, build.StatusUnchanged),
		Failed: list(build.StatusError, build.StatusParentError, build.StatusPushError, build.StatusLoadError,
			build.StatusCanceled),
		NotMatched:  []jsonName{},
		Skipped:     list(build.StatusSkipped),
		Unbuildable: list(build.StatusUnbuildable),
	}
	if s.Err != nil {
		js.Error = s.Err.Error()
	}
	if len(s.Times.Images) > 0 {
		js.Times = s.Times.json(s.Duration)
	}
	for _, r := range s.with(build.StatusUnmatched) {
		js.NotMatched = append(js.NotMatched, jsonName{r.Image.String()})
	}
	return js
}

// WriteJSON writes the summary as one line of JSON, as upstream does with
// --format json. The fields built, failed, not_matched, skipped and unbuildable,
// and the status of failed images, are upstream's; the others are additions.
func (s Summary) WriteJSON(w io.Writer) error {
	return encode(w, s.json(), "")
}

// WriteJSONFile writes the summary to a file, indented by four spaces as upstream does
// with --summary-json-file. A regular file is replaced atomically; other files, such as
// /dev/stdout, are written in place.
func (s Summary) WriteJSONFile(path string) error {
	err := atomicfile.Output(path, atomicfile.Options{}, func(w io.Writer) error { return encode(w, s.json(), "    ") })
	if err != nil {
		return fmt.Errorf("writing the JSON summary: %w", err)
	}
	return nil
}

func encode(w io.Writer, v any, indent string) error {
	return printable.EncodeJSON(w, v, "", indent)
}
