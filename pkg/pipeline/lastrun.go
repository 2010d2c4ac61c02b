package pipeline

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/plan"
)

// lastRunFile is the record of the last run that began to build, in the data
// directory: JSON lines, the first one runHead, then a runLine for each image
// that ended and one for the end of the run. Lines are added as things happen,
// so that the record is right whenever the run is killed: what has no line was
// not reached.
const lastRunFile = "last-run.jsonl"

// runHead says what a run set out to do.
type runHead struct {
	Version int        `json:"version"`
	Started time.Time  `json:"started"`
	Scope   runScope   `json:"scope"`
	Images  []image.ID `json:"images"` // all that were selected, parents first
}

// runScope is what decides which images the names stand for. A run that goes on
// from another must have the same.
type runScope struct {
	Base        string `json:"base"`
	InstallType string `json:"install_type"`
	Arch        string `json:"arch"`
	Platform    string `json:"platform,omitempty"`
	Registry    string `json:"registry,omitempty"`
	Namespace   string `json:"namespace"`
	Prefix      string `json:"prefix,omitempty"`
	Tag         string `json:"tag"`
}

// scopeOf is a run's scope by the configuration as the user gave it: that of
// one of its platforms names this platform alone.
func scopeOf(cfg *config.Config) runScope {
	if n, _, err := namingOf(cfg).Normalize(); err == nil {
		c := *cfg
		c.Registry, c.Namespace, cfg = n.Registry, n.Namespace, &c
	}
	return runScope{cfg.Base, cfg.InstallType, cfg.BaseArch, cfg.Platform, cfg.Registry, cfg.Namespace, cfg.ImageNamePrefix, cfg.Tag}
}

// difference names the first option in which two scopes differ.
func (s runScope) difference(o runScope) (option, was, is string) {
	for _, d := range [][3]string{{"--base", s.Base, o.Base}, {"--type", s.InstallType, o.InstallType}, {"--base-arch", s.Arch, o.Arch}, {"--platform", s.Platform, o.Platform},
		{"--registry", s.Registry, o.Registry}, {"--namespace", s.Namespace, o.Namespace}, {"--image-name-prefix", s.Prefix, o.Prefix}, {"--tag", s.Tag, o.Tag}} {
		if d[1] != d[2] {
			return d[0], d[1], d[2]
		}
	}
	return "", "", ""
}

// runLine is the end of an image, or of the run.
type runLine struct {
	Image     image.ID     `json:"image,omitzero"`
	Status    build.Status `json:"status,omitempty"`
	Reason    string       `json:"reason,omitempty"`
	Ended     bool         `json:"ended,omitempty"`     // the run came to its end
	Published bool         `json:"published,omitempty"` // with Ended: the tags were moved, or none had to be
}

// journal writes the record of a run that runs.
type journal struct {
	mu   sync.Mutex
	file *os.File
	err  error
}

// newJournal begins a run's record. The last run's is there until then.
func newJournal(dataDir string, scope runScope, p *plan.Plan) (*journal, error) {
	head := runHead{Version: 1, Started: time.Now().UTC().Truncate(time.Second), Scope: scope}
	for _, it := range p.Items {
		head.Images = append(head.Images, it.Image)
	}
	data, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dataDir, lastRunFile)
	if err := writeFile(path, append(data, '\n')); err != nil {
		return nil, fmt.Errorf("writing the run's record: %w", err)
	}
	// The file itself, not its name: another run may put its own there.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return nil, fmt.Errorf("writing the run's record: %w", err)
	}
	return &journal{file: f}, nil
}

// handle notes an image's end. It is for report.Tee.
func (j *journal) handle(e build.Event) {
	if e.Kind == build.EventImageEnd {
		j.write(runLine{Image: e.Image, Status: e.Result.Status, Reason: e.Result.Reason})
	}
}

func (j *journal) write(l runLine) {
	data, err := json.Marshal(l)
	j.mu.Lock()
	defer j.mu.Unlock()
	if err == nil && j.err == nil {
		_, err = j.file.Write(append(data, '\n'))
	}
	if j.err == nil {
		j.err = err
	}
}

// end notes that the run came to its end, and whether its tags were moved. It
// returns the first error of writing.
func (j *journal) end(ctx context.Context, published error) error {
	if ctx.Err() == nil {
		j.write(runLine{Ended: true, Published: published == nil})
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err != nil {
		return fmt.Errorf("writing the run's record, from which --rerun-failed goes on: %w", j.err)
	}
	return nil
}

// close closes the record of a run, if it has one.
func (j *journal) close() {
	if j != nil {
		j.file.Close()
	}
}

// lastRun is a record as read.
type lastRun struct {
	runHead
	ended map[image.ID]runLine // by image; the last line counts
	end   runLine
}

// openLastRun reads the record. A line that a killed run has left half-written
// counts as none.
func openLastRun(dataDir string) (*lastRun, error) {
	path := filepath.Join(dataDir, lastRunFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &HintError{fmt.Errorf("--rerun-failed: there is no earlier run in %s", dataDir), "leave --rerun-failed away; --data-dir names the directory of an earlier run"}
	}
	if err != nil {
		return nil, fmt.Errorf("--rerun-failed: %w", err)
	}
	l := &lastRun{ended: map[image.ID]runLine{}}
	sc := bufio.NewScanner(bytes.NewReader(data))
	sc.Buffer(nil, len(data)+1)
	if !sc.Scan() || json.Unmarshal(sc.Bytes(), &l.runHead) != nil || l.Version != 1 {
		return nil, &HintError{fmt.Errorf("--rerun-failed: %s is no record of a run that this version can read", path), "leave --rerun-failed away: what is done is kept all the same"}
	}
	for sc.Scan() {
		var line runLine
		if json.Unmarshal(sc.Bytes(), &line) != nil {
			continue
		}
		if line.Ended {
			l.end = line
		} else {
			l.ended[line.Image] = line
		}
	}
	return l, nil
}

// done reports whether the run did all that it was to do for an image.
func (l *lastRun) done(id image.ID) bool {
	line, ok := l.ended[id]
	return ok && !line.Status.Bad()
}

// redo names the images that are built though the store has them: with --nocache
// those of the last run that it did not do, and what stands on them. One that was
// built and not uploaded has children on what it was then.
func (l *lastRun) redo(cfg *config.Config, inputs []plan.Input) map[image.ID]bool {
	again := map[image.ID]bool{}
	if l == nil || cfg.Cache {
		return again
	}
	for _, in := range inputs { // parents first
		again[in.Image] = !l.done(in.Image) || slices.ContainsFunc(in.Needs, func(n image.ID) bool { return again[n] })
	}
	return again
}

// withLastRun returns a configuration that selects the images of the last run,
// those of them that the user's own expressions match if there are any, and the
// record.
func withLastRun(cfg *config.Config, env Env) (*config.Config, *lastRun, error) {
	l, err := openLastRun(cfg.DataDir)
	if err != nil {
		return nil, nil, err
	}
	if opt, was, is := l.Scope.difference(scopeOf(cfg)); opt != "" {
		return nil, nil, &HintError{fmt.Errorf("--rerun-failed: the last run was with %s %q, this one is with %q", opt, was, is), "give the options of that run, or leave --rerun-failed away"}
	}
	patterns, err := imageset.CompilePatterns(cfg.Regex)
	if err != nil {
		return nil, nil, err
	}
	c := *cfg
	c.Regex, c.Profile = nil, nil
	left, all := 0, 0
	for _, id := range l.Images {
		if match, err := patterns.Match(id.Name); err != nil {
			return nil, nil, err
		} else if !match {
			continue
		}
		all++
		if !l.done(id) {
			left++
		}
		if re := "^" + regexp.QuoteMeta(id.Name) + "$"; !slices.Contains(c.Regex, re) {
			c.Regex = append(c.Regex, re)
		}
	}
	if len(c.Regex) == 0 {
		return nil, nil, &HintError{fmt.Errorf("--rerun-failed: none of the %d images of the last run matches %q", len(l.Images), cfg.Regex), "leave the expressions away to take them all"}
	}
	when := l.Started.Local().Format(time.DateTime)
	switch {
	case left > 0:
		env.Notice("the run of %s left %d of %d images undone; going on from there", when, left, all)
	case l.end.Ended && !l.end.Published:
		env.Notice("the run of %s built all %d images and did not publish them", when, all)
	default:
		env.Notice("the run of %s left nothing undone: all %d images are there", when, all)
	}
	return &c, l, nil
}
