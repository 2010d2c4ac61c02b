package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// writeBusybox writes a base image as an OCI layout.
func writeBusybox(t *testing.T, dir string) {
	t.Helper()
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendImage(testenv.Busybox(t, nil)); err != nil {
		t.Fatal(err)
	}
}

// Two builds of the same inputs, on independent builders and at different times, give
// identical images.
func TestReproducible(t *testing.T) {
	buildkitd := testenv.Buildkitd(t)
	dir := t.TempDir()
	base := filepath.Join(dir, "busybox")
	writeBusybox(t, base)
	tree := filepath.Join(dir, "tree")
	for name, text := range map[string]string{
		"base/Dockerfile.j2": "FROM {{ base_image }}:{{ base_distro_tag }}\nLABEL name=\"{{ image_name }}\"\nCOPY conf /etc/conf/\n" +
			"RUN echo 'nova:x:42436:42436::/var/lib/nova:/bin/sh' >> /etc/passwd && mkdir -p /var/lib/nova/a/b && chmod 700 /var/lib/nova\n" +
			"RUN echo ${SOURCE_DATE_EPOCH:-none} > /epoch\n",
		"base/conf/nova.conf": "[DEFAULT]\n",
		"mid/Dockerfile.j2": "FROM {{ namespace }}/base:{{ tag }}\nRUN for i in $(seq 300); do echo $i > /var/lib/nova/$i; done; rm /etc/conf/nova.conf; ls -s /bin/sh || true\n" +
			"ENV A=b\nRUN cp /bin/busybox /usr/bin/again && touch /var/lib/nova/a\n",
		"leaf/Dockerfile.j2": "FROM {{ namespace }}/mid:{{ tag }}\nRUN chmod 755 /var/lib/nova && cat /etc/passwd > /etc/passwd2\nUSER nova\n",
		// The times of files in the tree have no effect.
		"leaf2/Dockerfile.j2": "FROM {{ namespace }}/mid:{{ tag }}\nCOPY . /src\n",
		"leaf2/file":          "x\n",
	} {
		put(t, filepath.Join(tree, name), []byte(text))
	}
	digests := func(data string, extra ...string) string {
		args := append([]string{"-b", "debian", "--images-dir", tree, "--base-image", "oci:" + base, "-n", "t", "--tag", "t",
			"--data-dir", filepath.Join(dir, data), "--buildkitd", buildkitd, "--progress", "plain", "--format", "none"},
			extra...)
		runBuild(t, args, exitOK)
		var out bytes.Buffer
		if code := run([]string{"images", "--json", "--data-dir", filepath.Join(dir, data)}, os.Environ(),
			&out, &out); code != exitOK {
			t.Fatal(out.String())
		}
		var images []struct{ Name, Digest string }
		if err := json.Unmarshal(out.Bytes(), &images); err != nil {
			t.Fatal(err)
		}
		s := ""
		for _, im := range images {
			s += im.Name + " " + im.Digest + "\n"
		}
		return s
	}
	first := digests("one", "--threads", "1")
	if got, want := fileOf(t, filepath.Join(dir, "one"), "t/base:t",
		"epoch"), strconv.FormatInt(testenv.BusyboxCreated.Unix(), 10)+"\n"; got != want {
		t.Errorf("SOURCE_DATE_EPOCH in a step is %q, want the base image's time, %q", got, want)
	}
	if err := os.Chtimes(filepath.Join(tree, "leaf2/file"), testenv.BusyboxCreated, testenv.BusyboxCreated); err != nil {
		t.Fatal(err)
	}
	if second := digests("two"); second != first {
		t.Errorf("built\n%sand then\n%s", first, second)
	}
	// A builder without its cache gives the same images.
	if third := digests("one", "--nocache"); third != first {
		t.Errorf("built\n%sand without cache\n%s", first, third)
	}
	// Without clamping they differ, so the comparison is meaningful.
	if without := digests("three", "--noclamp-times"); without == first {
		t.Error("without clamping, times make no difference")
	}
}

// fileOf returns a file of an image in the store of a data directory. It fails the test
// if the image's environment has variables that are for steps only.
func fileOf(t *testing.T, data, image, path string) string {
	t.Helper()
	s, err := store.Open(filepath.Join(data, "store"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	e, ok, err := s.Lookup(image)
	if err != nil || !ok {
		t.Fatalf("%s: %v, %v", image, ok, err)
	}
	img, err := s.Image(e.Digest)
	if err != nil {
		t.Fatal(err)
	}
	conf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if env := strings.Join(conf.Config.Env, " "); strings.Contains(env, "SOURCE_DATE_EPOCH") {
		t.Errorf("%s: environment %s", image, env)
	}
	return inImage(t, img, path)[path]
}
