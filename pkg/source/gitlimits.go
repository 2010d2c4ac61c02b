package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
	"time"

	"github.com/kolla-build/kolla-build/internal/child"
	"github.com/kolla-build/kolla-build/internal/redact"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/untar"
)

// checkTree returns an error if a commit, and those that were checked before, have more files and
// directories than limit. A few kilobytes can describe billions, because trees may repeat others,
// and git lists all of them in memory before it writes the first.
func (c *checkout) checkTree(ctx context.Context, g gitCommand, commit string, limit int) error {
	entries := &entryCounter{limit: limit}
	g.stdout = entries
	err := c.f.retryGit(ctx, c.spec, func() error {
		entries.n = c.files
		_, err := g.run(ctx, "ls-tree", "-r", "-t", "-z", "--name-only", "--full-tree", commit)
		return err
	})
	if entries.n > limit && ctx.Err() == nil {
		return &Error{
			Section:  c.spec.Name,
			Location: redact.URL(c.location),
			Problem:  fmt.Sprintf("more than %d files and directories", limit),
			hint:     limitHint(c.spec),
		}
	}
	c.files = entries.n
	return err
}

// limitHint is for a repository that is larger than the limits.
func limitHint(s Spec) string {
	return fmt.Sprintf("check location in [%s]; an archive (type = url) of the files that are needed may be smaller", s.Name)
}

// entryCounter counts what ends with NUL, and fails after the limit.
type entryCounter struct{ n, limit int }

var errTooMany = errors.New("too many entries")

func (c *entryCounter) Write(p []byte) (int, error) {
	if c.n += bytes.Count(p, []byte{0}); c.n > c.limit {
		return 0, errTooMany
	}
	return len(p), nil
}

// lineWriter calls line for each line, without the byte that ends it.
type lineWriter struct {
	end     byte
	line    func(line string) error
	partial []byte
}

// maxLine is the longest path of a tree that git writes, and more.
const maxLine = 1 << 20

func (w *lineWriter) Write(p []byte) (int, error) {
	for rest := p; ; {
		line, after, ended := bytes.Cut(rest, []byte{w.end})
		w.partial = append(w.partial, line...)
		switch {
		case len(w.partial) > maxLine:
			return 0, errTooMany
		case !ended:
			return len(p), nil
		}
		if err := w.line(string(w.partial)); err != nil {
			return 0, err
		}
		w.partial, rest = w.partial[:0], after
	}
}

// sizeInterval is the shortest time between two measurements of a directory, and
// measureShare how much longer the time is than a measurement takes.
const (
	sizeInterval = 2 * time.Second
	measureShare = 20
)

// limitSize returns a context that ends when a directory takes more space, or has more files,
// than the limits. It measures from time to time, so that they may be exceeded by what is
// written meanwhile. stop ends the measurements.
func limitSize(ctx context.Context, dir string, limits untar.Limits) (limited context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for wait := sizeInterval; ; {
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			started := time.Now()
			switch files, size := measure(ctx, dir); {
			case size > limits.Bytes:
				cancel(&child.LimitError{Program: "git", Limit: units.Bytes(limits.Bytes) + " of files"})
			case files > 2*limits.Members: // for a while, git has as many files besides the tree
				cancel(&child.LimitError{Program: "git", Limit: fmt.Sprintf("%d files", 2*limits.Members)})
			}
			wait = max(sizeInterval, measureShare*time.Since(started))
		}
	}()
	return ctx, func() {
		cancel(nil)
		<-done
	}
}

// measure returns the number of files in a directory and the bytes that they take. Files
// that disappear meanwhile do not count.
func measure(ctx context.Context, dir string) (files int, size int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return filepath.SkipAll
		}
		if err != nil {
			return nil
		}
		files++
		if info, err := d.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				size += st.Blocks * 512
			}
		}
		return nil
	})
	return files, size
}
