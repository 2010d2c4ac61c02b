package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// TestEndToEnd builds real Debian images from our own templates with real
// packages, pushes them to a real registry, and runs them as a container engine does:
// with entry point, user and environment.
func TestEndToEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("builds real images: minutes")
	}
	buildkitd := testenv.Buildkitd(t)
	testenv.Program(t, "mmdebstrap", "mmdebstrap")
	data := t.TempDir()
	server, err := server.Start(server.Options{Addr: "127.0.0.1:0", Dir: filepath.Join(data, "registry")})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	host := server.Addr().String()
	summary := filepath.Join(data, "summary.json")
	args := []string{"-b", "debian", "-t", "binary", "--data-dir", data, "--buildkitd", buildkitd,
		"--push", "--registry", host,
		"-n", "e2e", "--tag", "t", "--logs-dir", filepath.Join(data, "logs"), "--summary-json-file", summary,
		"--progress", "plain", "^memcached$", "^keystone$"}
	runBuild(t, args, exitOK)
	for _, image := range []string{"base", "openstack-base", "keystone-base", "keystone", "memcached"} {
		checkConfig(t, pull(t, host, image), image)
	}
	for image, command := range map[string][2]string{
		"memcached": {"memcached -V", `(?m)^memcached 1\.\d+`},
		"keystone":  {"keystone-manage --version", `(?m)^\d+\.\d+\.\d+`},
	} {
		out := start(t, pull(t, host, image), command[0])
		if !regexp.MustCompile(command[1]).MatchString(out) {
			t.Errorf("%s: %q printed %q, want %q in it", image, command[0], out, command[1])
		}
	}
	noPackageCache(t, pull(t, host, "keystone"))

	// A second run has nothing to do and needs no builder.
	out := runBuild(t, append([]string{"--buildkitd", "/bin/false"}, without(args, "--buildkitd", buildkitd)...), exitOK)
	if !strings.Contains(out, "Nothing to do") {
		t.Errorf("the second run does not report that nothing is to be done:\n%s", out)
	}
}

func without(args []string, drop ...string) []string {
	var out []string
	for _, a := range args {
		keep := true
		for _, d := range drop {
			keep = keep && a != d
		}
		if keep {
			out = append(out, a)
		}
	}
	return out
}

func runBuild(t *testing.T, args []string, want int) string {
	t.Helper()
	var out bytes.Buffer
	started := time.Now()
	code := run(args, append(os.Environ(), "NO_COLOR=1", "KOLLA_BUILD_ENGINE=none"), io.Discard, &out)
	t.Logf("kolla-build %s: exit status %d after %v\n%s", strings.Join(args, " "), code,
		time.Since(started).Round(time.Second), out.String())
	if code != want {
		t.Fatalf("exit status %d, want %d", code, want)
	}
	return out.String()
}

func pull(t *testing.T, host, image string) v1.Image {
	t.Helper()
	ref, err := name.ParseReference(fmt.Sprintf("%s/e2e/%s:t", host, image), name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func checkConfig(t *testing.T, img v1.Image, image string) {
	t.Helper()
	conf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if got := conf.Config.Labels["name"]; got != image {
		t.Errorf("%s: label name is %q", image, got)
	}
	if got := strings.Join(conf.Config.Entrypoint, " "); got != "dumb-init --single-child --" {
		t.Errorf("%s: entry point %q", image, got)
	}
	if got := strings.Join(conf.Config.Cmd, " "); got != "kolla_start" {
		t.Errorf("%s: command %q", image, got)
	}
	if !strings.Contains(strings.Join(conf.Config.Env, "\n"), "KOLLA_BASE_DISTRO=debian") {
		t.Errorf("%s: environment %q", image, conf.Config.Env)
	}
	if user := map[string]string{"memcached": "memcached"}[image]; user != "" && conf.Config.User != user {
		t.Errorf("%s: user %q, want %q", image, conf.Config.User, user)
	}
	if conf.Created.IsZero() || conf.Created.After(time.Now()) {
		t.Errorf("%s: created %v", image, conf.Created)
	}
}

// noPackageCache fails if package managers left cached files.
func noPackageCache(t *testing.T, img v1.Image) {
	t.Helper()
	rc := mutate.Extract(img)
	defer rc.Close()
	tr := tar.NewReader(rc)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		n := strings.TrimPrefix(h.Name, "/")
		if h.Typeflag == tar.TypeReg && (strings.HasSuffix(n, ".deb") ||
			strings.HasPrefix(n, "var/lib/apt/lists/") && h.Size > 0 || strings.HasPrefix(n, "var/cache/kolla/")) {
			t.Errorf("left in the image: %s (%d bytes)", n, h.Size)
		}
	}
}

// start runs a command in a container of the image, through its own entry point and
// kolla_start, and returns its output.
func start(t *testing.T, img v1.Image, command string) string {
	t.Helper()
	runc := testenv.Program(t, "runc", "runc")
	bundle := t.TempDir()
	root := filepath.Join(bundle, "rootfs")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	rc := mutate.Extract(img)
	defer rc.Close()
	tarCmd := exec.Command("tar", "-x", "--numeric-owner", "-C", root)
	tarCmd.Stdin = rc
	if out, err := tarCmd.CombinedOutput(); err != nil {
		t.Fatalf("unpacking: %v\n%s", err, out)
	}
	conf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(runc, "spec", "-b", bundle).CombinedOutput(); err != nil {
		t.Fatalf("runc spec: %v\n%s", err, out)
	}
	editSpec(t, filepath.Join(bundle, "config.json"), root, conf.Config, command)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	id := fmt.Sprintf("kolla-e2e-%d-%d", os.Getpid(), time.Now().UnixNano())
	out, err := exec.CommandContext(ctx, runc, "--root", filepath.Join(bundle, "state"), "run", "-b",
		bundle, id).CombinedOutput()
	if err != nil {
		t.Errorf("%q in a container: %v\n%s", command, err, out)
	}
	return string(out)
}

func editSpec(t *testing.T, path, root string, conf v1.Config, command string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var spec map[string]any
	if err := json.Unmarshal(data, &spec); err != nil {
		t.Fatal(err)
	}
	kolla, err := json.Marshal(map[string]any{"command": command, "config_files": []any{}})
	if err != nil {
		t.Fatal(err)
	}
	// Operators mount it here; the environment variable is read for root only.
	put(t, filepath.Join(root, "var/lib/kolla/config_files/config.json"), kolla)
	put(t, filepath.Join(root, "etc/hosts"), []byte("127.0.0.1 localhost runc\n"))
	// Docker's default capabilities, because kolla_start calls sudo.
	caps := []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_SETGID",
		"CAP_SETUID", "CAP_SETPCAP",
		"CAP_KILL", "CAP_AUDIT_WRITE"}
	uid, gid := ids(t, filepath.Join(root, "etc/passwd"), conf.User)
	p := spec["process"].(map[string]any)
	p["terminal"] = false
	p["noNewPrivileges"] = false
	p["args"] = append(append([]string{}, conf.Entrypoint...), conf.Cmd...)
	p["env"] = append(append([]string{}, conf.Env...), "KOLLA_CONFIG_STRATEGY=COPY_ALWAYS")
	p["user"] = map[string]any{"uid": uid, "gid": gid,
		"additionalGids": groups(t, filepath.Join(root, "etc/group"), conf.User)}
	p["capabilities"] = map[string]any{"bounding": caps, "effective": caps, "permitted": caps}
	spec["root"] = map[string]any{"path": root, "readonly": false}
	if data, err = json.Marshal(spec); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// ids returns the ids of a user in an image's passwd file. An empty name is root.
func ids(t *testing.T, passwd, user string) (uid, gid int) {
	t.Helper()
	if user == "" {
		return 0, 0
	}
	for _, f := range fields(t, passwd) {
		if f[0] == user && len(f) > 3 {
			fmt.Sscan(f[2], &uid)
			fmt.Sscan(f[3], &gid)
			return uid, gid
		}
	}
	t.Fatalf("user %s is not in the image", user)
	return 0, 0
}

// groups returns the supplementary groups of a user, as engines do.
func groups(t *testing.T, group, user string) []int {
	t.Helper()
	out := []int{}
	for _, f := range fields(t, group) {
		if len(f) > 3 && user != "" && strings.Contains(","+f[3]+",", ","+user+",") {
			var gid int
			fmt.Sscan(f[2], &gid)
			out = append(out, gid)
		}
	}
	return out
}

func fields(t *testing.T, path string) [][]string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]string
	for line := range strings.Lines(string(data)) {
		out = append(out, strings.Split(strings.TrimSpace(line), ":"))
	}
	return out
}
