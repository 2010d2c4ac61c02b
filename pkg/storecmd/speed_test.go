package storecmd

import (
	"archive/tar"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// TestSpeed prints how fast save and load are beside what cannot be avoided: copying the same
// bytes with cp, and sending them to the same registry with plain PUT requests, as many at
// the same time. All of them write new files, begin when the disk has nothing else to write,
// and end when the bytes are on the disk. Each command is measured beside its own cp, in turn
// before and after it, and the ratios are medians of those of each round, because the load of the
// machine and the speed of the disk change. KOLLA_TEST_SPEED is the number of bytes,
// KOLLA_TEST_SPEED_ROUNDS how often all are measured (4), and KOLLA_TEST_SPEED_ONLY a regular
// expression of their names.
func TestSpeed(t *testing.T) {
	text := os.Getenv("KOLLA_TEST_SPEED")
	if text == "" {
		t.Skip("a measurement: KOLLA_TEST_SPEED=BYTES")
	}
	total, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	rounds := 4
	if text := os.Getenv("KOLLA_TEST_SPEED_ROUNDS"); text != "" {
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	only := regexp.MustCompile(os.Getenv("KOLLA_TEST_SPEED_ONLY"))
	m := &speeds{t: t, dir: t.TempDir(), set: speedSet(t, total)}
	m.bundle = m.save("set.tar", SaveOptions{})
	commands := slices.DeleteFunc(m.commands(), func(c speedCommand) bool { return !only.MatchString(c.name) })
	ours, theirs := make([]measured, len(commands)), make([]measured, len(commands))
	for round := range rounds {
		for i, c := range commands {
			for _, own := range []bool{round%2 == 0, round%2 != 0} {
				if own {
					ours[i].add(t, c.run)
				} else {
					theirs[i].add(t, c.beside)
				}
			}
		}
	}
	for i, c := range commands {
		ratios := make([]float64, rounds)
		for r := range ratios {
			ratios[r] = 100 * theirs[i].times[r].Seconds() / ours[i].times[r].Seconds()
		}
		t.Logf("%-12s %s, beside it %s: %.0f %% of its speed (%.0f)", c.name, ours[i], theirs[i], median(ratios), ratios)
	}
}

// speeds has the files of the measured commands.
type speeds struct {
	t      *testing.T
	dir    string // of the files that are written
	set    *fixture
	bundle string
	loaded *fixture // a site that has the bundle
}

// speedCommand is a command and what it is compared with. Both return the files to remove.
type speedCommand struct {
	name        string
	run, beside func() []string
}

// commands returns the commands in the order in which they are measured.
func (m *speeds) commands() []speedCommand {
	ctx := m.t.Context()
	cp := func() []string {
		m.try(copyAndSync(ctx, m.bundle, m.dir+"/copy.tar"))
		return []string{m.dir + "/copy.tar"}
	}
	save := func(name string, opts SaveOptions) func() []string {
		return func() []string {
			m.save(name, opts)
			written, err := filepath.Glob(m.dir + "/" + strings.TrimSuffix(name, "/") + "*")
			m.try(err)
			return written
		}
	}
	load := func(file func() string) func() []string {
		return func() []string {
			to := site(m.t)
			m.load(to, file())
			return []string{to.dir}
		}
	}
	parts := sync.OnceValue(func() string { return m.save("parts.tar", SaveOptions{Split: "100M"}) + ".001" })
	push := func() []string {
		m.load(m.loaded, m.bundle, "--push", "--registry", registrytest.Embedded(m.t, server.Options{}).Host())
		return nil
	}
	upload := func() []string {
		m.try(uploadAll(ctx, m.bundle, registrytest.Embedded(m.t, server.Options{}).Host(), m.set.config().Threads))
		return nil
	}
	m.loaded = site(m.t)
	m.load(m.loaded, m.bundle)
	parts()
	time.Sleep(time.Second) // what was written in the last second does not count as verified
	return []speedCommand{
		{"save", save("new.tar", SaveOptions{}), cp},
		{"save DIR/", save("new/", SaveOptions{}), cp},
		{"save --split", save("new.tar", SaveOptions{Split: "100M"}), cp},
		{"load", load(func() string { return m.bundle }), cp},
		{"load PART", load(parts), cp},
		{"load --push", push, upload},
	}
}

func (m *speeds) save(name string, opts SaveOptions) string {
	output := m.dir + "/" + name
	m.try(Save(m.t.Context(), m.set.config("--progress", "quiet"), m.set.con, output, opts))
	return output
}

func (m *speeds) load(to *fixture, file string, options ...string) {
	cfg := to.config(append(options, "--progress", "quiet")...)
	m.try(Load(m.t.Context(), cfg, to.con, []string{file}, LoadOptions{}))
}

func (m *speeds) try(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

// measured is what a command took in each round.
type measured struct{ times, processor []time.Duration }

// add measures a command, and removes what it has written.
func (m *measured) add(t *testing.T, run func() []string) {
	t.Helper()
	unix.Sync()
	begin, used := time.Now(), processorTime(t)
	written := run()
	m.times = append(m.times, time.Since(begin))
	m.processor = append(m.processor, processorTime(t)-used)
	for _, path := range written {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
}

func (m measured) String() string {
	return fmt.Sprintf("%5.2f s (processor %.2f s)", median(m.times).Seconds(), median(m.processor).Seconds())
}

// speedSet stores images with layers of 8 MB, half of which they share.
func speedSet(t *testing.T, total int64) *fixture {
	t.Helper()
	const layer = 8_000_000
	f := site(t)
	f.con = &console.Console{Stdout: io.Discard, Stderr: io.Discard}
	s, err := workspace.OpenStore(f.config())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	base := registrytest.Base(t, layer)
	for i := range max(1, total/(4*layer)) {
		d, err := s.WriteImage(t.Context(), registrytest.Image(t, base, layer, 4))
		if err == nil {
			err = s.Put(store.Entry{Name: fmt.Sprintf("localhost:4000/kolla/image-%d:t", i), Digest: d, Kind: store.KindBuilt})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func copyAndSync(ctx context.Context, from, to string) error {
	if err := exec.CommandContext(ctx, "cp", from, to).Run(); err != nil {
		return err
	}
	f, err := os.Open(to)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// uploadAll sends the blobs of a bundle to one repository, without looking at them.
func uploadAll(ctx context.Context, bundle, host string, jobs int) error {
	f, err := os.Open(bundle)
	if err != nil {
		return err
	}
	defer f.Close()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(jobs)
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err == io.EOF {
			return g.Wait()
		}
		if err != nil {
			return err
		}
		hex, isBlob := strings.CutPrefix(h.Name, "blobs/sha256/")
		if !isBlob || hex == "" {
			continue
		}
		at, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		content := io.NewSectionReader(f, at, h.Size)
		g.Go(func() error { return upload(ctx, host, digest.NewDigestFromEncoded(digest.SHA256, hex), content) })
	}
}

func upload(ctx context.Context, host string, d digest.Digest, content *io.SectionReader) error {
	begin, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+host+"/v2/plain/upload/blobs/uploads/", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(begin)
	if err != nil {
		return err
	}
	resp.Body.Close()
	location, err := resp.Location()
	if err != nil {
		return err
	}
	query := location.Query()
	query.Set("digest", d.String())
	location.RawQuery = query.Encode()
	put, err := http.NewRequestWithContext(ctx, http.MethodPut, location.String(), content)
	if err != nil {
		return err
	}
	put.ContentLength = content.Size()
	if resp, err = http.DefaultClient.Do(put); err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("%s: %s", d, resp.Status)
	}
	return nil
}

// processorTime returns what this process, with its registries, and its children have used.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var sum time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var usage syscall.Rusage
		if err := syscall.Getrusage(who, &usage); err != nil {
			t.Fatal(err)
		}
		sum += time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	return sum
}

func median[T cmp.Ordered](all []T) T {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}
