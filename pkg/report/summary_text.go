package report

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/charmbracelet/x/ansi"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/build"
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
