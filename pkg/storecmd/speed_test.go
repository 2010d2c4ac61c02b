package storecmd

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// TestSpeed prints how fast save and load are beside what cannot be avoided: copying the same
// bytes with cp, and sending them to the same registry with plain PUT requests, as many at
// the same time. All of them end when the bytes are on the disk. KOLLA_TEST_SPEED is the
// number of bytes, KOLLA_TEST_SPEED_ROUNDS how often all are measured, in turn (3).
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
	dir := t.TempDir()
	f := speedSet(t, total)
	bundle := filepath.Join(dir, "set.tar")
	times, processor := map[string][]time.Duration{}, map[string][]time.Duration{}
	measure := func(what string, run func() error) {
		t.Helper()
		begin, used := time.Now(), processorTime(t)
		if err := run(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		times[what] = append(times[what], time.Since(begin))
		processor[what] = append(processor[what], processorTime(t)-used)
	}
	for range rounds {
		measure("save", func() error { return Save(t.Context(), f.config("--progress", "quiet"), f.con, bundle, SaveOptions{}) })
		copied := filepath.Join(dir, "copy.tar")
		measure("cp", func() error { return copyAndSync(t.Context(), bundle, copied) })
		to := site(t)
		measure("load", func() error {
			return Load(t.Context(), to.config("--progress", "quiet"), to.con, []string{bundle}, LoadOptions{})
		})
		host := registrytest.Embedded(t, server.Options{}).Host()
		measure("load --push", func() error {
			return Load(t.Context(), to.config("--progress", "quiet", "--push", "--registry", host), to.con, []string{bundle}, LoadOptions{})
		})
		plain := registrytest.Embedded(t, server.Options{}).Host()
		measure("upload", func() error { return uploadAll(t.Context(), bundle, plain, to.config().Threads) })
		for _, path := range []string{copied, to.dir} {
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, pair := range [][2]string{{"save", "cp"}, {"load", "cp"}, {"load --push", "upload"}} {
		ours, theirs := median(times[pair[0]]), median(times[pair[1]])
		t.Logf("%-12s %6.2f s (processor %.2f s), %-6s %6.2f s (%.2f s): %.0f %% of its speed", pair[0], ours.Seconds(),
			median(processor[pair[0]]).Seconds(),
			pair[1], theirs.Seconds(), median(processor[pair[1]]).Seconds(), 100*theirs.Seconds()/ours.Seconds())
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

func median(all []time.Duration) time.Duration {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}
