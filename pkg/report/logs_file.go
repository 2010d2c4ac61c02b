package report

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
)

// open creates the file of an image that has started. An image that is only loaded into
// an engine has no steps and no file, so that the log of its build stays the last one.
func (l *Logs) open(im *imageLog) {
	if im.begun == nil || l.err != nil {
		return
	}
	e := *im.begun
	im.begun = nil
	l.create(im, e)
}

// openNew is like open, but keeps the log of an earlier run: the image may have been canceled
// before its first step, or while it was loaded into an engine.
func (l *Logs) openNew(im *imageLog) {
	if im.begun == nil {
		return
	}
	if _, err := os.Lstat(l.path(im.begun.Image)); err == nil {
		im.begun = nil
		return
	}
	l.open(im)
}

// path returns the path of an image's log.
func (l *Logs) path(id image.ID) string {
	return filepath.Join(l.opts.Dir, LogName(id.String())+".log")
}

// create creates the file of an image's log.
func (l *Logs) create(im *imageLog, e build.Event) {
	path := l.path(e.Image)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		l.fail(fmt.Errorf("creating the log of %s: %w", e.Image, err))
		return
	}
	im.file, im.w = f, bufio.NewWriterSize(f, 32<<10)
	im.path = path
	l.line(im, fmt.Sprintf("# %s, %s", e.Image, stamp(e.Time)))
}

func stamp(t time.Time) string {
	if t.IsZero() {
		t = time.Now()
	}
	return t.UTC().Format(time.RFC3339)
}

func (l *Logs) header(im *imageLog, s build.Step) {
	name := s.Name
	if name == "" {
		name = s.ID
	}
	if im.current == s.ID {
		return
	}
	im.current = s.ID
	l.line(im, "==> "+oneLine(name))
}

// line writes a line that is not output, and starts a new line for it if needed.
func (l *Logs) line(im *imageLog, text string) {
	if im.w == nil {
		return
	}
	if im.midLine {
		text = "\n" + text
		im.midLine = false
	}
	if _, err := im.w.WriteString(text + "\n"); err != nil {
		l.fail(fmt.Errorf("writing a log: %w", err))
	}
}

func (l *Logs) closeFile(im *imageLog) {
	if im.file == nil {
		return
	}
	err := im.w.Flush()
	if cerr := im.file.Close(); err == nil {
		err = cerr
	}
	im.file, im.w = nil, nil
	if err != nil {
		l.fail(fmt.Errorf("writing a log: %w", err))
	}
}
