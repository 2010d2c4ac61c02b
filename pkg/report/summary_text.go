package report

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/charmbracelet/x/ansi"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
)

// TextOptions are the settings of WriteText. With the zero value, output to a
// terminal has its width and colours, other output neither.
type TextOptions struct {
	// Width is the maximum width of tables, in columns. 0 means the width of the
	// terminal, or no limit if the writer is not a terminal.
	Width int

	// NotMatched also lists the images that were not selected, as upstream does
	// with --debug.
	NotMatched bool

	// Getenv returns NO_COLOR, TERM, LC_ALL, LC_CTYPE and LANG. nil means
	// os.Getenv.
	Getenv func(string) string
}

// maxSkipped is how many skipped descendants are listed by name, and maxPeers how
// many images with the same failure. The others are counted.
const maxSkipped, maxPeers = 12, 12

type textWriter struct {
	style
	w     *bufio.Writer
	width int
}

// WriteText writes the summary for people: the images that were built, then those
// that failed, causes with the most skipped descendants first, then the totals. Its
// headings are upstream's.
func (s Summary) WriteText(w io.Writer, opts TextOptions) error {
	getenv := opts.Getenv
	if getenv == nil {
		getenv = os.Getenv
	}
	t := &textWriter{w: bufio.NewWriter(w), width: opts.Width}
	t.utf8 = utf8Locale(getenv)
	if f := console.Terminal(w); f != nil {
		t.color = colorful(getenv)
		if t.width == 0 {
			t.width, _ = terminalSize(f)
		}
	}
	idle := s.writeBuilt(t)
	s.writeFailed(t)
	s.writeNames(t, opts)
	s.writeTotals(t, idle)
	if len(s.Next) > 0 {
		t.println()
		for _, line := range s.Next {
			t.println(t.text(line))
		}
	}
	return t.w.Flush()
}

func (t *textWriter) println(parts ...string) {
	for _, p := range parts {
		_, _ = t.w.WriteString(p) // the error sticks; Flush returns it
	}
	_ = t.w.WriteByte('\n')
}

func (t *textWriter) heading(title string, tn tone) {
	rule := strings.Repeat("=", len(title))
	if t.width > 0 && len(rule) > t.width {
		rule = rule[:t.width]
	}
	t.println(t.paint(tn, rule))
	t.println(t.paint(tn, title))
	t.println(t.paint(tn, rule))
}

// writeBuilt reports whether it printed that all images are unchanged.
func (s Summary) writeBuilt(t *textWriter) (idle bool) {
	built := s.with(build.StatusBuilt)
	unchanged := s.with(build.StatusUnchanged)
	var retagged []Result // unchanged images with a changed tag
	for _, r := range unchanged {
		if r.TagsChanged {
			retagged = append(retagged, r)
		}
	}
	if len(built) == 0 {
		if len(unchanged) > 0 && s.Count(build.StatusError, build.StatusParentError,
			build.StatusPushError, build.StatusLoadError, build.StatusCanceled) == 0 {
			result := "Nothing to do: "
			if idle = len(retagged) == 0; !idle {
				result = "Nothing to build, " + units.Count(len(retagged), "image") + " published under new tags: "
			}
			end := "."
			if idle {
				end = s.took() + end
			}
			t.println(t.mark(goodTone), " ", result, units.Count(len(unchanged), "image"), " unchanged", end)
		}
		if len(retagged) == 0 {
			return idle
		}
	}
	if len(built) > 0 {
		t.heading("Successfully built images", boldTone)
	} else {
		t.heading("Images published without a build", boldTone)
	}
	built = append(built, retagged...)
	pattern := commonReference(built)
	rows := make([][]string, 0, len(built))
	for _, r := range built {
		status := string(r.Status)
		if r.Pushed {
			status += ", pushed"
		}
		ref := oneLine(r.Reference)
		if pattern != "" {
			ref = ""
		}
		duration := units.Duration(r.Duration)
		if r.Status == build.StatusUnchanged {
			duration = ""
		}
		rows = append(rows, []string{
			oneLine(r.Image.String()), status, duration, sizeText(r.Size),
			ref, shortDigest(r.Digest),
		})
	}
	for _, line := range t.table(t.width, []column{
		{title: "IMAGE", keep: true},
		{title: "STATUS"},
		{title: "TIME", right: true, keep: true},
		{title: "SIZE", right: true},
		{title: "REFERENCE"},
		{title: "DIGEST"},
	}, rows) {
		t.println(line)
	}
	if pattern != "" {
		t.println("Their references are ", t.text(pattern))
	}
	t.println()
	return false
}

// took returns the duration of the run, with a preposition, "" if it is not known.
func (s Summary) took() string {
	if s.Duration <= 0 {
		return ""
	}
	return " in " + units.Duration(s.Duration)
}

// commonReference returns the pattern of the references of several images, such as
// "localhost:4000/kolla/IMAGE:tag", "" if they have no common one. The pattern needs
// one line instead of a wide column.
func commonReference(results []Result) string {
	if len(results) < 2 {
		return ""
	}
	first := results[0]
	name := first.Image.String()
	i := strings.LastIndex(first.Reference, name)
	if i < 0 || name == "" {
		return ""
	}
	before, after := first.Reference[:i], first.Reference[i+len(name):]
	for _, r := range results {
		if r.Reference != before+r.Image.String()+after {
			return ""
		}
	}
	return oneLine(before + "IMAGE" + after)
}

func sizeText(n int64) string {
	if n <= 0 {
		return ""
	}
	return units.Bytes(n)
}

// shortDigest returns the algorithm and 12 digits, which are enough for registries
// and tools to recognise a digest.
func shortDigest(d digest.Digest) string {
	algo, hex, ok := strings.Cut(d.String(), ":")
	if !ok || len(hex) <= 12 {
		return oneLine(d.String())
	}
	return oneLine(algo + ":" + hex[:12])
}

// group is a cause of failure: the images that failed in the same way, and those
// that were skipped because of them.
type group struct {
	peers   []Result
	skipped []image.ID
}

// groups returns the failed images by cause, the one with the most skipped images first.
func (s Summary) groups() (causes []*group, canceled []image.ID, orphans []Result) {
	byID := s.byID()
	owner := map[image.ID]*group{}
	byCause := map[string]*group{}
	for _, r := range s.with(build.StatusError, build.StatusPushError, build.StatusLoadError) {
		key := causeKey(r)
		g := byCause[key]
		if g == nil {
			g = &group{}
			byCause[key] = g
			causes = append(causes, g)
		}
		g.peers = append(g.peers, r)
		owner[r.Image] = g
	}
	for _, r := range s.with(build.StatusParentError) {
		if g := owner[failedAncestor(r, byID)]; g != nil {
			g.skipped = append(g.skipped, r.Image)
		} else {
			orphans = append(orphans, r)
		}
	}
	for _, r := range s.with(build.StatusCanceled) {
		canceled = append(canceled, r.Image)
	}
	sort.SliceStable(causes, func(i, j int) bool {
		a, b := causes[i], causes[j]
		if ae, be := a.peers[0].Status == build.StatusError, b.peers[0].Status == build.StatusError; ae != be {
			return ae
		}
		if len(a.skipped) != len(b.skipped) {
			return len(a.skipped) > len(b.skipped)
		}
		return len(a.peers) > len(b.peers)
	})
	return causes, canceled, orphans
}

// causeKey is equal for images with the same external cause of failure, such as an
// unreachable registry: it is the error without the image's own names. An image with a
// failed step is always a cause of its own, because equal exit codes have no meaning.
func causeKey(r Result) string {
	f := r.Failure
	if f == nil || f.Err == nil || f.Step != "" || len(f.Source) > 0 || f.ExitCode != 0 {
		return r.Image.String()
	}
	msg := f.Err.Error()
	for _, identifier := range []string{r.Reference, r.Digest.String(), r.Image.String()} {
		if identifier != "" {
			msg = strings.ReplaceAll(msg, identifier, "\x00")
		}
	}
	return string(r.Status) + "\x00" + msg
}

func (s Summary) writeFailed(t *textWriter) {
	causes, canceled, orphans := s.groups()
	if len(causes)+len(canceled)+len(orphans) == 0 {
		return
	}
	allowed := s.allowed()
	if len(causes)+len(orphans) > 0 {
		t.heading("Images that failed to build", badTone)
	} else {
		t.heading("Images that were not finished", warnTone)
	}
	for _, g := range causes {
		s.writeCause(t, g, allowed)
		t.println()
	}
	for _, r := range orphans {
		t.println(t.mark(plainTone), " ", t.text(oneLine(r.Image.String())), " Failed with status: ", upstreamStatus(r),
			allowedText(allowed, r.Image), reasonText(t, r.Reason))
	}
	if len(canceled) > 0 {
		t.println(t.mark(plainTone), " ", units.Count(len(canceled), "image"), " not finished, the run was interrupted:")
		t.names(image.Strings(canceled), "    ", 4*maxSkipped)
	}
	if len(canceled)+len(orphans) > 0 {
		t.println()
	}
}

func reasonText(t *textWriter, reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + t.text(oneLine(reason))
}

func allowedText(allowed map[image.ID]bool, id image.ID) string {
	if allowed[id] {
		return " (allowed to fail)"
	}
	return ""
}

func (s Summary) writeCause(t *textWriter, g *group, allowed map[image.ID]bool) {
	r := g.peers[0]
	t.println(t.mark(badTone), " ", t.paint(boldTone, t.text(oneLine(r.Image.String()))),
		" Failed with status: ", t.paint(badTone, upstreamStatus(r)), allowedText(allowed, r.Image))
	f := r.Failure
	if f == nil {
		f = &build.Failure{}
	}
	cause := r.Reason
	if f.Err != nil {
		cause = f.Err.Error()
	}
	t.block("cause", cause)
	step := oneLine(f.Step)
	if len(f.Source) > 0 {
		step = brief(step) // the complete instruction is printed below
	}
	if f.ExitCode != 0 {
		step = strings.TrimSpace(fmt.Sprintf("%s (exit code %d)", step, f.ExitCode))
	}
	t.field("step", step)
	t.field("template", oneLine(f.Template))
	place := oneLine(f.Dockerfile)
	if place != "" && f.Line > 0 {
		place = fmt.Sprintf("%s:%d", place, f.Line)
	}
	t.field("rendered", place)
	for i, line := range f.Source {
		number := ""
		if f.Line > 0 {
			number = fmt.Sprint(f.Line + i)
		}
		t.println(t.paint(dimTone, fmt.Sprintf("%8s | ", number)), t.text(Sanitize([]byte(line))))
	}
	if len(f.Tail) > 0 {
		t.println("    ", t.paint(dimTone, fmt.Sprintf("last %s of output:", units.Count(len(f.Tail), "line"))))
		for _, line := range f.Tail {
			t.println(t.paint(dimTone, "         | "), t.text(Sanitize([]byte(line))))
		}
	}
	t.field("log", s.logPath(r))
	t.block("hint", f.Hint)
	if len(g.peers) > 1 {
		names := make([]string, 0, len(g.peers)-1)
		for _, p := range g.peers[1:] {
			names = append(names, p.Image.String()+allowedText(allowed, p.Image))
		}
		t.println("    ", units.Count(len(names), "more image"), " failed in the same way:")
		t.names(names, "      ", maxPeers)
	}
	if len(g.skipped) > 0 {
		subject := r.Image.String()
		if len(g.peers) > 1 {
			subject = "they"
		}
		t.println("    ", units.Count(len(g.skipped), "image"), " skipped because ", t.text(oneLine(subject)), " failed:")
		t.names(image.Strings(g.skipped), "      ", maxSkipped)
	}
}

// logPath prefers the link that marks a failed log, because it sorts first in the
// directory.
func (s Summary) logPath(r Result) string {
	if r.Log == "" || r.Status != build.StatusError {
		return oneLine(r.Log)
	}
	link := filepath.Join(filepath.Dir(r.Log), FailedPrefix+filepath.Base(r.Log))
	if _, err := os.Lstat(link); err == nil {
		return oneLine(link)
	}
	return oneLine(r.Log)
}

func (t *textWriter) field(name, value string) {
	if value != "" {
		t.println("    ", t.paint(dimTone, fmt.Sprintf("%-10s", name+":")), t.text(value))
	}
}

// block is field for text that may have several lines.
func (t *textWriter) block(name, value string) {
	lines := strings.Split(strings.TrimRight(value, "\n"), "\n")
	t.field(name, Sanitize([]byte(lines[0])))
	for _, line := range lines[1:] {
		t.println("              ", t.text(Sanitize([]byte(line))))
	}
}

// names prints up to limit names, wrapped to lines.
func (t *textWriter) names(names []string, indent string, limit int) {
	rest := 0
	if len(names) > limit+1 {
		rest = len(names) - limit
		names = names[:limit]
	}
	clean := make([]string, 0, len(names)+1)
	for _, n := range names {
		clean = append(clean, oneLine(n))
	}
	if rest > 0 {
		clean = append(clean, fmt.Sprintf("and %d more", rest))
	}
	width := t.width
	if width == 0 {
		width = 100
	}
	for _, line := range t.wrapList(clean, indent, width) {
		t.println(line)
	}
}

// requested returns the images that an expression or a profile names.
func requested(rs []Result) []Result {
	return slices.DeleteFunc(rs, func(r Result) bool { return r.NotRequested })
}

func (s Summary) writeNames(t *textWriter, opts TextOptions) {
	list := func(title string, rs []Result) {
		if len(rs) == 0 {
			return
		}
		t.heading(title, boldTone)
		for _, r := range rs {
			t.println(t.text(oneLine(r.Image.String())), reasonText(t, r.Reason))
		}
		t.println()
	}
	if opts.NotMatched {
		list("Images not matched for build by regex", s.with(build.StatusUnmatched))
	}
	list("Images skipped due to build options", s.with(build.StatusSkipped))
	list("Images not buildable due to build options", requested(s.with(build.StatusUnbuildable)))
}

// writeTotals prints the number of images of each status, sizes and pushes. After an idle
// run, the number of images and the duration have been printed.
func (s Summary) writeTotals(t *textWriter, idle bool) {
	var parts []string
	add := func(tn tone, n int, label string) {
		if n > 0 {
			parts = append(parts, t.paint(tn, fmt.Sprintf("%d %s", n, label)))
		}
	}
	add(goodTone, s.Count(build.StatusBuilt), "built")
	if !idle {
		add(plainTone, s.Count(build.StatusUnchanged), "unchanged")
	}
	add(badTone, s.Count(build.StatusError), "failed")
	add(badTone, s.Count(build.StatusPushError), "not pushed")
	add(badTone, s.Count(build.StatusLoadError), "not loaded")
	add(warnTone, s.Count(build.StatusParentError), "skipped because a parent failed")
	add(warnTone, s.Count(build.StatusCanceled), "not finished")
	add(plainTone, s.Count(build.StatusSkipped), "skipped")
	add(plainTone, s.Count(build.StatusUnbuildable), "unbuildable")
	if len(parts) == 0 && !idle {
		t.println("No images.")
		return
	}
	var sentences []string
	if len(parts) > 0 {
		took := s.took()
		if idle {
			took = ""
		}
		sentences = append(sentences, strings.Join(parts, ", ")+took+".")
	}
	var size int64
	pushed, changed := 0, 0
	for _, r := range s.Results {
		size += r.Size
		if r.Pushed {
			pushed++
		}
		if r.TagsChanged {
			changed++
		}
	}
	if size > 0 {
		// Images share their parents' layers, so the store is smaller than the sum.
		sentences = append(sentences, fmt.Sprintf("Sizes add up to %s, shared layers counted each time.", units.Bytes(size)))
	}
	if changed > 0 {
		sentences = append(sentences, fmt.Sprintf("%d pushed.", changed))
	}
	if present := pushed - changed; present > 0 {
		sentences = append(sentences, fmt.Sprintf("%d already in the registry.", present))
	}
	if len(sentences) == 0 {
		return
	}
	line := strings.Join(sentences, " ")
	if t.width > 0 {
		line = ansi.Wordwrap(line, t.width, "")
	}
	t.println(line)
}
