package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"go.yaml.in/yaml/v3"
)

// example returns the path of an example, and its text.
func example(t *testing.T, name string) (path, text string) {
	t.Helper()
	path = filepath.Join(testenv.RepoRoot(t), "examples", name)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, string(data)
}

func lint(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func TestExamplesYAML(t *testing.T) {
	testenv.Slow(t)
	yamllint := testenv.Program(t, "yamllint", "yamllint")
	for _, name := range []string{"github/nightly.yml", "gitlab/.gitlab-ci.yml", "zuul/zuul.yaml",
		"zuul/playbooks/nightly.yaml", "zuul/playbooks/reports.yaml"} {
		path, _ := example(t, name)
		lint(t, yamllint, "-s", "-d", "{extends: relaxed, rules: {line-length: {max: 110}}}", path)
	}
}

func TestExampleGitHub(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a linter")
	}
	path, text := example(t, "github/nightly.yml")
	lint(t, "go", "tool", "actionlint", path)
	calls(t, text)
}

// calls checks that an example calls the script that TestNights runs.
func calls(t *testing.T, text string) {
	t.Helper()
	if !strings.Contains(text, "nightly.sh") {
		t.Error("it does not call nightly.sh")
	}
}

// known fails for a key of m that is not one of the words.
func known(t *testing.T, name string, m map[string]any, words string) {
	t.Helper()
	for key := range m {
		if !slices.Contains(strings.Fields(words), key) {
			t.Errorf("%s has no key %q", name, key)
		}
	}
}

// TestExampleGitLab compares the job's keywords with those of GitLab's reference, since
// no package has its schema.
func TestExampleGitLab(t *testing.T) {
	_, text := example(t, "gitlab/.gitlab-ci.yml")
	var ci map[string]any
	if err := yaml.Unmarshal([]byte(text), &ci); err != nil {
		t.Fatal(err)
	}
	known(t, ".gitlab-ci.yml", ci, "stages nightly")
	job, _ := ci["nightly"].(map[string]any)
	known(t, "a job", job, "stage tags rules resource_group interruptible timeout variables script after_script allow_failure artifacts")
	artifacts, _ := job["artifacts"].(map[string]any)
	known(t, "artifacts", artifacts, "when expire_in expose_as paths reports")
	reports, _ := artifacts["reports"].(map[string]any)
	known(t, "artifacts:reports", reports, "junit metrics")
	if len(reports) != 2 {
		t.Errorf("reports: %v", reports)
	}
	calls(t, text)
}

// TestExampleZuul compares the job's attributes with those of Zuul's reference, and
// checks that the playbooks exist.
func TestExampleZuul(t *testing.T) {
	_, text := example(t, "zuul/zuul.yaml")
	var items []map[string]map[string]any
	if err := yaml.Unmarshal([]byte(text), &items); err != nil {
		t.Fatal(err)
	}
	attributes := map[string]string{
		"job":       "name description run post-run timeout semaphores nodeset vars secrets",
		"semaphore": "name max",
		"project":   "periodic",
	}
	for _, item := range items {
		for kind, m := range item {
			known(t, "a "+kind, m, attributes[kind])
			for _, key := range []string{"run", "post-run"} {
				if book, ok := m[key].(string); ok {
					_, text := example(t, "zuul/"+book)
					playbook(t, book, text)
				}
			}
		}
	}
	_, text = example(t, "zuul/playbooks/nightly.yaml")
	calls(t, text)
}

func playbook(t *testing.T, name, text string) {
	t.Helper()
	var plays []struct {
		Hosts string
		Tasks []map[string]any
	}
	if err := yaml.Unmarshal([]byte(text), &plays); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	for _, p := range plays {
		if p.Hosts == "" || len(p.Tasks) == 0 {
			t.Errorf("%s has a play without hosts or tasks", name)
		}
		for _, task := range p.Tasks {
			known(t, "a task of "+name, task, "name no_log environment ansible.builtin.file ansible.builtin.copy "+
				"ansible.builtin.command ansible.posix.synchronize zuul_return")
			if task["name"] == nil {
				t.Errorf("%s has a task without a name", name)
			}
		}
	}
}

func TestExampleSystemd(t *testing.T) {
	analyze := testenv.Program(t, "systemd-analyze", "systemd")
	service, text := example(t, "systemd/kolla-build-nightly.service")
	timer, _ := example(t, "systemd/kolla-build-nightly.timer")
	lint(t, analyze, "verify", "--man=no", service, timer)
	lint(t, analyze, "calendar", "*-*-* 02:17:00")
	calls(t, text)
	// The linter does find mistakes.
	broken := filepath.Join(t.TempDir(), "kolla-build-nightly.service")
	if err := os.WriteFile(broken, []byte(strings.Replace(text, "Type=oneshot", "Type=sometimes", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(analyze, "verify", "--man=no", broken).CombinedOutput()
	if err == nil && !strings.Contains(string(out), "sometimes") {
		t.Errorf("it accepts a service of type sometimes: %s", out)
	}
}

func TestExampleScript(t *testing.T) {
	path, _ := example(t, "ci/nightly.sh")
	lint(t, "sh", "-n", path)
}
