package page

import (
	"fmt"
	"html/template"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/report"
)

// view is the data of the template, as text.
type view struct {
	CSS    template.CSS
	Script template.JS
	Policy string

	Title, Verdict, Outcome, Sign, Lead string
	Started, StartedISO, Took, Version  string
	Err                                 string
	Tags                                []string
	Registry                            string
	Tiles                               []tile
	Causes                              []cause
	Packages                            []packageChange
	Graph                               *graph
	Timeline                            *timeline
	Times                               *times
	Images                              []row
	Statuses                            []legend // those that occur
	Past                                []pastRun
	Notes                               []string
}

// tile is a figure at the top of the page.
type tile struct{ Name, Value, Note, Class string }

// legend is a status with its sign and its words.
type legend struct {
	Status, Sign, Word string
	N                  int
}

// legends are ordered by importance. Statuses differ in their signs as well, since
// not everybody can distinguish colours.
var legends = []legend{
	{Status: string(build.StatusError), Sign: "✗", Word: "failed"},
	{Status: string(build.StatusPushError), Sign: "⇡", Word: "not pushed"},
	{Status: string(build.StatusLoadError), Sign: "⇣", Word: "not loaded"},
	{Status: string(build.StatusParentError), Sign: "↳", Word: "skipped, a parent failed"},
	{Status: string(build.StatusCanceled), Sign: "…", Word: "not finished"},
	{Status: string(build.StatusBuilt), Sign: "✓", Word: "built"},
	{Status: string(build.StatusUnchanged), Sign: "=", Word: "unchanged"},
	{Status: string(build.StatusSkipped), Sign: "–", Word: "left out"},
	{Status: string(build.StatusUnbuildable), Sign: "∅", Word: "unbuildable"},
}

func legendOf(s build.Status) legend {
	for _, l := range legends {
		if l.Status == string(s) {
			return l
		}
	}
	return legend{Status: string(s), Sign: "?", Word: string(s)}
}

func newView(run *report.Run, dir string) *view {
	v := &view{Title: clean(run.Title), Version: clean(run.Version), Outcome: string(run.Outcome),
		Started: run.Started.Format("Monday, 2 January 2006, 15:04 MST"), StartedISO: run.Started.Format(time.RFC3339),
		Took: units.Duration(run.Duration), Registry: clean(run.Registry), Packages: packageChanges(run)}
	for _, t := range run.Tags {
		v.Tags = append(v.Tags, clean(t))
	}
	for _, n := range run.Notes {
		v.Notes = append(v.Notes, clean(n))
	}
	if run.Err != nil {
		v.Err = cleanLines(strings.Split(run.Err.Error(), "\n"))
	}
	path := report.CriticalPath(run.Activities, run.Needs)
	critical := map[image.ID]bool{}
	for _, l := range path {
		critical[l.Image] = true
	}
	logs := &logReader{dir: dir, budget: maxLogs}
	v.Causes = causes(run, logs)
	v.Timeline = newTimeline(run, path, critical)
	v.Times = newTimes(run)
	v.Graph = newGraph(nodes(run, critical))
	v.Images = images(run, logs, critical)
	for _, l := range legends {
		if l.N = run.Count(build.Status(l.Status)); l.N > 0 {
			v.Statuses = append(v.Statuses, l)
		}
	}
	v.verdict(run)
	v.Tiles = tiles(run, len(v.Packages))
	v.Past = pastRuns(run)
	return v
}

// verdict summarizes the run in a line and a sentence.
func (v *view) verdict(run *report.Run) {
	built, selected := run.Count(build.StatusBuilt), len(run.Selected())
	var lead []string
	switch {
	case run.Outcome == report.OutcomeInterrupted:
		v.Sign, v.Verdict = "…", "Interrupted"
	case run.Outcome == report.OutcomeFailed && run.Failed() > 0:
		v.Sign, v.Verdict = "✗", fmt.Sprintf("%d of %s failed", run.Failed(), units.Count(selected, "image"))
		if ownFailures := run.Count(build.OwnFailures()...); ownFailures < run.Failed() {
			lead = append(lead, fmt.Sprintf("%d by themselves, the others because a parent failed.", ownFailures))
		}
	case run.Outcome == report.OutcomeFailed:
		v.Sign, v.Verdict = "✗", "The run failed"
	case built == 0:
		v.Sign, v.Verdict = "✓", "Nothing to do"
		lead = append(lead, units.Count(selected, "image")+" unchanged.")
	default:
		v.Sign, v.Verdict = "✓", "Succeeded"
		lead = append(lead, fmt.Sprintf("%d of %s built, the others unchanged.", built, units.Count(selected, "image")))
	}
	switch {
	case run.Stuck > 0:
		lead = append(lead, fmt.Sprintf("The set was not published, and %s could not be restored: the error lists them.",
			units.Count(run.Stuck, "tag")))
	case len(run.Left) > 0:
		var unchanged []string
		for _, id := range run.Left {
			unchanged = append(unchanged, id.String())
		}
		lead = append(lead, "Published in part: the tags of "+clean(strings.Join(unchanged, ", "))+" were not changed.")
	case len(v.Tags) > 0:
	case run.Outcome != report.OutcomeOK && run.Publishes:
		lead = append(lead, "Nothing was published: no tag in the registry was changed.")
	default:
		lead = append(lead, "Publication was not requested.")
	}
	v.Lead = strings.Join(lead, " ")
}

func tiles(run *report.Run, packages int) []tile {
	var size, before int64
	pushed, compared := 0, 0
	for _, r := range run.Results {
		size += r.Size
		if b, ok := run.Before(r.Image); ok && r.Size > 0 {
			before += r.Size - b.Size
			compared++
		}
		if r.Pushed {
			pushed++
		}
	}
	sum := tile{Name: "sizes added up", Value: units.Bytes(size), Note: "shared layers counted each time"}
	if compared > 0 {
		sum.Note = change(before) + " since the last run"
	}
	duration := tile{Name: "time", Value: units.Duration(run.Duration)}
	if len(run.Past) > 0 {
		duration.Note = "last run " + units.Duration(time.Duration(run.Past[0].Seconds*float64(time.Second)))
	}
	failed := tile{Name: "failed", Value: fmt.Sprint(run.Count(build.OwnFailures()...))}
	if n := run.Count(build.StatusParentError, build.StatusCanceled); n > 0 {
		failed.Note = fmt.Sprintf("%d more skipped", n)
	}
	if failed.Value != "0" {
		failed.Class = "bad"
	}
	return []tile{failed,
		{Name: "built", Value: fmt.Sprint(run.Count(build.StatusBuilt))},
		{Name: "unchanged", Value: fmt.Sprint(run.Count(build.StatusUnchanged))},
		{Name: "in the registry", Value: fmt.Sprint(pushed)},
		{Name: "packages changed", Value: fmt.Sprint(packages)}, duration, sum}
}

// change formats a difference of sizes with its sign.
func change(n int64) string {
	switch {
	case n > 0:
		return "+" + units.Bytes(n)
	case n < 0:
		return "−" + units.Bytes(-n)
	}
	return "±0"
}

// packageChange is a changed package, with the images that it changed in.
type packageChange struct {
	Name, From, To string
	Images         []string
}

// packageChanges groups changes by package: a new openssl is one row for all images
// that have it.
func packageChanges(run *report.Run) []packageChange {
	index := map[report.PackageChange][]string{}
	for _, r := range run.Results {
		for _, c := range r.Packages {
			index[c] = append(index[c], clean(r.Image.String()))
		}
	}
	var out []packageChange
	for c, images := range index {
		slices.Sort(images)
		out = append(out, packageChange{clean(c.Name), clean(c.From), clean(c.To), images})
	}
	slices.SortFunc(out, func(a, b packageChange) int {
		if len(a.Images) != len(b.Images) {
			return len(b.Images) - len(a.Images)
		}
		return strings.Compare(a.Name+"\x00"+a.From+"\x00"+a.To, b.Name+"\x00"+b.From+"\x00"+b.To)
	})
	return out
}

// pastRun is a row of the table of earlier runs.
type pastRun struct {
	When, ISO, Outcome, Sign, Took, Tags string
	Built, Unchanged, Failed             int
	Bar                                  int // of its time, in percent of the longest
	Current                              bool
}

// maxPast is how many runs the table shows.
const maxPast = 14

func pastRuns(run *report.Run) []pastRun {
	if len(run.Past) == 0 {
		return nil
	}
	records := append([]report.Record{run.Record()}, run.Past[:min(len(run.Past), maxPast-1)]...)
	longest := 0.001
	for _, r := range records {
		longest = max(longest, r.Seconds)
	}
	var out []pastRun
	for i, r := range records {
		sign := "✓"
		if r.Outcome != report.OutcomeOK {
			sign = "✗"
		}
		out = append(out, pastRun{When: r.Started.Local().Format("Mon 2 Jan 15:04"), ISO: r.Started.Format(time.RFC3339),
			Outcome: string(r.Outcome), Sign: sign,
			Took: units.Duration(time.Duration(r.Seconds * float64(time.Second))), Tags: clean(strings.Join(r.Tags, ", ")),
			Built: r.Built, Unchanged: r.Unchanged, Failed: r.Failed, Bar: int(100 * r.Seconds / longest), Current: i == 0})
	}
	return out
}

// nodes returns the images of the graph.
func nodes(run *report.Run, critical map[image.ID]bool) []*node {
	var out []*node
	for _, r := range run.Selected() {
		l := legendOf(r.Status)
		name := clean(r.Image.String())
		n := &node{
			Name:     name,
			Parent:   clean(r.Parent.String()),
			Status:   l.Status,
			Sign:     l.Sign,
			Title:    name + ": " + l.Word,
			Critical: critical[r.Image],
		}
		for _, dependency := range run.Needs[r.Image] {
			if dependency != r.Parent {
				n.needs = append(n.needs, clean(dependency.String()))
			}
		}
		out = append(out, n)
	}
	return out
}

func clean(s string) string {
	return report.Sanitize([]byte(strings.Join(strings.Fields(s), " ")))
}

func cleanLines(lines []string) string {
	out := make([]string, 0, len(lines))
	for _, l := range lines {
		out = append(out, report.Sanitize([]byte(l)))
	}
	return strings.Join(out, "\n")
}

// link returns a relative URL from the page's directory to a file, "" if there is
// none, such as on another drive.
func link(dir, file string) string {
	abs, err := filepath.Abs(file)
	if err != nil || file == "" {
		return ""
	}
	rel, err := filepath.Rel(dir, abs)
	if err != nil {
		return ""
	}
	u := url.URL{Path: filepath.ToSlash(rel)}
	return u.String()
}
