package faults

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/kolla-build/kolla-build/internal/faultproxy"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// images are the images of the set with their parents, parents first.
var images = []struct{ name, parent string }{
	{"base", ""}, {"mid-a", "base"}, {"mid-b", "base"},
	{"leaf-1", "mid-a"}, {"leaf-2", "mid-a"}, {"leaf-3", "mid-b"}, {"leaf-4", "mid-b"},
}

// The two states of the set: the one in the registry before a disturbed run, and the
// one that the run publishes. Every image differs.
const old, new_ = "old", "new"

// mirrorHost is a name that only the fault proxy knows, which is the http_proxy of the
// runs and of their RUN steps. So Dockerfiles and keys do not contain addresses,
// which differ between trials.
const mirrorHost = "http://mirror.test"

// world is shared by all trials: the program, the trees, the mirror, and the state
// after an undisturbed run of the old set.
type world struct {
	tool, clockTool, buildkitd string
	dir                        string
	mirror                     *httptest.Server
	took                       time.Duration     // an undisturbed run of the new set
	want                       map[string]string // image of the new set -> what it is
	was                        map[string]string // image of the old set -> digest
	reproducible               bool              // two runs gave the same digests: want has digests
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{buildkitd: testenv.Buildkitd(t), dir: t.TempDir(), want: map[string]string{}, was: map[string]string{}}
	w.onTmpfs(t)
	w.tool = buildTool(t, w.dir)
	for _, gen := range []string{old, new_} {
		w.writeTree(t, gen)
	}
	base, err := layout.Write(filepath.Join(w.dir, "busybox"), empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := base.AppendImage(testenv.Busybox(t, nil)); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, gen := range []string{old, new_} {
		for _, im := range images {
			files["/"+im.name+"-"+gen+".tar.gz"] = archive(t, im.name+gen)
			files["/"+im.name+"-"+gen+".bin"] = noise(im.name+gen+"bin", 150_000)
		}
	}
	w.mirror = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		data, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(rw, r)
			return
		}
		rw.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(data)))
		http.ServeContent(rw, r, "", testenv.BusyboxCreated, bytes.NewReader(data))
	}))
	t.Cleanup(w.mirror.Close)

	// The reference: old, then new, undisturbed; then new again with an empty builder,
	// to find out whether digests can be compared.
	ref := w.trial(t, "reference", "")
	ref.mustRun(old)
	for _, im := range images {
		w.was[im.name] = ref.tag(im.name)
	}
	ref.stopRegistry()
	copyTree(t, ref.dir, filepath.Join(w.dir, "snapshot"))
	ref.startRegistry()
	start := time.Now()
	ref.mustRun(new_)
	w.took = time.Since(start)
	again := w.trial(t, "again", "")
	again.mustRun(new_)
	w.reproducible = true
	for _, im := range images {
		w.reproducible = w.reproducible && ref.tag(im.name) == again.tag(im.name)
		if ref.tag(im.name) == w.was[im.name] {
			t.Fatalf("%s is the same in both sets: tags could not be distinguished", im.name)
		}
	}
	for _, im := range images {
		w.want[im.name] = ref.identity(ref.tag(im.name))
		if got := again.identity(again.tag(im.name)); got != w.want[im.name] {
			t.Fatalf("%s is not the same on two builders: trials could not be compared", im.name)
		}
	}
	t.Logf("an undisturbed run takes %v; digests are the same on two builders: %v",
		w.took.Round(time.Millisecond), w.reproducible)
	return w
}

// onTmpfs uses a tmpfs for all files if possible: every blob is synced, and a slow disk
// adds nothing to the test.
func (w *world) onTmpfs(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=3g", "tmpfs", w.dir).CombinedOutput(); err != nil {
		t.Logf("on disk, as a tmpfs cannot be mounted: %v: %s", err, out)
		return
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", w.dir).CombinedOutput(); err != nil {
			t.Errorf("unmounting %s: %v: %s", w.dir, err, out)
		}
	})
}

// buildTool builds the program under test.
func buildTool(t *testing.T, dir string, flags ...string) string {
	t.Helper()
	tool := filepath.Join(dir, "kolla-build")
	args := append([]string{"build", "-o", tool}, flags...)
	cmd := exec.Command("go", append(args, "./cmd/kolla-build")...)
	cmd.Dir = testenv.RepoRoot(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building kolla-build: %v\n%s", err, out)
	}
	return tool
}

// write writes a file of the world.
func (w *world) write(t *testing.T, path, text string) {
	t.Helper()
	path = filepath.Join(w.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// writeTree writes the templates of one state of the set. Each image copies a file, has
// a source, and runs deterministic commands; one image downloads in a command.
func (w *world) writeTree(t *testing.T, gen string) {
	t.Helper()
	add := func(path, text string) { w.write(t, filepath.Join(gen, path), text) }
	conf := "[DEFAULT]\nbase = debian\ninstall_type = source\nthreads = 3\n"
	for _, im := range images {
		from := "{{ namespace }}/{{ image_prefix }}" + im.parent + ":{{ tag }}"
		if im.parent == "" {
			from = "{{ base_image }}:{{ base_distro_tag }}"
		}
		text := "FROM " + from + "\nCOPY data /opt/" + im.name + "/data\nADD " + im.name + "-archive /opt/" + im.name + "/src\n" +
			"RUN sleep 0.1 && cat /opt/" + im.name + "/data > /etc/" + im.name + " && echo made of " + gen + "\n"
		if im.name == "mid-b" {
			text += "RUN wget -q -O /opt/fetched " + mirrorHost + "/mid-b-" + gen + ".bin" +
				" && echo " + fmt.Sprintf("'%x  /opt/fetched'", sha256.Sum256(noise("mid-b"+gen+"bin", 150_000))) + " > /tmp/sum" +
				" && { /bin/busybox sha256sum -c /tmp/sum || { echo Hash Sum mismatch; exit 1; }; }\n"
		}
		add("tree/"+im.name+"/Dockerfile.j2", text)
		add("tree/"+im.name+"/data", string(noise(im.name+gen, 100_000)))
		conf += fmt.Sprintf("[%s]\ntype = url\nlocation = %s/%s-%s.tar.gz\nsha256 = %s:%x\n", im.name,
			mirrorHost, im.name, gen,
			runtime.GOARCH, sha256.Sum256(archive(t, im.name+gen)))
	}
	add("kolla-build.conf", conf)
}

// noise returns content that cannot be compressed, always the same for a name.
func noise(name string, n int) []byte {
	src := rand.NewChaCha8(sha256.Sum256([]byte(name)))
	b := make([]byte, n)
	_, _ = src.Read(b)
	return b
}

func archive(t *testing.T, name string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	data := noise(name+"archive", 60_000)
	if err := w.WriteHeader(&tar.Header{Name: "project/file", Mode: 0o644, Size: int64(len(data)),
		ModTime: testenv.BusyboxCreated}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// copyTree copies a directory that no process writes to.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", from+"/.", to).CombinedOutput(); err != nil {
		t.Fatalf("copying %s: %v: %s", from, err, out)
	}
}

// trial is a data directory with a registry, in which runs are disturbed. It starts in
// the state after the old set was published.
type trial struct {
	*testing.T
	w        *world
	name     string
	dir      string // data/ and registry/
	server   *server.Server
	registry *faultproxy.Proxy
	mirror   *faultproxy.Proxy
	env      []string // in addition to the environment of the runs
	runs     int
	contents map[string]string
}

// trial creates a trial, from a snapshot if one is named.
func (w *world) trial(t *testing.T, name, snapshot string) *trial {
	t.Helper()
	tr := &trial{T: t, w: w, name: name, dir: filepath.Join(w.dir, name), contents: map[string]string{}}
	if snapshot != "" {
		copyTree(t, filepath.Join(w.dir, snapshot), tr.dir)
	}
	tr.place()
	return tr
}

// place starts the servers of a trial.
func (tr *trial) place() {
	tr.Helper()
	if err := os.MkdirAll(tr.dir, 0o755); err != nil {
		tr.Fatal(err)
	}
	var err error
	if tr.registry, err = faultproxy.Start(faultproxy.Options{}); err != nil {
		tr.Fatal(err)
	}
	if tr.mirror, err = faultproxy.Start(faultproxy.Options{}); err != nil {
		tr.Fatal(err)
	}
	tr.mirror.Set(faultproxy.Options{Target: tr.mirrorAddr()})
	tr.startRegistry()
	tr.Cleanup(func() {
		tr.registry.Close()
		tr.mirror.Close()
		tr.stopRegistry()
	})
}

func (tr *trial) mirrorAddr() string { return strings.TrimPrefix(tr.w.mirror.URL, "http://") }

func (tr *trial) startRegistry() {
	tr.Helper()
	var err error
	if tr.server, err = server.Start(server.Options{Addr: "127.0.0.1:0",
		Dir: filepath.Join(tr.dir, "registry")}); err != nil {
		tr.Fatal(err)
	}
	tr.registry.Set(faultproxy.Options{Target: tr.server.Addr().String()})
}

func (tr *trial) stopRegistry() {
	if tr.server != nil {
		tr.server.Close()
		tr.server = nil
	}
}

// command returns a run of the program that builds and publishes a state of the set.
func (tr *trial) command(gen string, extra ...string) *exec.Cmd {
	tool := tr.w.tool
	if tr.w.clockTool != "" && strings.HasPrefix(tr.name, "clock") {
		tool = tr.w.clockTool
	}
	args := append([]string{"--config-file", filepath.Join(tr.w.dir, gen, "kolla-build.conf"), "--images-dir",
		filepath.Join(tr.w.dir, gen, "tree"),
		"--base-image", "oci:" + filepath.Join(tr.w.dir,
			"busybox"), "--buildkitd", tr.w.buildkitd, "--data-dir", filepath.Join(tr.dir, "data"),
		"--push", "--registry", tr.registry.Addr(), "--tag", "t", "--progress", "plain", "--format", "none"}, extra...)
	cmd := exec.Command(tool, args...)
	cmd.Dir = tr.dir // no kolla-build.conf is there
	proxy := "http://" + tr.mirror.Addr()
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + tr.dir, "TMPDIR=" + tmpDir(tr.dir), "NO_COLOR=1",
		"http_proxy=" + proxy, "no_proxy=127.0.0.1"}, tr.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// tmpDir is the directory for the temporary files of a trial's runs.
func tmpDir(dir string) string {
	tmp := filepath.Join(dir, "t")
	_ = os.MkdirAll(tmp, 0o700)
	return tmp
}

// runLimit is the time after which a run counts as hanging.
const runLimit = 3 * time.Minute

// run runs the program until it ends, and returns its output.
func (tr *trial) run(cmd *exec.Cmd, during ...func(*exec.Cmd)) (string, error) {
	tr.Helper()
	tr.runs++
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	ctx, cancel := context.WithTimeout(context.Background(), runLimit)
	defer cancel()
	if err := cmd.Start(); err != nil {
		tr.Fatal(err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGQUIT) }) // its goroutines tell where it hangs
	defer stop()
	for _, f := range during {
		f(cmd)
	}
	err := cmd.Wait()
	if ctx.Err() != nil {
		tr.Fatalf("%s: a run does not end within %v:\n%s", tr.name, runLimit, out.String())
	}
	return out.String(), err
}

func (tr *trial) mustRun(gen string, extra ...string) string {
	tr.Helper()
	out, err := tr.run(tr.command(gen, extra...))
	if err != nil {
		tr.Fatalf("%s: an undisturbed run ends with %v:\n%s", tr.name, err, out)
	}
	return out
}
