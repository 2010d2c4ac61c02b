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
	"slices"
	"strconv"
	"strings"
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
// and end when the bytes are on the disk. The ratios are medians of those of each round, because
// the load of the machine may change between rounds. KOLLA_TEST_SPEED is the number of bytes,
// KOLLA_TEST_SPEED_ROUNDS how often all are measured, in turn (3).
func TestSpeed(t *testing.T) {
	text := os.Getenv("KOLLA_TEST_SPEED")
	if text == "" {
		t.Skip("a measurement: KOLLA_TEST_SPEED=BYTES")
	}
	total, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	rounds := 3
	if text := os.Getenv("KOLLA_TEST_SPEED_ROUNDS"); text != "" {
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	m := &speeds{t: t, dir: t.TempDir(), set: speedSet(t, total), times: map[string][]time.Duration{}, processor: map[string][]time.Duration{}}
	for range rounds {
		m.round()
	}
	for _, pair := range [][2]string{{"save", "cp"}, {"save --split", "cp"}, {"save DIR/", "cp"}, {"load", "cp"}, {"load PART", "cp"},
		{"load --push", "upload"}} {
		ours, theirs := m.times[pair[0]], m.times[pair[1]]
		ratios := make([]float64, rounds)
		for i := range ratios {
			ratios[i] = 100 * theirs[i].Seconds() / ours[i].Seconds()
		}
		t.Logf("%-12s %6.2f s (processor %.2f s), %-6s %6.2f s (%.2f s): %.0f %% of its speed (%.0f)", pair[0],
			median(ours).Seconds(), median(m.processor[pair[0]]).Seconds(), pair[1], median(theirs).Seconds(),
			median(m.processor[pair[1]]).Seconds(), median(ratios), ratios)
	}
}

// speeds measures commands.
type speeds struct {
	t                *testing.T
	dir              string // of the files that are written
	set              *fixture
	times, processor map[string][]time.Duration // by command, of each round
}

// round measures every command once.
func (m *speeds) round() {
	ctx := m.t.Context()
	save := func(what, name string, opts SaveOptions) string {
		output := m.dir + "/" + name
		m.measure(what, func() error { return Save(ctx, m.set.config("--progress", "quiet"), m.set.con, output, opts) })
		return output
	}
	load := func(what string, to *fixture, file string, options ...string) {
		cfg := to.config(append(options, "--progress", "quiet")...)
		m.measure(what, func() error { return Load(ctx, cfg, to.con, []string{file}, LoadOptions{}) })
	}
	bundle := save("save", "set.tar", SaveOptions{})
	m.measure("cp", func() error { return copyAndSync(ctx, bundle, m.dir+"/copy.tar") })
	to := site(m.t)
	load("load", to, bundle)
	time.Sleep(time.Second) // what was written in the last second does not count as verified
	host := registrytest.Embedded(m.t, server.Options{}).Host()
	load("load --push", to, bundle, "--push", "--registry", host)
	plain := registrytest.Embedded(m.t, server.Options{}).Host()
	m.measure("upload", func() error { return uploadAll(ctx, bundle, plain, to.config().Threads) })
	m.remove(to.dir, bundle, m.dir+"/copy.tar")

	save("save DIR/", "set/", SaveOptions{})
	m.remove(m.dir + "/set")
	save("save --split", "parts.tar", SaveOptions{Split: "100M"})
	to = site(m.t)
	load("load PART", to, m.dir+"/parts.tar.001")
	m.remove(to.dir, m.dir)
	if err := os.Mkdir(m.dir, 0o755); err != nil {
		m.t.Fatal(err)
	}
}

func (m *speeds) measure(what string, run func() error) {
	m.t.Helper()
	unix.Sync()
	begin, used := time.Now(), processorTime(m.t)
	if err := run(); err != nil {
		m.t.Fatalf("%s: %v", what, err)
	}
	m.times[what] = append(m.times[what], time.Since(begin))
	m.processor[what] = append(m.processor[what], processorTime(m.t)-used)
}

func (m *speeds) remove(paths ...string) {
	m.t.Helper()
	for _, path := range paths {
		if err := os.RemoveAll(path); err != nil {
			m.t.Fatal(err)
		}
	}
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
