package imageset

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/graph"
	"github.com/kolla-build/kolla-build/pkg/image"
)

// rendered renders a tree of base, parent and child with options.
func rendered(t *testing.T, args ...string) (*Rendered, string, error) {
	t.Helper()
	return renderedTree(t, map[string]string{"base": "scratch", "parent": "{{ namespace }}/base:{{ tag }}",
		"child": "{{ namespace }}/parent:{{ tag }}"}, args...)
}

// renderedTree renders a tree of images, by name with their FROM.
func renderedTree(t *testing.T, images map[string]string, args ...string) (*Rendered, string, error) {
	t.Helper()
	dir := t.TempDir()
	for name, from := range images {
		if err := os.MkdirAll(filepath.Join(dir, "tree", name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "tree", name, "Dockerfile.j2"),
			[]byte("FROM "+from+"\nENV ARCH={{ base_arch }}\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	args = append([]string{"--base", "debian", "--tag", "t", "--images-dir", filepath.Join(dir, "tree")}, args...)
	cfg, err := cli.Load(cli.Input{Args: args, Dir: dir, SystemFile: filepath.Join(dir, "none")})
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	r, err := Render(t.Context(), Options{Config: cfg, Console: &console.Console{Stdout: io.Discard, Stderr: &stderr}})
	if err == nil {
		t.Cleanup(r.Close)
	}
	return r, stderr.String(), err
}

func TestRenderForEachPlatform(t *testing.T) {
	r, stderr, err := rendered(t, "--platform", "linux/amd64,linux/arm64", "^child$", "^nosuch$")
	if err != nil {
		t.Fatal(err)
	}
	if !r.Several() || len(r.Sets) != 2 {
		t.Fatalf("%d sets", len(r.Sets))
	}
	arm := image.ID{Name: "child", Platform: "linux/arm64"}
	if ids := r.IDs("child"); !slices.Contains(ids, arm) || len(ids) != 2 {
		t.Errorf("child is %v", ids)
	}
	if text := string(r.Of(arm).File("child").Content); !strings.Contains(text, "ARCH=aarch64") {
		t.Errorf("for arm64 it renders as\n%s", text)
	}
	if text := string(r.First().File("child").Content); !strings.Contains(text, "ARCH=x86_64") {
		t.Errorf("for the first platform it renders as\n%s", text)
	}
	if n := strings.Count(stderr, "nosuch"); n != 1 {
		t.Errorf("%d warnings of an expression that matches nothing, want 1:\n%s", n, stderr)
	}
	if order := r.First().Selection.Order(); len(order) != 3 {
		t.Errorf("%d images are selected, want child and its ancestors", len(order))
	}
	if s := r.First(); !s.Requested("child") || s.Requested("base") {
		t.Error("requested is what an expression names, not its ancestors")
	}
}

func TestLeftOut(t *testing.T) {
	r, _, err := rendered(t, "^parent$")
	if err != nil {
		t.Fatal(err)
	}
	left := r.LeftOut()
	if len(left) != 1 || left[0].Image.String() != "child" || left[0].Status != graph.Unmatched || left[0].Requested {
		t.Errorf("left out: %+v", left)
	}
	if _, _, err := rendered(t, "^nosuch$"); err == nil || !strings.Contains(err.Error(), "nosuch") {
		t.Errorf("expressions that match nothing: %v", err)
	}
}

// An expression that is first tried when it is checked whether each matches an image, because another
// one matches all of them, is an error if it takes too long: the result of those after it is not known.
func TestSlowExpressionIsAnError(t *testing.T) {
	images := map[string]string{"base": "scratch", strings.Repeat("a", 40) + "b": "{{ namespace }}/base:{{ tag }}"}
	_, stderr, err := renderedTree(t, images, ".", `(?!x)(a+)+$`, `(?=b)base`)
	if err == nil || !strings.Contains(err.Error(), "took longer") {
		t.Errorf("got %v\n%s", err, stderr)
	}
}

func TestPlatformOption(t *testing.T) {
	for text, ok := range map[string]bool{"linux/amd64": true, "linux/arm64, linux/amd64": true, "arm64": false,
		"windows/amd64": false, "linux/pdp11": false} {
		if _, _, err := rendered(t, "--platform", text); (err == nil) != ok {
			t.Errorf("--platform %q: %v", text, err)
		}
	}
	if _, _, err := rendered(t, "--platform", "linux/amd64,linux/arm64", "--base-arch", "x86_64"); err == nil {
		t.Error("one --base-arch for two platforms is accepted")
	}
}
