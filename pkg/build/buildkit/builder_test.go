package buildkit

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/store"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// world is a real builder with a store that holds a busybox base.
type world struct {
	t     *testing.T
	store *store.Store
	b     *Builder
	conv  *Converter
	mu    sync.Mutex
	log   bytes.Buffer
	steps []build.Step
}

func newWorld(t *testing.T, state string) *world {
	t.Helper()
	s, err := store.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	img := testenv.Busybox(t, nil)
	d, err := s.WriteImage(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	conf, err := img.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, store: s}
	w.conv = NewConverter(ConvertOptions{
		Platform: ocispecs.Platform{OS: "linux", Architecture: runtime.GOARCH},
		External: func(context.Context, string) (External, error) { return External{Digest: d, Config: conf}, nil },
	})
	w.b, err = Open(t.Context(), Options{DaemonPath: testenv.Buildkitd(t), StateDir: state, Store: s.Content()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.b.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) emit(e build.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e.Kind {
	case build.EventLog:
		w.log.Write(e.Data)
	case build.EventStepStart:
		w.steps = append(w.steps, e.Step)
	}
}

func (w *world) build(ctx context.Context, name, dockerfile string, files ...ContextFile) (ocispecs.Descriptor, error) {
	w.t.Helper()
	def, err := w.conv.Convert(ctx,
		Dockerfile{Name: name, Reference: "kolla/" + name + ":t", Path: name + "/Dockerfile",
			Content: []byte(dockerfile), Context: files})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.b.Build(ctx, Request{Definition: def, Created: testenv.BusyboxCreated}, w.emit)
}

// content returns a file of a built image.
func (w *world) content(d digest.Digest, path string) string {
	w.t.Helper()
	img, err := w.store.Image(d)
	if err != nil {
		w.t.Fatal(err)
	}
	rc := mutate.Extract(img)
	defer rc.Close()
	data, err := readTar(rc, path)
	if err != nil {
		w.t.Fatalf("%s: %v", path, err)
	}
	return data
}

func TestBuildWithARealDaemon(t *testing.T) {
	state := t.TempDir()
	w := newWorld(t, state)
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<14) // four times inlineLimit
	blob, _, err := w.store.WriteBlob(t.Context(), bytes.NewReader(big), "", -1)
	if err != nil {
		t.Fatal(err)
	}
	base, err := w.build(t.Context(), "base",
		"FROM busybox\nCOPY hello /etc/hello\nCOPY big /opt/big\nRUN echo made-$(cat /etc/hello) > /etc/made && echo log-line\n",
		ContextFile{Path: "hello", Mode: 0o640, Data: []byte("world")}, ContextFile{Path: "big", Mode: 0o600, Blob: blob})
	if err != nil {
		t.Fatal(err)
	}
	if got := w.content(base.Digest, "etc/made"); got != "made-world\n" {
		t.Errorf("/etc/made holds %q", got)
	}
	if got := w.content(base.Digest, "opt/big"); got != string(big) {
		t.Errorf("/opt/big has %d bytes, want %d", len(got), len(big))
	}
	if !strings.Contains(w.log.String(), "log-line") {
		t.Errorf("log %q", w.log.String())
	}
	kinds := map[string]build.StepKind{}
	for _, s := range w.steps {
		first, _, _ := strings.Cut(s.Name, " ")
		kinds[first] = s.Kind
	}
	if kinds["RUN"] != build.StepCommand || kinds["COPY"] != build.StepFiles || kinds["exporting"] != build.StepExport {
		t.Errorf("kinds of steps: %v", kinds)
	}
	child, err := w.build(t.Context(), "child", "FROM kolla/base:t\nRUN cat /etc/made > /etc/again\nUSER 1000\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := w.content(child.Digest, "etc/again"); got != "made-world\n" {
		t.Errorf("/etc/again holds %q", got)
	}
	if err := w.store.Verify(t.Context(), child.Digest); err != nil {
		t.Error(err)
	}
	img, err := w.store.Image(child.Digest)
	if err != nil {
		t.Fatal(err)
	}
	conf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if conf.Config.User != "1000" || !conf.Created.Equal(testenv.BusyboxCreated) {
		t.Errorf("user %q, created %v", conf.Config.User, conf.Created)
	}
	second, err := w.build(t.Context(), "child", "FROM kolla/base:t\nRUN cat /etc/made > /etc/again\nUSER 1000\n")
	if err != nil || second.Digest != child.Digest {
		t.Errorf("again: %v, %v; want %v", second.Digest, err, child.Digest)
	}
}

func TestFailingStepIsLocated(t *testing.T) {
	w := newWorld(t, t.TempDir())
	_, err := w.build(t.Context(), "bad", "FROM busybox\nRUN true\n\nRUN echo first && \\\n    echo last-words && exit 7\n")
	var be *BuildError
	if !errors.As(err, &be) {
		t.Fatalf("error %v is not a *BuildError", err)
	}
	f := be.Failure
	if f.ExitCode != 7 || f.Line != 4 || f.Dockerfile != "bad/Dockerfile" || len(f.Source) != 2 {
		t.Errorf("exit code %d at %s:%d %q", f.ExitCode, f.Dockerfile, f.Line, f.Source)
	}
	if strings.Join(f.Tail, "|") != "first|last-words" {
		t.Errorf("tail %q", f.Tail)
	}
	if be.Temporary() {
		t.Error("a command that fails by itself is not worth another try")
	}
	if _, err := w.build(t.Context(), "net",
		"FROM busybox\nRUN echo 'E: Failed to fetch: Hash Sum mismatch' && exit 100\n"); !errors.As(err, &be) ||
		!be.Temporary() {
		t.Errorf("error %v of a mirror in motion is not temporary", err)
	}
}

func TestCancelStopsTheBuildAndTheDaemonGoesOn(t *testing.T) {
	w := newWorld(t, t.TempDir())
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	var once sync.Once
	def, err := w.conv.Convert(ctx,
		Dockerfile{Name: "slow", Reference: "kolla/slow:t", Path: "f",
			Content: []byte("FROM busybox\nRUN echo started; sleep 600\n")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.b.Build(ctx, Request{Definition: def}, func(e build.Event) {
		if e.Kind == build.EventLog {
			once.Do(func() { cancel(stop) })
		}
	})
	if !errors.Is(err, stop) {
		t.Fatalf("error %v, want the cause", err)
	}
	if _, err := w.build(t.Context(), "next", "FROM busybox\nRUN true\n"); err != nil {
		t.Errorf("after a canceled build: %v", err)
	}
}

func TestDaemonErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts Options
		want string
		slow bool // a daemon that is being started gets five seconds
	}{
		{"no address", Options{Addr: "localhost:1234"}, "not an address", false},
		{"no daemon", Options{Addr: "tcp://127.0.0.1:1"}, "is buildkitd running there", true},
		{"no socket", Options{Addr: "unix:///nonexistent/buildkitd.sock"}, "is buildkitd running there", true},
		{"no binary", Options{DaemonPath: "/nonexistent/buildkitd"}, "--buildkitd", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.slow {
				testenv.Slow(t)
			}
			t.Parallel()
			_, err := Open(t.Context(), tt.opts)
			var de *DaemonError
			if !errors.As(err, &de) || !strings.Contains(usererr.Text(err), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestDaemonEndsAtOnce(t *testing.T) {
	testenv.Buildkitd(t)
	dir := t.TempDir()
	broken := filepath.Join(dir, "buildkitd")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\necho cannot do it >&2\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), Options{DaemonPath: broken, StateDir: filepath.Join(dir, "state")})
	if err == nil || !strings.Contains(err.Error(), "cannot do it") {
		t.Errorf("error %v, want the daemon's last words", err)
	}
}
