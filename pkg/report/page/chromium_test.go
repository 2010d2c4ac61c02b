package page

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/report"
)

// browser is a real Chromium with a page open from a file, and records errors and
// requests of the page.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	said     []string
	requests []string
}

func open(t *testing.T, run *report.Run, dir string, width, height int64) *browser {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser")
	}
	exe := testenv.Program(t, "chromium", "chromium")
	file := filepath.Join(dir, "index.html")
	if err := WriteFile(file, run); err != nil {
		t.Fatal(err)
	}
	opts := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(exe),
		chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(time.Minute))
	alloc, cancel := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(cancel)
	b := &browser{t: t}
	ctx, cancel := chromedp.NewContext(alloc, chromedp.WithListener(b.listen))
	t.Cleanup(cancel)
	b.ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	b.do(command(log.Enable, cdp.Empty{}), command(network.Enable, network.EnableParams{}),
		chromedp.EmulateViewport(width, height), chromedp.Navigate((&url.URL{Scheme: "file",
			Path: file}).String()), chromedp.WaitReady("footer"))
	return b
}

// command is a protocol command as an action.
func command[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

func (b *browser) listen(ev any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := ev.(type) {
	case *runtime.EventExceptionThrown:
		b.said = append(b.said, e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		b.said = append(b.said, string(e.Type))
	case *log.EventEntryAdded:
		b.said = append(b.said, e.Entry.Text)
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	}
}

func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// eval returns the value of a JavaScript expression.
func eval[T any](b *browser, js string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](js))
	if err != nil {
		b.t.Fatalf("%s: %v", js, err)
	}
	return v
}

// becomes waits for a JavaScript expression to be true, as it is after an event that
// the browser delivers later. It reports whether it was.
func (b *browser) becomes(js string) bool {
	b.t.Helper()
	for range 200 {
		if eval[bool](b, js) {
			return true
		}
		time.Sleep(50 * time.Millisecond)
	}
	return false
}

// quiet fails the test if the page had errors or fetched other files.
func (b *browser) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.said) > 0 {
		b.t.Errorf("the browser complains: %q", b.said)
	}
	for _, r := range b.requests {
		if !strings.HasPrefix(r, "file://") && !strings.HasPrefix(r, "data:") {
			b.t.Errorf("the page fetches %s", r)
		}
	}
	if len(b.requests) == 0 {
		b.t.Error("not even the page itself was seen being fetched: the watch is blind")
	}
}

// shot writes a screenshot to the directory KOLLA_TEST_SHOTS, for people to look at.
func (b *browser) shot(name string, full bool) {
	b.t.Helper()
	dir := os.Getenv("KOLLA_TEST_SHOTS")
	if dir == "" {
		return
	}
	take := chromedp.CaptureScreenshot()
	if full {
		take = chromedp.FullScreenshot(100)
	}
	png, err := chromedp.Run(b.ctx, take)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

const (
	// visible reports whether an element is on the screen and not covered.
	visible = `(s => { const e = document.querySelector(s); if (!e) return false; const r = e.getBoundingClientRect();
		const at = document.elementFromPoint(r.x + Math.min(r.width, innerWidth) / 2, Math.min(innerHeight - 5, r.y + Math.min(r.height, 20) / 2));
		return r.height > 0 && r.top < innerHeight && r.bottom > 0 && !!at && (e.contains(at) || at.contains(e)); })`
	focused = `(e => !e ? "" : (e.id || e.getAttribute("href") || e.dataset.name || e.getAttribute("aria-label") || e.textContent.trim().replace(/\s+/g, " ")))(document.activeElement)`
)

func TestChromium187(t *testing.T) {
	dir := t.TempDir()
	b := open(t, big(t, dir), dir, 1400, 1000)
	b.shot("top", false)
	if n := eval[int](b, `document.querySelectorAll("#graph-svg .node").length`); n != 187 {
		t.Errorf("%d images in the graph, want 187", n)
	}
	if n := eval[int](b, `document.querySelectorAll("#timeline-svg .bar:not(.push)").length`); n < 100 {
		t.Errorf("%d bars in the timeline", n)
	}
	if n := eval[int](b, `document.querySelectorAll("#timeline-svg .bar.critical").length`); n == 0 ||
		n != eval[int](b, `document.querySelectorAll(".path li").length`) {
		t.Errorf("%d bars on the critical path", n)
	}
	// Boxes do not overlap, and all of them are within the picture.
	if clash := eval[string](b, `(() => { const r = Array.from(document.querySelectorAll("#graph-svg .node")).map(n => ({n: n.dataset.name, r: n.querySelector("rect").getBoundingClientRect()}));
		const s = document.querySelector("#graph-svg").getBoundingClientRect();
		for (const a of r) { if (a.r.left < s.left || a.r.right > s.right || a.r.bottom > s.bottom || a.r.top < s.top) return a.n + " is outside";
			for (const b of r) if (a !== b && a.r.left < b.r.right && b.r.left < a.r.right && a.r.top < b.r.bottom && b.r.top < a.r.bottom) return a.n + " lies on " + b.n; }
		return ""; })()`); clash != "" {
		t.Error(clash)
	}
	// Names fit their boxes in the browser's own font.
	if wide := eval[string](b,
		`Array.from(document.querySelectorAll("#graph-svg .node")).filter(n => n.querySelector("text").getBBox().x + n.querySelector("text").getBBox().width > n.querySelector("rect").getBBox().x + n.querySelector("rect").getBBox().width).map(n => n.dataset.name).join(" ")`); wide != "" {
		t.Errorf("names wider than their boxes: %s", wide)
	}
	if title := eval[string](b, `document.title`); !strings.Contains(title, "failed") {
		t.Errorf("title %q: a log has changed it", title)
	}
	eval[any](b, `document.querySelector("#timeline").scrollIntoView()`)
	b.shot("timeline", false)
	eval[any](b, `document.querySelector("#graph").scrollIntoView()`)
	b.shot("graph-all", false)
	b.graph()
	b.table()
	b.shot("full", true)
	b.quiet()
}

// graph: search, zoom, and arrow keys.
func (b *browser) graph() {
	b.do(chromedp.ScrollIntoView("#graph"), chromedp.SendKeys("#graph-find", "nova-lib"))
	if got := eval[string](b, `document.querySelector("#graph-found").textContent`); got != "1 of 1" {
		b.t.Errorf("search found %q", got)
	}
	if !eval[bool](b, visible+`(".node.found")`) {
		b.t.Error("what was found is not in sight")
	}
	b.shot("graph", false)
	before := eval[float64](b, `document.querySelector("#graph-svg").getBoundingClientRect().width`)
	b.do(chromedp.Click(`[data-graph="in"]`))
	if after := eval[float64](b, `document.querySelector("#graph-svg").getBoundingClientRect().width`); after <= before {
		b.t.Errorf("zooming in: %v to %v wide", before, after)
	}
	b.do(chromedp.Focus(`.node[tabindex="0"]`), chromedp.KeyEvent(kb.ArrowLeft), chromedp.KeyEvent(kb.ArrowLeft),
		chromedp.KeyEvent(kb.ArrowLeft))
	if got := eval[string](b, `document.activeElement.dataset.name`); got != "base" {
		b.t.Errorf("three times left from a failed image is %q", got)
	}
	b.do(chromedp.KeyEvent(kb.ArrowRight))
	b.do(chromedp.KeyEvent(kb.ArrowDown))
	if got := eval[string](b, `document.activeElement.dataset.name`); got != "collectd" {
		b.t.Errorf("right and down from base is %q", got)
	}
	b.do(chromedp.KeyEvent(kb.Enter))
	if !b.becomes(`document.activeElement.getAttribute("aria-expanded") === "true" && document.activeElement.closest("tbody").id === "image-collectd"`) {
		b.t.Errorf("Enter on an image leads to %s", eval[string](b, focused))
	}
	b.shot("row", false)
}

// table: sorting and filtering.
func (b *browser) table() {
	first := `document.querySelector("#image-table tbody").dataset.name`
	b.do(chromedp.Click(`th[data-sort="seconds"] button`))
	slowest := eval[string](b,
		`Array.from(document.querySelectorAll("#image-table tbody.image")).reduce((a, b) => Number(b.dataset.seconds) > Number(a.dataset.seconds) ? b : a).dataset.name`)
	if got := eval[string](b, first); got != slowest {
		b.t.Errorf("sorted by time, %s is first, the slowest is %s", got, slowest)
	}
	if got := eval[string](b, `document.querySelector('th[data-sort="seconds"]').getAttribute("aria-sort")`); got != "descending" {
		b.t.Errorf("aria-sort is %q", got)
	}
	b.do(chromedp.SendKeys("#image-filter", "keystone"))
	if got := eval[string](b, `document.querySelector("#image-count").textContent`); got != "5 of 187" {
		b.t.Errorf("filter shows %q", got)
	}
	eval[bool](b, `(f => { f.value = ""; return f.dispatchEvent(new Event("input")); })(document.querySelector("#image-filter"))`)
}

func TestChromiumFailedLogByClick(t *testing.T) {
	dir := t.TempDir()
	b := open(t, big(t, dir), dir, 1280, 900)
	const last = `#failure-trove-base details.full pre`
	if eval[bool](b, visible+`("`+last+`")`) {
		t.Fatal("the log is open from the start")
	}
	b.do(chromedp.Click(`.node.s-error[data-name="trove-base"] text`),
		chromedp.WaitVisible(`#more-trove-base a[href="#failure-trove-base"]`),
		chromedp.Click(`#more-trove-base a[href="#failure-trove-base"]`),
		chromedp.Click(`#failure-trove-base details.full summary`), chromedp.WaitVisible(last))
	eval[any](b, `document.querySelector("`+last+`").scrollIntoView({block: "center"})`)
	if text := eval[string](b, `document.querySelector("`+last+`").textContent`); !strings.Contains(text,
		"the last line of the whole log of trove-base") || !strings.Contains(text, "Get:0 ") ||
		!strings.Contains(text, "<script>") {
		t.Errorf("the log has %d characters, ending in %q", len(text), text[max(0, len(text)-200):])
	}
	if !eval[bool](b, visible+`("`+last+`")`) {
		t.Error("the log is not in sight")
	}
	b.shot("log", false)
	b.do(chromedp.Click(`#failure-trove-base .more a`), chromedp.WaitReady("pre"))
	if got := eval[string](b, `location.pathname + document.body.textContent`); !strings.Contains(got,
		"/logs/trove-base.log") ||
		!strings.Contains(got, "the whole log of trove-base") {
		t.Errorf("the link to the file leads to %.200q", got)
	}
	b.quiet()
}

func TestChromiumFailedLogByKeyboard(t *testing.T) {
	dir := t.TempDir()
	b := open(t, big(t, dir), dir, 1280, 900)
	// From the first Tab on, only keys are used: to the failures' link, then to the
	// log.
	press := func(want string, limit int) {
		t.Helper()
		var met []string
		for range limit {
			b.do(chromedp.KeyEvent(kb.Tab))
			at := eval[string](b, focused)
			if strings.HasPrefix(at, want) {
				return
			}
			met = append(met, at)
		}
		t.Fatalf("%d presses of Tab do not reach %q; they met %q", limit, want, met)
	}
	press("#main", 1)
	press("#failures", 2)
	b.do(chromedp.KeyEvent(kb.Enter))
	press("Full log of trove-base", 12)
	b.do(chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible(`#failure-trove-base details.full pre`))
	press("log of trove-base", 1)
	b.do(chromedp.KeyEvent(kb.End))
	if width := eval[string](b, `getComputedStyle(document.activeElement).outlineStyle`); width != "solid" {
		t.Errorf("what has the focus is not marked: outline %q", width)
	}
	b.quiet()
}

func TestChromiumNarrowAndDark(t *testing.T) {
	dir := t.TempDir()
	run := big(t, dir)
	b := open(t, run, dir, 390, 800)
	b.do(command(emulation.SetEmulatedMedia,
		emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}}))
	if over := eval[int](b, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
		t.Errorf("the page is %d pixels wider than a narrow window", over)
	}
	if bg := eval[string](b, `getComputedStyle(document.body).backgroundColor`); bg == "rgb(255, 255, 255)" {
		t.Errorf("background %s in the dark", bg)
	}
	b.shot("narrow", false)
	b.do(chromedp.ScrollIntoView("#graph"))
	b.shot("narrow-graph", false)
	b.quiet()
}

// A run without images, one that ended early, and one that was partly published or
// partly undone have a page with that information.
func TestChromiumEmpty(t *testing.T) {
	for name, run := range map[string]*report.Run{
		"early": {Title: "debian 12", Started: began, Outcome: report.OutcomeFailed,
			Summary: report.Summary{Err: os.ErrPermission}},
		"part": {Title: "debian 12", Started: began, Outcome: report.OutcomeFailed, Tags: []string{"t"},
			Left: []image.ID{named("leaf"), named("<b>")},
			Summary: report.Summary{Results: []report.Result{{Result: build.Result{Image: named("leaf"),
				Status: build.StatusError}}}}},
		"stuck": {Title: "debian 12", Started: began, Outcome: report.OutcomeFailed, Stuck: 2,
			Summary: report.Summary{Err: os.ErrPermission}},
		"still": {Title: "debian 12", Started: began, Outcome: report.OutcomeOK,
			Summary: report.Summary{Results: []report.Result{{Result: build.Result{Image: named("base"),
				Status: build.StatusUnchanged, Size: 1 << 20}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, run, t.TempDir(), 1000, 800)
			want := map[string]string{"early": "permission denied", "still": "Nothing to do",
				"part": "Published in part: the tags of leaf, <b> were not changed.", "stuck": "2 tags could not be restored"}[name]
			if text := eval[string](b, `document.body.innerText`); !strings.Contains(text, want) {
				t.Errorf("%q is not in %q", want, text)
			}
			b.shot(name, false)
			b.quiet()
		})
	}
}
