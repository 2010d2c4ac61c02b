package buildkit

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"
	digest "github.com/opencontainers/go-digest"
)

func TestCachesOfCommands(t *testing.T) {
	tests := []struct{ command, want string }{
		{"apt-get update && apt-get -y install nova", "apt lists"},
		{"apt-get update; apt-get dist-upgrade -y", "apt lists"},
		{"/usr/bin/apt-get install -y x", "apt"},
		{"set -e; (apt update)", "apt"},
		{"apt-get clean", ""},
		{"dnf -y install a && dnf clean all && rm -rf /var/cache/dnf", "dnf"},
		{"microdnf install x", "dnf"},
		{"python3 -m pip --no-cache-dir install --upgrade pbr", "pip"},
		{"/var/lib/kolla/venv/bin/pip install x", "pip"},
		{"pip freeze", ""},
		{"apt-get install -y python3-pip && pip3 install x", "apt pip"},
		{"echo captain install", ""},
		{"curl -o adapt install.sh", ""},
	}
	for _, tt := range tests {
		if got := strings.Join(cachesOf([]string{"/bin/sh", "-c", tt.command}), " "); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.command, got, tt.want)
		}
	}
}

// execs returns the RUN steps of a definition in order, after having checked
// that every input is an op of it and that metadata and places belong to ops.
func execs(t *testing.T, def *llb.Definition) []*pb.ExecOp {
	t.Helper()
	seen := map[string]bool{}
	var out []*pb.ExecOp
	for _, dt := range def.Def {
		var op pb.Op
		if err := op.UnmarshalVT(dt); err != nil {
			t.Fatal(err)
		}
		for _, in := range op.Inputs {
			if !seen[in.Digest] {
				t.Errorf("an op has input %s, which does not come before it", in.Digest)
			}
		}
		seen[digest.FromBytes(dt).String()] = true
		if e := op.GetExec(); e != nil {
			out = append(out, e)
		}
	}
	for d := range def.Metadata {
		if !seen[d.String()] {
			t.Errorf("metadata of %s, which is not an operation", d)
		}
	}
	for d := range def.Source.Locations {
		if !seen[d] {
			t.Errorf("a place for %s, which is not an operation", d)
		}
	}
	return out
}

func TestPackageCacheIsInTheLLBAlone(t *testing.T) {
	d := Dockerfile{Name: "base", Reference: "kolla/base:t", Path: "f", Content: []byte(`FROM debian:trixie
RUN apt-get update && apt-get install -y a
RUN echo nothing of the kind
RUN --mount=type=cache,target=/var/cache/apt apt-get install -y own-cache
RUN python3 -m pip --no-cache-dir install b
`)}
	def := func(change func(*ConvertOptions)) *Definition {
		c := converter()
		change(&c.opts)
		return convert(t, c, d)
	}
	plain := def(func(*ConvertOptions) {})
	cached := def(func(o *ConvertOptions) { o.PackageCache = "debian" })
	if cached.Key != plain.Key || string(cached.Config) != string(plain.Config) {
		t.Error("the cache is in the key or in the image's config")
	}
	before, after := execs(t, plain.LLB), execs(t, cached.LLB)
	if len(before) != 4 || len(after) != 4 {
		t.Fatalf("%d and %d steps, want 4", len(before), len(after))
	}
	for i, want := range []string{"apt,lists", "", "", "pip"} {
		args := after[i].Meta.Args
		if want == "" {
			if strings.Join(args, " ") != strings.Join(before[i].Meta.Args, " ") ||
				len(after[i].Mounts) != len(before[i].Mounts) {
				t.Errorf("step %d was changed: %q", i+1, args)
			}
			continue
		}
		if args[0] != cacheTool+"/with-cache" || args[1] != want || !hasCache(after[i]) {
			t.Errorf("step %d runs %q, want it with the caches %s", i+1, args, want)
		}
	}
	if got := after[3].Meta.Args[4]; got != "python3 -m pip install b" {
		t.Errorf("pip is called as %q", got)
	}
	if len(plain.LLB.Source.Locations) != len(cached.LLB.Source.Locations) {
		t.Error("places were lost")
	}
	if again, err := addPackageCaches(context.Background(), plain.LLB, "debian"); err != nil ||
		string(again.Def[len(again.Def)-1]) != string(cached.LLB.Def[len(cached.LLB.Def)-1]) {
		t.Errorf("the same definition came out differently (%v)", err)
	}
}

func TestEffort(t *testing.T) {
	effortOf := func(run string) int {
		c := converter()
		return int(convert(t, c, Dockerfile{Name: "x", Reference: "kolla/x:t", Path: "f",
			Content: []byte("FROM debian:trixie\n" + run + "\n"),
			Context: []ContextFile{{Path: "a", Mode: 0o644}}}).Effort.Seconds())
	}
	tests := []struct {
		run  string
		want int
	}{
		{"LABEL a=b", 0},
		{"RUN true", 1},
		{"RUN apt-get update && apt-get -y --no-install-recommends install a b c && apt-get clean", 1 + 10 + 9},
		{"RUN apt-get install -y \\\n  a \\\n  b; echo done", 1 + 10 + 6},
		{"RUN kolla_apt_install a b", 1 + 10 + 6},
		{"COPY a /b", 1},
	}
	for _, tt := range tests {
		if got := effortOf(tt.run); got != tt.want {
			t.Errorf("%s: %d s, want %d s", tt.run, got, tt.want)
		}
	}
}

// TestCacheOfDnf runs the real dnf twice, as two steps that clean up after
// themselves do: the second one requests the repository's index only.
func TestCacheOfDnf(t *testing.T) {
	testenv.Slow(t)
	dnf, createrepo := testenv.Program(t, "dnf", "dnf"), testenv.Program(t, "createrepo_c", "createrepo-c")
	testenv.Root(t)
	dir := t.TempDir()
	repo := filepath.Join(dir, "repo")
	files := map[string]string{
		"dnf.conf":    "[main]\nreposdir=" + dir + "/repos\n",
		"with-cache":  strings.ReplaceAll(string(withCache), cacheDir, filepath.Join(dir, "cache")),
		"repos/x":     "",
		"repo/README": "",
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(createrepo, "-q", repo).CombinedOutput(); err != nil {
		t.Fatalf("createrepo_c: %v\n%s", err, out)
	}
	var mu sync.Mutex // dnf fetches several files at once
	var requested []string
	served := http.FileServer(http.Dir(repo))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		requested = append(requested, r.URL.Path)
		mu.Unlock()
		served.ServeHTTP(w, r)
	}))
	defer server.Close()
	if err := os.WriteFile(filepath.Join(dir, "repos/t.repo"),
		[]byte("[t]\nname=t\ngpgcheck=0\nbaseurl="+server.URL+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	step := func() []string {
		t.Helper()
		mu.Lock()
		requested = nil
		mu.Unlock()
		dnf := filepath.Base(dnf) + " -c " + dir + "/dnf.conf --releasever=10 "
		cmd := exec.Command("sh", filepath.Join(dir, "with-cache"), "dnf", "sh", "-c", dnf+"makecache && "+dnf+"clean all")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("dnf: %v\n%s", err, out)
		}
		mu.Lock()
		defer mu.Unlock()
		return requested
	}
	if got := step(); len(got) < 2 {
		t.Fatalf("the first step requested %q: the cache was not empty", got)
	}
	if got := step(); len(got) != 1 || got[0] != "/repodata/repomd.xml" {
		t.Errorf("the second step requested %q", got)
	}
	if leftover, err := os.ReadDir(filepath.Join(dir, "cache/work")); err != nil || len(leftover) > 0 {
		t.Errorf("%d private directories are left (%v)", len(leftover), err)
	}
}
