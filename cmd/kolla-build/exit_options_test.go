package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// malformed are values that their options can never have, and options that name files and
// directories that cannot be used. FILE is a file, DIR a directory and MISSING neither.
var malformed = []string{
	"--secret x", "--secret id=", "--secret id=a,src=MISSING", "--secret id=a,type=x", "--ssh =", "--ssh default=MISSING",
	"--base-tag TAG@sha256:12", "--base-tag a@b", "--also-tag a@b", "--also-tag ", "--tag a@b", "--tag a/b",
	"--report-dir FILE", "--logs-dir FILE", "--summary-json-file MISSING/x", "--junit-file DIR",
	"--metrics-file MISSING/x",
	"--report-html MISSING/x", "--registry-insecure a/b", "--registry-insecure host.example/b", "--registry a/b/c:x",
	"--namespace A", "--image-name-prefix A@", "--allow x", "--platform x", "--base-arch x",
	"--debian-arch x", "--retain x",
	"--compression x", "--build-args x", "--image-memory x", "--image-timeout x", "--step-timeout x", "--threads 0",
	"--push-threads 0", "--retries -1", "--timeout 0", "--min-free x", "--cache-size x", "--engine x", "--network_mode x",
	"--bootstrap x", "--progress x", "--format x", "--rpm_setup_config x", "--buildkit-addr x", "--buildkitd MISSING/x",
	"--template-override MISSING", "--images-dir MISSING", "--docker-dir MISSING", "--patches-path MISSING",
	"--repos-yaml MISSING", "--apt_sources_list MISSING", "--apt_preferences MISSING", "--include-header MISSING",
	"--config-file MISSING", "--config-file DIR", "--config-dir FILE", "--inputs MISSING",
	"--offline", "--profile MISSING",
	"--base x", "--install-type x", "--nosuch",
	"plan [", "images [", "save --output - [", "remove [", "render --set x FILE", "render --set-json x FILE",
	"render --set-json x=a FILE",
	"load --rename x FILE", "load --tag a@b FILE", "load --verify-key MISSING FILE", "verify --verify-key MISSING FILE",
	"save --split x --output o", "save --delta x --output o", "save --from x --output o",
	"save --sign-key MISSING --output o",
	"gc --older-than x", "copy a b", "tag x", "inventory x", "registry serve --tls-certificate FILE",
	"registry serve --htpasswd MISSING",
	"registry serve --gc-every x", "registry serve --addr x", "registry serve --dir FILE", "registry gc --dir FILE",
	"--data-dir FILE", "--data-dir FILE/x", "plan --data-dir FILE", "images --data-dir FILE",
	"gc --data-dir FILE", "logs --data-dir FILE",
	"--template-only --work-dir FILE", "--template-only --work-dir FILE/x",
	"--base-image a@b", "--base-image A", "--base-image a:b:c", "--base-image oci:", "--base-image oci:MISSING",
	"--base-image MISSING.tar", "--offline --inputs MISSING", "--offline --inputs FILE", "save --output MISSING/x",
	"save --output MISSING/x --split 1G",
	"--base-mirror x", "--base-mirror http://[x",
	"--tarballs-base x", "--tarballs-mirrors x", "--tarballs-mirrors https://h/a,/dir",
	"--tarballs-mirrors ftp://u:hunter2@h/x",
	"--tarballs-base http://[x", "--podman_base_url x", "--podman_base_url /run/podman.sock",
	"bootstrap debian:trixie --base-mirror x", "bootstrap debian:trixie --mirror x",
	"bootstrap debian:trixie --keyring MISSING",
	"--base-mirror ftp://u:hunter2@h/x", "--base-mirror=ftp://u:hunter2@h", "--tarballs-base http://u:hunter2@[x",
}

// failures are correct command lines that fail: arguments that name a file that does not exist.
var failures = []string{"--retries 1", "load MISSING", "verify MISSING", "list MISSING",
	"lint MISSING.j2", "render MISSING.j2"}

// TestMalformedOptions checks the rule of docs/options.md: status 2 if the command line can
// never work, 1 if the command fails.
func TestMalformedOptions(t *testing.T) {
	dir := t.TempDir()
	for name, path := range map[string]string{"FILE": "file", "DIR": "dir"} {
		var err error
		if name == "FILE" {
			err = os.WriteFile(filepath.Join(dir, path), nil, 0o644)
		} else {
			err = os.Mkdir(filepath.Join(dir, path), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	paths := strings.NewReplacer("FILE", dir+"/file", "DIR", dir+"/dir", "MISSING", dir+"/missing")
	tree := filepath.Join(testenv.RepoRoot(t), "testdata/tree")
	check := func(line string, want int) {
		args := strings.Split(paths.Replace(line), " ")
		if strings.HasPrefix(line, "--") {
			args = append([]string{"--images-dir", tree, "-b", "debian"}, args...)
		}
		var out bytes.Buffer
		ended := make(chan int, 1)
		go func() {
			// A base image of the environment that does not exist ends a run whose options are correct, with status 1.
			ended <- run(args, []string{"HOME=" + dir, "KOLLA_BUILD_DATA_DIR=" + dir + "/data", "KOLLA_BUILD_ENGINE=none",
				"KOLLA_BUILD_BASE_IMAGE=oci:" + dir + "/none"}, &out, &out)
		}()
		var code int
		select {
		case code = <-ended:
		case <-time.After(time.Minute):
			t.Fatalf("kolla-build %s is still running", line) // a registry that serves
		}
		if code != want {
			t.Errorf("kolla-build %s: exit status %d, want %d\n%s", line, code, want, out.String())
		}
		if strings.Contains(out.String(), "hunter2") {
			t.Errorf("kolla-build %s prints a password:\n%s", line, out.String())
		}
	}
	for _, line := range malformed {
		check(line, exitUsage)
	}
	for _, line := range failures {
		check(line, exitFailed)
	}
}

// TestUnusablePatchesPath checks the status and the message for each place that can name the directory.
func TestUnusablePatchesPath(t *testing.T) {
	dir := t.TempDir()
	conf, file, missing := filepath.Join(dir, "kb.conf"), filepath.Join(dir, "file"), filepath.Join(dir, "missing")
	for path, text := range map[string]string{file: "", conf: "[DEFAULT]\npatches_path = " + missing + "\n"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tree := filepath.Join(testenv.RepoRoot(t), "testdata/tree")
	for _, command := range []string{"plan", "--template-only --work-dir " + filepath.Join(dir, "work")} {
		for _, c := range []struct {
			option, env string
			want        int
			message     string
		}{
			{"--patches-path " + missing, "", exitUsage, ": patches directory " + missing + ": no such file or directory"},
			{"--patches-path " + file, "", exitUsage, ": patches directory " + file + ": not a directory"},
			{"", file, exitFailed, ": patches directory " + file + ": not a directory"},
			{"--config-file " + conf, "", exitFailed, "kb.conf:2: patches directory " + missing + ": no such file or directory"},
		} {
			var out bytes.Buffer
			env := []string{"HOME=" + dir, "KOLLA_BUILD_DATA_DIR=" + dir + "/data", "KOLLA_BUILD_IMAGES_DIR=" + tree,
				"KOLLA_BUILD_ENGINE=none", "KOLLA_BUILD_BASE=debian"}
			if c.env != "" { // an empty value would replace that of the file
				env = append(env, "KOLLA_BUILD_PATCHES_PATH="+c.env)
			}
			code := run(strings.Fields(command+" "+c.option), env, &out, &out)
			if code != c.want || !strings.Contains(out.String(), c.message) {
				t.Errorf("%s %+v: exit status %d\n%s", command, c, code, out.String())
			}
		}
	}
}

// TestDataDirOfFiles checks a data directory that a file or the environment sets and that cannot
// be used, for commands that read it.
func TestDataDirOfFiles(t *testing.T) {
	dir := t.TempDir()
	conf, file := filepath.Join(dir, "kb.conf"), filepath.Join(dir, "file")
	for path, text := range map[string]string{file: "", conf: "[DEFAULT]\ndata_dir = " + file + "/data\n"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tree := filepath.Join(testenv.RepoRoot(t), "testdata/tree")
	check := func(line string, env string, want int, message string) {
		var out bytes.Buffer
		code := run(strings.Fields(line), []string{env, "KOLLA_BUILD_IMAGES_DIR=" + tree, "KOLLA_BUILD_ENGINE=none"}, &out,
			&out)
		if code != want || !strings.Contains(out.String(), message) {
			t.Errorf("%s kolla-build %s: exit status %d, want %d and %q:\n%s", env, line, code, want, message, out.String())
		}
	}
	for _, line := range []string{"images", "gc", "plan", "logs", "copy h.example/a:1 h.example/b:1",
		"registry gc", "registry serve", "remove x", "nightly --nopush", "bootstrap debian"} {
		check(line+" --config-file "+conf, "HOME="+dir, exitFailed, "kb.conf:2: data-dir: not a directory")
		check(line, "KOLLA_BUILD_DATA_DIR="+file, exitUsage, "KOLLA_BUILD_DATA_DIR="+file+": not a directory")
	}
	for _, line := range []string{"completion bash", "lint", "render base", "explain base", "--generate-config",
		"--list-images", "--list-dependencies",
		"--template-only --work-dir " + filepath.Join(dir, "work")} {
		check(line, "KOLLA_BUILD_DATA_DIR="+file, exitOK, "")
	}
	check("copy a b", "KOLLA_BUILD_DATA_DIR="+file, exitUsage, `"a": expected HOST`)
}
