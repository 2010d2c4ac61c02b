package runstate

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/plan"
)

// LastRun is the record of an earlier run.
type LastRun struct {
	Started time.Time
	Scope   Scope
	Images  []image.ID // the selected images, parents first

	entries map[image.ID]entry // the last one of each image
	end     entry
}

// ReadLastRun reads the record of the last run in a data directory. A line that a
// killed run left incomplete is ignored.
func ReadLastRun(dataDir string) (*LastRun, error) {
	path := filepath.Join(dataDir, recordFile)
	data, err := inputfile.ReadRegular(path, inputfile.MaxState)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usererr.Errorf("omit --rerun-failed, or name the directory of an earlier run with --data-dir",
			"--rerun-failed: no earlier run in %s", dataDir)
	}
	if err != nil {
		return nil, fmt.Errorf("--rerun-failed: %w", inputfile.PlainError(err))
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, len(data)+1)
	var h header
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &h) != nil || h.Version != recordVersion {
		return nil, usererr.Errorf("omit --rerun-failed: images that are built already are kept anyway",
			"--rerun-failed: %s is not a record that this version can read", path)
	}
	l := &LastRun{Started: h.Started, Scope: h.Scope, Images: h.Images, entries: map[image.ID]entry{}}
	for lines.Scan() {
		var e entry
		switch {
		case json.Unmarshal(lines.Bytes(), &e) != nil:
		case e.Ended:
			l.end = e
		default:
			l.entries[e.Image] = e
		}
	}
	return l, nil
}

// CheckScope returns an error if a run with the given scope cannot continue this
// one.
func (l *LastRun) CheckScope(scope Scope) error {
	option, last, current := l.Scope.difference(scope)
	if option == "" {
		return nil
	}
	return usererr.Errorf("repeat the options of that run, or omit --rerun-failed",
		"--rerun-failed: the last run had %s %q, this one has %q", option, last, current)
}

// completed reports whether the run completed all of its work for an image.
func (l *LastRun) completed(id image.ID) bool {
	e, ok := l.entries[id]
	return ok && !e.Status.Bad()
}

// Incomplete returns the images that must be built again although they are stored:
// those that the run did not complete, and their descendants. An image that was built
// but not uploaded may have children that depend on its previous version.
func (l *LastRun) Incomplete(inputs []plan.Input) map[image.ID]bool {
	incomplete := map[image.ID]bool{}
	for _, in := range inputs { // parents first
		incomplete[in.Image] = !l.completed(in.Image) ||
			slices.ContainsFunc(in.Needs, func(n image.ID) bool { return incomplete[n] })
	}
	return incomplete
}

// Describe returns a line about the remaining work for some of the run's images.
func (l *LastRun) Describe(images []image.ID) string {
	remaining := 0
	for _, id := range images {
		if !l.completed(id) {
			remaining++
		}
	}
	started := l.Started.Local().Format(time.DateTime)
	switch {
	case remaining > 0:
		return fmt.Sprintf("continuing the run of %s, which did not complete %d of %s", started, remaining,
			units.Count(len(images), "image"))
	case l.end.Ended && !l.end.Published:
		return fmt.Sprintf("the run of %s built all %s but did not publish them", started, units.Count(len(images), "image"))
	}
	return fmt.Sprintf("the run of %s completed all %s", started, units.Count(len(images), "image"))
}
