package runlogs

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/redact"
	"github.com/kolla-build/kolla-build/internal/suggest"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/report"
)

// Options select the logs that Show prints.
type Options struct {
	DataDir string
	Images  []string // names of images; none lists the logs of a run
	Run     string   // the name of a run, "" for the newest one that has the logs
	Failed  bool     // of the images that failed in the run
	Follow  bool     // until the image has ended
}

// Show prints logs without the characters that control a terminal, and with the
// credentials in URLs masked.
func Show(ctx context.Context, con *console.Console, opts Options) error {
	runs, err := list(Dir(opts.DataDir))
	if err != nil {
		return err
	}
	runs = slices.DeleteFunc(runs, func(r run) bool { return len(r.logs()) == 0 })
	if len(runs) == 0 {
		return usererr.Errorf("each build keeps the logs of the images that it builds", "no logs in %s", Dir(opts.DataDir))
	}
	if opts.Run != "" {
		at := slices.IndexFunc(runs, func(r run) bool { return r.name == opts.Run })
		if at < 0 {
			return usererr.Errorf("the newest are "+strings.Join(newest(runs), ", "), "no logs of run %q", opts.Run)
		}
		runs = runs[at : at+1]
	}
	var logs []Log
	switch {
	case opts.Failed:
		for _, image := range opts.Images {
			if _, err := find(runs[:1], image); err != nil {
				return err
			}
		}
		logs = failedOf(runs[0], opts.Images)
		if len(logs) == 0 {
			selection := "no image"
			if len(opts.Images) > 0 {
				selection = "none of these images"
			}
			con.Notice("%s failed in the run %s", selection, runs[0].name)
			return nil
		}
	case len(opts.Images) == 0:
		return writeList(con, runs[0])
	}
	for _, image := range opts.Images {
		if opts.Failed {
			break
		}
		found, err := find(runs, image)
		if err != nil {
			return err
		}
		for _, l := range found {
			logs = append(logs, lastBuild(con, runs, l))
		}
	}
	for i, l := range logs {
		if len(logs) > 1 {
			if i > 0 {
				fmt.Fprintln(con.Stdout)
			}
			fmt.Fprintf(con.Stdout, "==> %s <==\n", report.Sanitize([]byte(l.Path)))
		}
		if err := write(ctx, con.Stdout, l, opts.Follow); err != nil {
			return err
		}
	}
	return nil
}

func newest(runs []run) []string {
	var names []string
	for _, r := range runs[:min(len(runs), 5)] {
		names = append(names, r.name)
	}
	return names
}

// failedOf returns the logs of the failed images of a run, restricted to the named images
// if there are any.
func failedOf(r run, images []string) []Log {
	var logs []Log
	for _, l := range r.logs() {
		named := func(image string) bool { return l.isOf(image) }
		if l.Failed && (len(images) == 0 || slices.ContainsFunc(images, named)) {
			logs = append(logs, l)
		}
	}
	return logs
}

// isOf reports whether a log belongs to an image, for any platform if the name has none.
func (l Log) isOf(image string) bool {
	name := report.LogName(image)
	return l.Image == name || strings.HasPrefix(l.Image, name+"@")
}

// find returns the logs of an image in the newest run that has some: one for each platform.
func find(runs []run, image string) ([]Log, error) {
	var names []string
	for _, r := range runs {
		var found []Log
		for _, l := range r.logs() {
			if l.isOf(image) {
				found = append(found, l)
			}
			name, _, _ := strings.Cut(l.Image, "@")
			names = append(names, name, l.Image)
		}
		if len(found) > 0 {
			return found, nil
		}
	}
	slices.Sort(names)
	hint := suggest.DidYouMean(image, slices.Compact(names))
	if hint == "" {
		hint = "kolla-build logs lists the logs of the last run"
	}
	return nil, usererr.Usage(usererr.Errorf(hint, "no log of an image %q", image))
}

// lastBuild returns the log of the last build of an image, if it was skipped in later runs, of
// which a notice informs. l is its newest log.
func lastBuild(con *console.Console, runs []run, l Log) Log {
	end := ending(l.Path)
	if !report.LogSkipped(end) {
		return l
	}
	for _, r := range runs {
		for _, other := range r.logs() {
			if other.Image == l.Image && !report.LogSkipped(ending(other.Path)) {
				_, why, _ := strings.Cut(end, ": ")
				con.Notice("%s was skipped in the last run %s; this is the log of the run %s", l.Image, why, r.name)
				return other
			}
		}
	}
	return l
}

// writeList lists the logs of a run.
func writeList(con *console.Console, r run) error {
	w := console.NewTable(con.Stdout)
	fmt.Fprintln(w, "IMAGE\tSIZE\tEND")
	for _, l := range r.logs() {
		fmt.Fprintf(w, "%s\t%s\t%s\n", report.Sanitize([]byte(l.Image)), units.Bytes(l.Size), ending(l.Path))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	con.Notice("run %s, in %s", r.name, r.path)
	return nil
}

// ending returns how an image ended, from the last line of its log.
func ending(path string) string {
	f, err := inputfile.OpenRegular(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	const enough = 4 << 10
	if st, err := f.Stat(); err == nil && st.Size() > enough {
		_, _ = f.Seek(-enough, io.SeekEnd)
	}
	text, _ := io.ReadAll(io.LimitReader(f, enough))
	if end := report.LogEnding(string(lastLine(text))); end != "" {
		return visible([]byte(end))
	}
	return "not finished"
}

// visible returns the printable form of a line, without truncating it.
func visible(line []byte) string {
	var b strings.Builder
	for text := []byte(redact.InPlace(string(line))); len(text) > 0; {
		n := min(len(text), report.MaxLine)
		for n < len(text) && !utf8.RuneStart(text[n]) {
			n++
		}
		b.WriteString(report.Sanitize(text[:n]))
		text = text[n:]
	}
	return b.String()
}

func lastLine(text []byte) []byte {
	text = bytes.TrimRight(text, "\n")
	return text[bytes.LastIndexByte(text, '\n')+1:]
}

// followPoll is how often a log that is followed is read.
const followPoll = 200 * time.Millisecond

// write prints a log. Following ends when the image has ended.
func write(ctx context.Context, out io.Writer, l Log, follow bool) error {
	f, err := inputfile.OpenRegular(l.Path)
	if err != nil {
		return fmt.Errorf("reading a log: %w", err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 64<<10)
	var partial []byte
	complete := false
	for {
		part, err := r.ReadSlice('\n')
		partial = append(partial, part...)
		if err == nil || errors.Is(err, bufio.ErrBufferFull) || errors.Is(err, io.EOF) && !follow && len(partial) > 0 {
			end := ""
			if err == nil {
				end = "\n"
			}
			complete = report.LogEnding(string(bytes.TrimRight(partial, "\r\n"))) != ""
			if _, err := io.WriteString(out, visible(partial)+end); err != nil {
				return err
			}
			partial = partial[:0]
		}
		switch {
		case err == nil || errors.Is(err, bufio.ErrBufferFull):
		case !errors.Is(err, io.EOF):
			return fmt.Errorf("reading a log: %w", err)
		case !follow || complete:
			return nil
		default:
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(followPoll):
			}
		}
	}
}
