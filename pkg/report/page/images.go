package page

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/report"
)

// row is an image in the table.
type row struct {
	ID, Name, Parent, Status, Sign, Word, Reason string
	Reference, Digest                            string
	Took, Size, Change                           string
	Seconds, Bytes, Delta                        float64 // sort keys of the columns
	Pushed, Critical, AllowedToFail              bool
	HasFailure                                   bool
	Packages                                     []report.PackageChange
	Steps                                        []step
	Log                                          string // a relative URL
}

type step struct {
	Name, Took, Err string
	Share           int // of the image's time, in percent
}

// Limits of the data of an image in the page.
const (
	maxSteps    = 15
	maxPackages = 500
)

func images(run *report.Run, logs *logReader, critical map[image.ID]bool) []row {
	allowed := map[image.ID]bool{}
	for _, id := range run.AllowedToFail {
		allowed[id] = true
	}
	var out []row
	for _, result := range run.Selected() {
		l := legendOf(result.Status)
		im := row{
			ID:            id(result.Image.String()),
			Name:          clean(result.Image.String()),
			Parent:        clean(result.Parent.String()),
			Status:        l.Status,
			Sign:          l.Sign,
			Word:          l.Word,
			Reason:        clean(result.Reason),
			Reference:     clean(result.Reference),
			Digest:        clean(result.Digest.String()),
			Seconds:       result.Duration.Seconds(),
			Bytes:         float64(result.Size),
			Pushed:        result.Pushed,
			Critical:      critical[result.Image],
			AllowedToFail: allowed[result.Image] && result.Status.Bad(),
			Log:           link(logs.dir, result.Log),
		}
		im.HasFailure = result.Status.OwnFailure()
		if result.Duration > 0 {
			im.Took = units.Duration(result.Duration)
		}
		if result.Size > 0 {
			im.Size = units.Bytes(result.Size)
			if before, ok := run.Before(result.Image); ok {
				im.Delta = float64(result.Size - before.Size)
				im.Change = change(result.Size - before.Size)
			}
		}
		for _, p := range result.Packages[:min(len(result.Packages), maxPackages)] {
			im.Packages = append(im.Packages, report.PackageChange{Name: clean(p.Name), From: clean(p.From), To: clean(p.To)})
		}
		im.Steps = steps(run.Activity(result.Image))
		out = append(out, im)
	}
	// Failed images come first, as in the legend.
	rank := map[string]int{}
	for i, l := range legends {
		rank[l.Status] = i
	}
	slices.SortStableFunc(out, func(a, b row) int {
		if rank[a.Status] != rank[b.Status] {
			return rank[a.Status] - rank[b.Status]
		}
		return strings.Compare(a.Name, b.Name)
	})
	return out
}

func steps(a report.Activity) []step {
	sorted := slices.Clone(a.Steps)
	slices.SortStableFunc(sorted, func(x, y report.StepTime) int { return int(y.Took - x.Took) })
	var out []step
	for _, s := range sorted[:min(len(sorted), maxSteps)] {
		st := step{Name: clean(s.Name), Took: units.Duration(s.Took), Err: clean(s.Err)}
		if total := a.End.Sub(a.Start); total > 0 {
			st.Share = min(100, int(100*s.Took/total))
		}
		out = append(out, st)
	}
	return out
}

// id is an image's name as an element's id.
func id(name string) string { return strings.Join(strings.Fields(clean(name)), "-") }

// cause is a failure with the skipped descendants of the failed image.
type cause struct {
	ID, Name, Word, Cause, Step, Template, Place, Hint string
	AllowedToFail                                      bool
	Source                                             []sourceLine
	Tail                                               string
	TailLines, SkippedCount                            string // with the unit
	Skipped                                            []string
	Log                                                string // a relative URL
	Full                                               string // the log's content, its end if it is long
	FullSize, FullNote                                 string
}

type sourceLine struct {
	No   string
	Text string
}

func causes(run *report.Run, logs *logReader) []cause {
	allowed := map[image.ID]bool{}
	for _, id := range run.AllowedToFail {
		allowed[id] = true
	}
	skipped := skippedImages(run)
	var out []cause
	for _, result := range run.Selected() {
		if !result.Status.OwnFailure() {
			continue
		}
		c := cause{ID: id(result.Image.String()), Name: clean(result.Image.String()), Word: legendOf(result.Status).Word,
			AllowedToFail: allowed[result.Image],
			Skipped:       skipped[result.Image], Cause: clean(result.Reason), Log: link(logs.dir, result.Log)}
		if f := result.Failure; f != nil {
			if f.Err != nil {
				c.Cause = cleanLines(strings.Split(f.Err.Error(), "\n"))
			}
			c.Step, c.Template, c.Hint = clean(f.Step), clean(f.Template), cleanLines(strings.Split(f.Hint, "\n"))
			if f.ExitCode != 0 {
				c.Step = strings.TrimSpace(fmt.Sprintf("%s (exit code %d)", c.Step, f.ExitCode))
			}
			if f.Dockerfile != "" && f.Line > 0 {
				c.Place = fmt.Sprintf("%s:%d", clean(f.Dockerfile), f.Line)
			}
			for i, line := range f.Source {
				c.Source = append(c.Source, sourceLine{fmt.Sprint(f.Line + i), report.Sanitize([]byte(line))})
			}
			c.Tail, c.TailLines = cleanLines(f.Tail), units.Count(len(f.Tail), "line")
		}
		c.SkippedCount = units.Count(len(c.Skipped), "image")
		c.Full, c.FullSize, c.FullNote = logs.read(result.Log)
		out = append(out, c)
	}
	slices.SortStableFunc(out, func(a, b cause) int {
		if a.AllowedToFail != b.AllowedToFail {
			if a.AllowedToFail {
				return 1
			}
			return -1
		}
		return len(b.Skipped) - len(a.Skipped)
	})
	return out
}

// skippedImages returns the images that were skipped, by the image that failed.
func skippedImages(run *report.Run) map[image.ID][]string {
	skipped := map[image.ID][]string{}
	for _, r := range run.Results {
		if r.Status != build.StatusParentError {
			continue
		}
		if c := run.FailedAncestor(r); !c.IsZero() {
			skipped[c] = append(skipped[c], clean(r.Image.String()))
		}
	}
	return skipped
}
