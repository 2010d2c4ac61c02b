package hostile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bootstrap"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/inputs"
	"github.com/kolla-build/kolla-build/pkg/inspect"
	"github.com/kolla-build/kolla-build/pkg/lock"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/report"
	"github.com/kolla-build/kolla-build/pkg/runlogs"
	"github.com/kolla-build/kolla-build/pkg/runstate"
	"github.com/kolla-build/kolla-build/pkg/source"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// errorText is the printed form of an error.
func errorText(err error) string { return usererr.Text(err) }

// readBase imports a base image from an archive, a layout or a directory.
func readBase(ctx context.Context, rnd *rand.Rand, r *reading) error {
	st, err := r.openStore()
	if err != nil {
		return brokenf("the store: %w", err)
	}
	made := r.readers.made
	raw := mutateTar(rnd, pick(rnd, [][]byte{rootTar(), rootTar(), made.plain, made.docker}))
	if rnd.IntN(4) == 0 {
		raw = compress(raw)
	}
	path, err := r.input("base.tar", raw)
	if err != nil {
		return brokenf("%w", err)
	}
	if rnd.IntN(4) == 0 {
		for _, m := range untarred(mutateTarContent(rnd, made.plain)) {
			if !strings.HasSuffix(m.Name, "/") {
				if _, err := r.input(m.Name, m.content); err != nil {
					return brokenf("%w", err)
				}
			}
		}
		path = filepath.Dir(path)
	}
	_, err = bootstrap.Import(ctx, st, path, bootstrap.ImportOptions{Name: pick(rnd,
		[]string{"", "", "x", "other.example/kolla/new:1"}),
		Platform: pick(rnd, []string{"", "linux/amd64", "linux/arm64", "x"})})
	return err
}

// readLayer reads a layer as diff, contract and images do.
func readLayer(ctx context.Context, rnd *rand.Rand, r *reading) error {
	members := untarred(rootTar())
	for range rnd.IntN(8) {
		m := hostileMember(rnd, pick(rnd, []string{"a/b", "a", "a/.wh.b", ".wh..wh..opq", ".wh.", "a/.wh..",
			"var/lib/dpkg/status", "var/lib/rpm/rpmdb.sqlite", "etc/os-release"}))
		members = append(members, m)
	}
	raw := damageSeldom(rnd, writeTar(members))
	if rnd.IntN(2) == 0 {
		raw = compress(raw)
	}
	layer := static.NewLayer(raw, types.OCILayer)
	content, _, err := inspect.ReadLayer(ctx, layer,
		inspect.Options{Digests: true, Want: func(string) int64 { return 1 << 20 }})
	if err == nil {
		inspect.CompareTrees([]*inspect.Layer{content, content}, []*inspect.Layer{content}, 0)
	}
	return err
}

// lockText is a lock with an entry of each kind.
var lockText = func() string {
	x := digest.FromString("x")
	l := &lock.Lock{Version: lock.Version, Compatibility: 1,
		Set:    lock.Set{Base: "debian", BaseTag: "trixie", InstallType: "source"},
		Images: []lock.Image{{Name: "base", Key: x, Digest: x}},
		Bases:  []lock.Base{{Name: "debian:trixie", Platform: "linux/amd64", Digest: x, Size: 1}},
		Sources: []lock.Source{{Section: "keystone-base", Type: "git", Location: "http://mirror.example/keystone.git",
			Reference: "master", Digest: x, Size: 1}},
		Files: []lock.File{{URL: "http://mirror.example/x", Digest: x, Size: 1, Images: []string{"base"}},
			{URL: "http://mirror.example/a%20b?c=d", Digest: x, Size: 1}},
		Redirect: []lock.Link{{URL: "http://mirror.example/y", To: "http://mirror.example/x", Status: 302}},
		Absent:   []lock.Absent{{URL: "http://mirror.example/z", Status: 404}}}
	return string(l.Marshal())
}()

var lockPieces = []string{
	"[[file]]", "[set]", "[[image]]", "[a.b.c]", "digest = \"sha256:x\"", "url = \"file:///etc/passwd\"",
	"url = \"http://mirror.example/../../" + escapee + "\"", "url = \"http://%2e%2e/%2e%2e%2f" + escapee + "\"",
	"section = \"../../" + escapee + "\"", "size = -1", "size = 9223372036854775807", "version = 2", "\"\\u0000\"",
	"\"\\u202e\\u001b[2J\"", "[[", "'''", "\"\"\"", "x = [" + strings.Repeat("[", 5000),
	"location = \"http://mirror.example/y\"",
	"name = \"../x\"", "reference = \"oci:/etc\"", "a." + strings.Repeat("b.", 3000) + "c = 1",
}

func readLock(ctx context.Context, rnd *rand.Rand, r *reading) error {
	l, err := lock.Parse([]byte(mutateText(rnd, lockText, lockPieces)), "lock")
	if err == nil {
		l.Sort()
		if _, err := lock.Parse(l.Marshal(), "lock"); err != nil {
			return brokenf("a lock that was read is not read again: %w", err)
		}
	}
	return err
}

// plant puts something at a name below a directory, in place of what is there: a file, a
// link that leads elsewhere, a pipe, a device or a directory. Links that it has planted
// before must not lead it out of the directory, so names are resolved below that only.
func plant(rnd *rand.Rand, dir, name string, content []byte) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if root.MkdirAll(filepath.Dir(name), 0o755) != nil {
		return nil // the name is in use
	}
	if err := root.RemoveAll(name); err != nil {
		return nil
	}
	path := filepath.Join(dir, name)
	switch rnd.IntN(8) {
	case 0:
		return root.WriteFile(name, []byte("x"), 0o644)
	case 1:
		return root.WriteFile(name, content, 0o644)
	case 2:
		return root.Symlink(pick(rnd, []string{"/etc", "/etc/passwd", "..", ".", "/dev/zero", "/proc/self/mem",
			"index.json", path}), name)
	case 3:
		return root.MkdirAll(filepath.Join(name, strings.Repeat("d/", 1+rnd.IntN(100))), 0o755)
	case 4: // a file that claims to be large
		f, err := root.Create(name)
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Truncate(200 << 20)
	case 5, 6:
		if real, err := filepath.EvalSymlinks(filepath.Dir(path)); err != nil || real != filepath.Dir(path) {
			return nil
		}
		if rnd.IntN(2) == 0 {
			return syscall.Mkfifo(path, 0o644)
		}
		return syscall.Mknod(path, syscall.S_IFCHR|0o644, 1<<8|5) // /dev/zero
	}
	return nil // it is missing
}

// readInputs reads a directory of inputs whose lock and files lead elsewhere.
func readInputs(ctx context.Context, rnd *rand.Rand, r *reading) error {
	text := lockText
	if rnd.IntN(2) == 0 {
		text = mutateText(rnd, lockText, lockPieces)
	}
	file, err := r.input(lock.FileName, []byte(text))
	if err != nil {
		return brokenf("%w", err)
	}
	dir := filepath.Dir(file)
	for range rnd.IntN(6) {
		name := pick(rnd, []string{"mirror/mirror.example/x", "mirror/mirror.example/x", "mirror/mirror.example/x",
			"mirror/mirror.example", "mirror", "sources", "oci", "other", "oci/index.json", lock.FileName, "python/simple"})
		if err := plant(rnd, dir, name, r.readers.made.inventory); err != nil {
			return brokenf("%w", err)
		}
	}
	in, err := inputs.Open(dir)
	if err != nil {
		return err
	}
	defer in.Close()
	for _, f := range in.Lock().Files {
		rec, ok := in.LookUp(f.URL)
		if !ok {
			continue
		}
		content, err := in.OpenRecord(rec)
		if err != nil {
			continue
		}
		raw, err := io.ReadAll(io.LimitReader(content, 1<<20))
		content.Close()
		if err == nil && digest.FromBytes(raw) != digest.Digest(f.Digest) {
			return brokenf("%s has the content %q", f.URL, raw[:min(len(raw), 100)])
		}
	}
	for _, s := range in.Lock().Sources {
		path, _, ok, err := in.Source(s.Section, s.Type, s.Location, s.Reference)
		if err == nil && ok {
			if raw, err := os.ReadFile(path); err != nil || digest.FromBytes(raw) != digest.Digest(s.Digest) {
				return brokenf("source %s is %s (%w)", s.Section, path, err)
			}
		}
	}
	st, err := r.openStore()
	if err != nil {
		return brokenf("the store: %w", err)
	}
	return errors.Join(in.Check(nil), in.ImportBases(ctx, st, func(lock.Base) error { return nil }))
}

// readSource makes the archives of an image from hostile local archives.
func readSource(ctx context.Context, rnd *rand.Rand, r *reading) error {
	members := untarred(rootTar())
	for range rnd.IntN(8) {
		members = append(members, hostileMember(rnd,
			pick(rnd, []string{"plugin/a", "plugin", "plugin/../b", "./c", "d/", "plugin/a/b"})))
	}
	raw := damageSeldom(rnd, writeTar(members))
	if rnd.IntN(2) == 0 {
		raw = compress(raw)
	}
	file, err := r.input("source.tar.gz", raw)
	if err != nil {
		return brokenf("%w", err)
	}
	location := file
	switch rnd.IntN(8) {
	case 0:
		location = filepath.Dir(file)
		_ = os.Symlink(pick(rnd, []string{"/etc/shadow", "..", "/dev/zero", "/"}), filepath.Join(location, "link"))
		_ = syscall.Mkfifo(filepath.Join(location, "fifo"), 0o644)
	case 1:
		location = pick(rnd, append([]string{"/dev/zero", "/proc/self/mem", "/etc/..", "file://" + file}, hostileNames...))
	}
	f, err := source.New(source.Options{CacheDir: filepath.Join(r.dir, "cache"), LocalsBase: r.dir, Retries: -1,
		Timeout: time.Second, MaxElapsed: 2 * time.Second})
	if err != nil {
		return err
	}
	spec := source.Spec{Name: "x", Type: source.TypeLocal, Location: location, Enabled: true}
	plugin := spec
	plugin.Name = pick(rnd, []string{"x-plugin-y", "x-plugin-..", "x-plugin-../../" + escapee})
	request := source.Request{Image: "x", Plugins: []source.Spec{plugin}, Additions: []source.Spec{plugin}}
	if rnd.IntN(2) == 0 {
		request.Source = &spec
	}
	_, err = f.Archives(ctx, request)
	return err
}

const journalText = `{"version":1,"state":"moving","started":"2026-01-01T00:00:00Z","moves":[{"ref":"127.0.0.1:1/kolla/x:1","old":"sha256:0000000000000000000000000000000000000000000000000000000000000000","new":"sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}]}`

// readJournal recovers publications from damaged journals.
func readJournal(ctx context.Context, rnd *rand.Rand, r *reading) error {
	raw := mutateJSON(rnd, []byte(journalText))
	if rnd.IntN(3) == 0 {
		raw = damage(rnd, raw)
	}
	if _, err := r.input(pick(rnd, []string{"commit-X.json", "\u202e.json", "x.tmp"}), raw); err != nil {
		return brokenf("%w", err)
	}
	client, err := registry.New(ctx, registry.Options{Retries: -1, Timeout: time.Second,
		MaxElapsed: time.Second, EtcDir: r.dir})
	if err != nil {
		return brokenf("%w", err)
	}
	defer client.Close()
	_, err = push.New(client, push.Options{Journal: filepath.Join(r.dir, "in")}).Recover(ctx,
		[]string{"127.0.0.1:1/kolla/x:1"})
	return err
}

// readDataDir opens damaged files of a data directory: none may be treated as an empty
// store, which would lose images.
func readDataDir(ctx context.Context, rnd *rand.Rand, r *reading) error {
	dir := filepath.Join(r.dir, "damaged")
	if err := os.CopyFS(dir, os.DirFS(r.readers.healthy)); err != nil {
		return brokenf("%w", err)
	}
	name := pick(rnd, []string{"index.json", "index.json", "oci-layout"})
	raw, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return brokenf("%w", err)
	}
	if rnd.IntN(2) == 0 {
		raw = mutateJSON(rnd, raw)
	} else {
		raw = damage(rnd, bytes.Clone(raw))
	}
	if err := os.WriteFile(filepath.Join(dir, name), raw, 0o644); err != nil {
		return brokenf("%w", err)
	}
	data := filepath.Join(r.dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return brokenf("%w", err)
	}
	record := fmt.Sprintf(`{"started":%q,"scope":{},"images":["a","b@arm64"]}`+"\n"+`{"image":"a"}`+"\n",
		time.Now().Format(time.RFC3339))
	_ = os.WriteFile(filepath.Join(data, "last-run.jsonl"), damage(rnd, []byte(record)), 0o644)
	if last, err := runstate.ReadLastRun(data); err == nil && last != nil {
		_ = last.Describe(last.Images)
	}
	s, err := store.Open(dir)
	if err != nil {
		return err
	}
	defer s.Close()
	entries, err := s.Entries()
	if err != nil {
		return err
	}
	if !json.Valid(raw) && name == "index.json" {
		return brokenf("a store whose index is not JSON has %d entries", len(entries))
	}
	for _, e := range entries {
		_, _ = s.Blobs(ctx, e.Digest)
		_ = s.Check(ctx, e.Digest)
	}
	_, err = s.GC(ctx)
	return err
}

// outputPieces are pieces of steps' output and of logs.
var outputPieces = []string{
	"\x1b[2J\x1b[H", "\x1b]0;title\x07", "\x9b2J", "\r", "\b\b\b", "\x00", "\xff\xfe", "\u202e", "\u2066", "\n",
	"E: Unable to locate package x\n", "error: could not fetch\n",
	"fatal: unable to access 'https://user:pass-word@host/x'\n",
	strings.Repeat("x", 70_000), strings.Repeat("\n",
		500), "curl: (22) The requested URL returned error: 404\n", "[  1%] ",
	"\u200d\u200d", strings.Repeat("e\u0301", 3000), "\x1b", "\x1b[", "::error::x\n",
}

// hostileOutput makes the output of a step.
func hostileOutput(rnd *rand.Rand) []byte {
	var b bytes.Buffer
	for range 1 + rnd.IntN(60) {
		chunk := pick(rnd, outputPieces)
		if rnd.IntN(10) == 0 {
			chunk = strings.Repeat(chunk, 1+rnd.IntN(20))
		}
		b.WriteString(chunk)
	}
	return b.Bytes()
}

// readLogs shows logs with hostile content and names.
func readLogs(ctx context.Context, rnd *rand.Rand, r *reading) error {
	run := filepath.Join(runlogs.Dir(r.dir), pick(rnd, []string{"2026-01-01T00-00-00", "x", "\u202e"}))
	if err := os.MkdirAll(run, 0o755); err != nil {
		return brokenf("%w", err)
	}
	names := []string{"base", "000_FAILED_base", "\u202e", "a\nb", "a\x1b[2Jb", strings.Repeat("n", 200)}
	for range 1 + rnd.IntN(4) {
		path := filepath.Join(run, pick(rnd, names)+".log")
		switch rnd.IntN(6) {
		case 0:
			_ = os.Symlink(pick(rnd, []string{"base.log", "/etc/shadow", "/dev/zero", path}), path)
		case 1:
			_ = os.Mkdir(path, 0o755)
		case 2:
			_ = syscall.Mkfifo(path, 0o644)
		default:
			_ = os.Remove(path)
			_ = os.WriteFile(path, hostileOutput(rnd), 0o644)
		}
	}
	var stdout, stderr limitedBuffer
	con := &console.Console{Stdout: &stdout, Stderr: &stderr}
	err := runlogs.Show(ctx, con, runlogs.Options{DataDir: r.dir,
		Images: pick(rnd, [][]string{nil, {"base"}, {pick(rnd, names)}, {"base", "x"}}), Failed: rnd.IntN(3) == 0})
	if stdout.full {
		return brokenf("it prints without end")
	}
	return errors.Join(err, controlsTerminal("logs", stdout.Bytes()), controlsTerminal("logs", stderr.Bytes()))
}

func controlsTerminal(name string, out []byte) error {
	for _, bad := range []string{"\x1b", "\x9b", "\u202e", "\u2066", "\x07", "\b", "\x00", "pass-word"} {
		if i := bytes.Index(out, []byte(bad)); i >= 0 && (bad != "\x9b" || i > 0 && out[i-1] < 0x80) {
			return brokenf("%s prints %q: %q", name, bad, out[max(0, i-40):min(len(out), i+40)])
		}
	}
	return nil
}

// limitedBuffer keeps the beginning of what is written.
type limitedBuffer struct {
	bytes.Buffer
	full bool
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > 32<<20 {
		b.full = true
		return 0, errors.New("too much output")
	}
	return b.Buffer.Write(p)
}

// readOutput passes the output of steps through logs, progress and the summary.
func readOutput(ctx context.Context, rnd *rand.Rand, r *reading) error {
	logs := report.NewLogs(report.LogsOptions{Dir: filepath.Join(r.dir, "logs"), MaxSize: 1 << 20})
	var out limitedBuffer
	mode := pick(rnd, []report.Mode{report.ModePlain, report.ModeJSON, report.ModeAuto})
	progress := report.NewProgress(report.ProgressOptions{Out: &out, Mode: mode, Output: rnd.IntN(2) == 0,
		Getenv: func(string) string { return "" }})
	emit := logs.Completing(progress.Handle)
	id := image.ID{Name: "base"}
	step := build.Step{ID: "1", Name: string(hostileOutput(rnd)[:1])}
	if rnd.IntN(3) == 0 {
		step.Name = "RUN " + string(hostileOutput(rnd))
	}
	now := time.Now()
	emit(build.Event{Time: now, Kind: build.EventRunStart, Total: 1})
	emit(build.Event{Time: now, Kind: build.EventImageStart, Image: id})
	emit(build.Event{Time: now, Kind: build.EventStepStart, Image: id, Step: step})
	for text := hostileOutput(rnd); len(text) > 0; {
		n := 1 + rnd.IntN(min(len(text), 40_000))
		emit(build.Event{Time: now, Kind: build.EventLog, Image: id, Step: step, Data: text[:n]})
		text = text[n:]
	}
	step.Err = string(hostileOutput(rnd))
	emit(build.Event{Time: now, Kind: build.EventStepEnd, Image: id, Step: step})
	res := build.Result{Image: id, Reference: "kolla/base:1", Status: build.StatusError,
		Reason:  string(hostileOutput(rnd)),
		Failure: &build.Failure{Err: errors.New(string(hostileOutput(rnd))), Step: step.Name, ExitCode: 1}}
	emit(build.Event{Time: now, Kind: build.EventImageEnd, Image: id, Result: &res})
	complete := logs.Complete(res)
	progress.Close()
	logs.Close()
	if mode == report.ModeJSON {
		for line := range bytes.Lines(out.Bytes()) {
			if !json.Valid(line) {
				return brokenf("a line is not JSON: %q", line[:min(len(line), 200)])
			}
		}
		out.Reset()
	}
	summary := report.Summary{Results: []report.Result{complete}}
	if err := summary.WriteText(&out, report.TextOptions{Getenv: func(string) string { return "" }}); err != nil {
		return brokenf("the summary: %w", err)
	}
	var page bytes.Buffer
	if err := summary.WriteJSON(&page); err != nil || !json.Valid(page.Bytes()) {
		return brokenf("the summary as JSON (%w): %q", err, page.Bytes()[:min(page.Len(), 200)])
	}
	return controlsTerminal("progress", out.Bytes())
}
