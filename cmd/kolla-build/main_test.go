package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
	"github.com/moby/buildkit/util/archutil"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"kolla-build": func() { os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs the scripts in testdata/script with the real main, a real
// BuildKit and a real registry. Those that need a builder say so with
// "builder" in their first lines.
func TestScripts(t *testing.T) {
	testenv.Inputs(t, "testdata", "dockerfiles", "examples", "scripts", "Makefile")
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join(testenv.RepoRoot(t), "testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			env.Setenv("KOLLA_BUILD_DATA_DIR", filepath.Join(env.WorkDir, "data"))
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("NO_COLOR", "1")
			env.Setenv("KOLLA_BUILD_ENGINE", "none") // do not use Docker of this machine
			env.Setenv("SRC", testenv.RepoRoot(t))
			env.Setenv("KOLLA_TEST_FAILURES", os.Getenv("KOLLA_TEST_FAILURES"))
			// Scripts do not see the settings of this machine.
			for _, v := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy",
				"BUILDKIT_HOST", "SOURCE_DATE_EPOCH"} {
				env.Setenv(v, "")
			}
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond == "builder" {
				return os.Geteuid() == 0 && !testing.Short(), nil
			}
			if cond == "i386" {
				return runs386(), nil
			}
			if cond == "podman-service" { // of the machine, where Podman's own socket is
				_, err := os.Stat("/run/podman/podman.sock")
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"builder":    needBuilder,
			"base":       makeBase,
			"registry":   startRegistry,
			"dockerd":    startDockerd,
			"podman":     startPodman,
			"count":      countMatches,
			"sed":        replaceInFile,
			"collector":  startCollector,
			"spans":      checkSpans,
			"silent":     startSilent,
			"files":      serveFiles,
			"transcript": transcript,
		},
	})
}

// runs386 reports whether a builder can run 32-bit x86 programs: not all virtual machines can.
var runs386 = sync.OnceValue(func() bool {
	return slices.ContainsFunc(archutil.SupportedPlatforms(true), func(p ocispecs.Platform) bool {
		return p.Architecture == "386"
	})
})

// scriptTB lets testenv skip or fail a script.
type scriptTB struct {
	testing.TB
	ts *testscript.TestScript
}

func (s scriptTB) Helper()                   {}
func (s scriptTB) Skip(args ...any)          { s.ts.Fatalf("%v", args) } // a script cannot be skipped from a command
func (s scriptTB) Cleanup(f func())          { s.ts.Defer(f) }
func (s scriptTB) Logf(f string, a ...any)   { s.ts.Logf(f, a...) }
func (s scriptTB) Fatal(args ...any)         { s.ts.Fatalf("%v", args) }
func (s scriptTB) Fatalf(f string, a ...any) { s.ts.Fatalf(f, a...) }

// needBuilder makes kolla-build start the pinned buildkitd.
// Scripts that need one begin with "[!builder] skip".
func needBuilder(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Setenv("KOLLA_BUILD_BUILDKITD", testenv.Buildkitd(scriptTB{ts: ts}))
}

// makeBase writes a busybox base image as an OCI layout: base DIR [FILE=TEXT ...].
// With platforms=ARCH,ARCH/VARIANT it is an index with one image for each, all with the busybox
// of this machine, whose kernel runs it whatever the name of the platform.
func makeBase(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 1 {
		ts.Fatalf("usage: base DIR [platforms=ARCH,...] [FILE=TEXT ...]")
	}
	extra := map[string]string{}
	var archs []string
	for _, a := range args[1:] {
		k, v, _ := strings.Cut(a, "=")
		if k == "platforms" {
			archs = strings.Split(v, ",")
			continue
		}
		extra[k] = v
	}
	p, err := layout.Write(ts.MkAbs(args[0]), empty.Index)
	ts.Check(err)
	img := testenv.Busybox(scriptTB{ts: ts}, extra)
	if archs == nil {
		ts.Check(p.AppendImage(img))
		return
	}
	idx := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, name := range archs {
		arch, variant, _ := strings.Cut(name, "/")
		conf, err := img.ConfigFile()
		ts.Check(err)
		conf = conf.DeepCopy()
		conf.Architecture, conf.Variant = arch, variant
		first, err := mutate.ConfigFile(img, conf)
		ts.Check(err)
		idx = mutate.AppendManifests(idx,
			mutate.IndexAddendum{Add: first, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux",
				Architecture: arch, Variant: variant}}})
	}
	ts.Check(p.AppendIndex(idx))
}

// startRegistry runs an embedded registry during the script: registry VAR [DIR].
func startRegistry(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 1 {
		ts.Fatalf("usage: registry VAR [DIR]")
	}
	dir := ts.MkAbs("registry-" + args[0])
	if len(args) > 1 {
		dir = ts.MkAbs(args[1])
	}
	s, err := server.Start(server.Options{Addr: "127.0.0.1:0", Dir: dir})
	ts.Check(err)
	ts.Defer(func() { s.Close() })
	ts.Setenv(args[0], s.Addr().String())
}

// startDockerd runs a Docker daemon during the script and sets DOCKERD_PID: dockerd.
// kolla-build finds it by DOCKER_HOST and uses it if KOLLA_BUILD_ENGINE is unset.
func startDockerd(ts *testscript.TestScript, _ bool, args []string) {
	d := testenv.Dockerd(scriptTB{ts: ts}, "")
	ts.Setenv("DOCKER_HOST", d.Addr)
	ts.Setenv("DOCKERD_PID", strconv.Itoa(d.Process.Pid))
}

// startPodman runs Podman's service during the script and sets VAR to its address:
// podman VAR.
func startPodman(ts *testscript.TestScript, _ bool, args []string) {
	d, environment := testenv.Podman(scriptTB{ts: ts})
	ts.Setenv(args[0], d.Addr)
	k, v, _ := strings.Cut(environment, "=")
	ts.Setenv(k, v)
}

// serveFiles serves a directory by HTTP: files VAR DIR.
func serveFiles(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: files VAR DIR")
	}
	s := httptest.NewServer(http.FileServer(http.Dir(ts.MkAbs(args[1]))))
	ts.Defer(s.Close)
	ts.Setenv(args[0], s.URL)
}

// startSilent starts a server that accepts connections and does not answer: silent VAR.
func startSilent(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: silent VAR")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { ln.Close() })
	ts.Setenv(args[0], ln.Addr().String()) // the kernel accepts by itself
}

// countMatches checks how many times a file contains a text: count N TEXT FILE.
func countMatches(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: count N TEXT FILE")
	}
	n := strings.Count(ts.ReadFile(args[2]), args[1])
	if got := strconv.Itoa(n); got != args[0] {
		ts.Fatalf("%q is %s times in %s, want %s", args[1], got, args[2], args[0])
	}
}

// transcript runs the command lines of a file, each after "$ ", and writes them with
// their output and exit status to a second file: transcript CASES GOT. CASES contains
// the expected output as well, so that "cmp GOT CASES" compares them. UPDATE_SCRIPTS=1
// updates it.
func transcript(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: transcript CASES GOT")
	}
	var got strings.Builder
	for line := range strings.SplitSeq(ts.ReadFile(args[0]), "\n") {
		command, ok := strings.CutPrefix(line, "$ ")
		if !ok {
			continue
		}
		err := ts.Exec("sh", "-c", command)
		status := 0
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			status = exit.ExitCode()
		}
		answer := ts.ReadFile("stdout") + ts.ReadFile("stderr")
		answer = strings.NewReplacer(ts.Getenv("SRC"), "$SRC", ts.Getenv("WORK"), "$WORK").Replace(answer)
		fmt.Fprintf(&got, "$ %s\n%s", command, answer)
		if answer != "" && !strings.HasSuffix(answer, "\n") {
			got.WriteString("\n")
		}
		fmt.Fprintf(&got, "[%d]\n\n", status)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(got.String()), 0o644))
}

// replaceInFile replaces a text in a file: sed OLD NEW FILE.
func replaceInFile(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: sed OLD NEW FILE")
	}
	data := []byte(ts.ReadFile(args[2]))
	if !bytes.Contains(data, []byte(args[0])) {
		ts.Fatalf("%q is not in %s", args[0], args[2])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), bytes.ReplaceAll(data, []byte(args[0]), []byte(args[1])), 0o644))
}
