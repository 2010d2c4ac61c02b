// Command bench measures kolla-build and similar tools on this machine and prints the
// figures as a markdown table. It runs the real programs: the kolla-build and buildkitd
// that were built, docker buildx if it is installed or can be built from its Go module,
// and the Python tool if KOLLA_CHECKOUT names a checkout of Kolla. A tool that is
// missing is omitted with the reason. It must not know the packages of the program,
// only its command line and output.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the options of the command line.
type options struct {
	tool, buildkitd string
	buildx          string
	checkout        string
	images          int
	only            map[string]bool
	peers, cases    map[string]bool // of the real set; all if empty
	repeat          int
	regex           string
	limit           time.Duration // 0 means none
	dir             string
	keep            bool
}

func main() {
	var o options
	var only, peers, cases string
	flag.StringVar(&o.tool, "tool", "bin/kolla-build", "kolla-build to measure")
	flag.StringVar(&o.buildkitd, "buildkitd", "bin/buildkitd", "buildkitd that all tools build with")
	flag.StringVar(&o.buildx, "buildx", os.Getenv("BUILDX"),
		"buildx binary; by default docker's plugin, else one built from its Go module")
	flag.StringVar(&o.checkout, "kolla", os.Getenv("KOLLA_CHECKOUT"), "checkout of OpenStack Kolla")
	flag.IntVar(&o.images, "images", 187, "images of the synthetic set")
	flag.StringVar(&only, "only", "set,plan,render", "what to measure: set, plan, render, real")
	flag.IntVar(&o.repeat, "repeat", 1, "real: how often to measure each build; medians are printed")
	flag.StringVar(&o.regex, "regex", "",
		"real: build the images that match instead of the quickstart set; memcached must be one of them")
	flag.StringVar(&peers, "peers", "bake,kolla",
		"real: what to compare with: bake, bake-clamped (it clamps times, as kolla-build does), kolla")
	flag.StringVar(&cases, "cases", "cold,base,leaf", "real: which builds to measure")
	flag.DurationVar(&o.limit, "limit", 0,
		"real: start no build that is expected to end later than this after the beginning; 0 means no limit")
	flag.StringVar(&o.dir, "dir", "", "working directory, which is kept (default: a temporary one)")
	flag.BoolVar(&o.keep, "keep", false, "keep the temporary directory")
	flag.Parse()
	o.only, o.peers, o.cases = words(only), words(peers), words(cases)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// words returns the set of words in a list that is separated by commas.
func words(list string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Split(list, ",") {
		set[w] = true
	}
	return set
}

func run(ctx context.Context, o options) (err error) {
	for _, p := range []*string{&o.tool, &o.buildkitd} {
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
		if _, err := os.Stat(*p); err != nil {
			return fmt.Errorf("%w (make build puts it there)", err)
		}
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "kolla-bench-"); err != nil {
			return err
		}
		if !o.keep {
			defer os.RemoveAll(o.dir)
		}
	}
	b := &bench{options: o, began: load(), started: time.Now()}
	steps := []struct {
		name string
		run  func(context.Context) error
	}{{"render", b.rendering}, {"plan", b.planning}, {"set", b.set}, {"real", b.real}}
	for _, s := range steps {
		if !o.only[s.name] {
			continue
		}
		if e := s.run(ctx); e != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", s.name, e))
		}
		if ctx.Err() != nil {
			break // the results so far are printed
		}
	}
	b.print(os.Stdout)
	return err
}

// bench holds the measurements of a run.
type bench struct {
	options
	began   string
	started time.Time
	rows    []row
	notes   []string
}

// row is a line of the table, with the figures of kolla-build and of other tools.
type row struct {
	what   string
	target string
	result string
	peers  map[string]string
}

const (
	peerBake    = "docker buildx bake"
	peerClamped = "docker buildx bake, times clamped"
	peerKolla   = "Kolla (Python)"
)

// allPeers are the columns of the table.
var allPeers = []string{peerBake, peerClamped, peerKolla}

func (b *bench) add(title, target, result string) *row {
	b.rows = append(b.rows, row{what: title, target: target, result: result, peers: map[string]string{}})
	progress("%s: %s", title, result)
	return &b.rows[len(b.rows)-1]
}

func (b *bench) note(format string, args ...any) {
	b.notes = append(b.notes, fmt.Sprintf(format, args...))
	progress(format, args...)
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

func (b *bench) print(w *os.File) {
	columns := slices.DeleteFunc(slices.Clone(allPeers), func(peer string) bool {
		return !slices.ContainsFunc(b.rows, func(r row) bool { return r.peers[peer] != "" })
	})
	line := func(cells ...string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }
	line(append([]string{"what", "target", "kolla-build"}, columns...)...)
	line(slices.Repeat([]string{"---"}, 3+len(columns))...)
	for _, r := range b.rows {
		cells := []string{r.what, r.target, r.result}
		for _, peer := range columns {
			cells = append(cells, r.peers[peer])
		}
		line(cells...)
	}
	fmt.Fprintln(w)
	for _, n := range b.notes {
		fmt.Fprintf(w, "- %s\n", n)
	}
	fmt.Fprintf(w, "- %s, %s, %d cores, load before %s and after %s (1, 5, 15 minutes)\n",
		time.Now().Format(time.DateOnly), runtime.GOARCH, runtime.NumCPU(), b.began, load())
}

func load() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(data))[:3], " ")
}
