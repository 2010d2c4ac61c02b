package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
)

// TestManPage checks the manual page with mandoc's lint, and that it has all options and
// commands.
func TestManPage(t *testing.T) {
	mandoc := testenv.Program(t, "mandoc", "mandoc")
	commands := described(table())
	page := filepath.Join(t.TempDir(), "kolla-build.1")
	if err := os.WriteFile(page, []byte(cli.ManPage(commands, "1.0", time.Unix(1790000000, 0))), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(mandoc, "-T", "lint", page).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("mandoc -T lint: %v\n%s", err, out)
	}
	text, err := exec.Command(mandoc, "-T", "ascii", "-O", "width=200", page).Output()
	if err != nil {
		t.Fatal(err)
	}
	plain := unstrike(string(text))
	for _, o := range config.Options() {
		if want := "--" + o.Name; !o.Positional && !strings.Contains(plain, want) {
			t.Errorf("%s is not in the manual page", want)
		}
	}
	for _, c := range commands {
		if want := "kolla-build " + c.Name; !c.Hidden && !strings.Contains(plain, want) {
			t.Errorf("%q is not in the manual page", want)
		}
	}
}

// unstrike removes the letters that mandoc prints twice for bold text.
func unstrike(s string) string {
	var out []rune
	for _, r := range s {
		if r == '\b' && len(out) > 0 {
			out = out[:len(out)-1]
			continue
		}
		out = append(out, r)
	}
	return string(out)
}

// TestInstall checks where make install puts files.
func TestInstall(t *testing.T) {
	testenv.Slow(t)
	dest := t.TempDir()
	makeInstall(t, "DESTDIR="+dest, "PREFIX=/usr")
	for path, want := range map[string]string{
		"bin/kolla-build":                                  "",
		"bin/buildkitd":                                    "",
		"share/man/man1/kolla-build.1":                     ".TH KOLLA-BUILD",
		"share/bash-completion/completions/kolla-build":    "complete -F",
		"share/zsh/site-functions/_kolla-build":            "#compdef kolla-build",
		"share/fish/vendor_completions.d/kolla-build.fish": "complete -c kolla-build",
		"lib/kolla-build/nightly.sh":                       "#!/bin/sh",
		"lib/systemd/system/kolla-build-nightly.service":   "ExecStart=/bin/sh /usr/lib/kolla-build/nightly.sh",
		"lib/systemd/system/kolla-build-nightly.timer":     "OnCalendar=",
		"lib/systemd/system/kolla-build-registry.service":  "ExecStart=/usr/bin/kolla-build registry serve",
	} {
		got, err := os.ReadFile(filepath.Join(dest, "usr", path))
		if err != nil || !strings.Contains(string(got), want) {
			t.Errorf("%s: %v; it does not contain %q", path, err, want)
		}
	}
}

// systemd's PATH does not contain the programs of another PREFIX.
func TestInstallNightlyElsewhere(t *testing.T) {
	testenv.Slow(t)
	prefix := filepath.Join(t.TempDir(), "kb")
	makeInstall(t, "PREFIX="+prefix)
	unit, err := os.ReadFile(filepath.Join(prefix, "lib/systemd/system/kolla-build-nightly.service"))
	if err != nil {
		t.Fatal(err)
	}
	var command []string
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	for line := range strings.Lines(string(unit)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "Environment":
			env = append(env, value)
		case "ExecStart":
			command = strings.Fields(value)
		}
	}
	if len(command) == 0 {
		t.Fatalf("no ExecStart:\n%s", unit)
	}
	// The script starts the program, which refuses the option before it does anything.
	cmd := exec.Command(command[0], append(command[1:], "--no-such-option")...)
	cmd.Env = env
	out, _ := cmd.CombinedOutput()
	if status := cmd.ProcessState.ExitCode(); status != 2 || !strings.Contains(string(out), "no-such-option") {
		t.Errorf("%q: exit status %d\n%s", command, status, out)
	}
}

// makeInstall runs make install with variables. The programs are not built.
func makeInstall(t *testing.T, variables ...string) {
	t.Helper()
	testenv.Inputs(t, "Makefile", "examples", "packaging")
	testenv.Program(t, "make", "make")
	work := t.TempDir()
	linkSelf(t, filepath.Join(work, "bin", "kolla-build"))
	linkSelf(t, filepath.Join(work, "bin", "buildkitd"))
	makefile := filepath.Join(testenv.RepoRoot(t), "Makefile")
	cmd := exec.Command("make", append([]string{"-f", makefile, "-o", "build", "install"}, variables...)...)
	cmd.Dir = work
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make install: %v\n%s", err, out)
	}
}
