// Package synthetic makes template trees of any size in the shape of Kolla's, and a
// base image for them that needs no network. It is for benchmarks and must not know
// what is measured.
package synthetic

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image is an image of a tree.
type Image struct {
	Name, Parent string // Parent is "" for the root
	Dir          string // relative to the tree
}

// Shape returns n images in the shape of Kolla's: base, openstack-base, and services
// that have their own base and five images each. The last of these depends on
// the one before, so that the tree has five levels.
func Shape(n int) []Image {
	images := []Image{{Name: "base", Dir: "base"}, {Name: "openstack-base", Parent: "base", Dir: "openstack-base"}}
	for svc := 0; len(images) < n; svc++ {
		name := fmt.Sprintf("svc%d", svc)
		add := func(image, parent string) {
			if len(images) < n {
				images = append(images, Image{Name: image, Parent: parent, Dir: filepath.Join(name, image)})
			}
		}
		add(name+"-base", "openstack-base")
		for i := range 4 {
			add(fmt.Sprintf("%s-part%d", name, i), name+"-base")
		}
		add(name+"-part4", name+"-part3")
	}
	return images[:n]
}

// Write writes the templates of images into dir. Every image has a COPY and two
// trivial RUN instructions, so that its time is mostly the overhead of the builder.
func Write(dir string, images []Image) error {
	for _, im := range images {
		d := filepath.Join(dir, im.Dir)
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(d, "Dockerfile.j2"), []byte(template(im)), 0o644); err != nil {
			return err
		}
		script := "#!/bin/sh\necho " + im.Name + "\n"
		if err := os.WriteFile(filepath.Join(d, "extend_start.sh"), []byte(script), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// template returns the template of an image.
func template(im Image) string {
	from := "{{ namespace }}/{{ image_prefix }}" + im.Parent + ":{{ tag }}"
	if im.Parent == "" {
		from = "{{ base_image }}:{{ base_distro_tag }}"
	}
	return fmt.Sprintf(`FROM %s
{%% block labels %%}
LABEL maintainer="{{ maintainer }}" name="{{ image_name }}"
{%% endblock %%}
COPY extend_start.sh /usr/local/bin/%[2]s
RUN echo %[2]s > /var/%[2]s
RUN echo two >> /var/%[2]s
{%% block footer %%}{%% endblock %%}
`, from, im.Name)
}

// Created is the creation time of Base.
var Created = time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)

// programs are the applets of busybox that Dockerfiles call.
var programs = []string{
	"sh", "cat", "echo", "ls", "true", "false", "sleep", "mkdir", "rm", "cp", "touch", "chmod", "grep", "id", "dd",
	"date", "wget", "tar", "test", "env", "seq", "stat",
}

// Base returns an image with one layer of a megabyte, Debian's static busybox, in which
// RUN works. files are added to it, by path without the leading slash. If busybox is
// not installed, the error is an *exec.Error.
func Base(files map[string]string) (v1.Image, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return nil, err
	}
	bin, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	if err := writeRoot(&buf, bin, files); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(buf.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err = mutate.Append(img, mutate.Addendum{Layer: layer, MediaType: types.OCILayer,
		History: v1.History{Created: v1.Time{Time: Created}, CreatedBy: "busybox"}})
	if err != nil {
		return nil, err
	}
	conf, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	conf = conf.DeepCopy()
	conf.OS, conf.Architecture = "linux", runtime.GOARCH
	conf.Created = v1.Time{Time: Created}
	conf.Config.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin"}
	return mutate.ConfigFile(img, conf)
}

func writeRoot(buf io.Writer, bin []byte, files map[string]string) error {
	w := tar.NewWriter(buf)
	write := func(h *tar.Header, data []byte) error {
		h.ModTime, h.Size = Created, int64(len(data))
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err := w.Write(data)
		return err
	}
	directories := []string{
		"bin/", "etc/", "tmp/", "proc/", "sys/", "dev/", "root/", "usr/bin/", "usr/local/bin/", "var/",
	}
	for _, d := range directories {
		if err := write(&tar.Header{Name: d, Typeflag: tar.TypeDir, Mode: 0o755}, nil); err != nil {
			return err
		}
	}
	if err := write(&tar.Header{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755}, bin); err != nil {
		return err
	}
	for _, p := range programs {
		link := &tar.Header{Name: "bin/" + p, Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777}
		if err := write(link, nil); err != nil {
			return err
		}
	}
	all := map[string]string{"etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "etc/group": "root:x:0:\n"}
	for name, data := range files {
		all[name] = data
	}
	for _, name := range slices.Sorted(maps.Keys(all)) { // the same bytes each time
		if err := write(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, []byte(all[name])); err != nil {
			return err
		}
	}
	return w.Close()
}

// WriteBase writes Base as an OCI layout into dir.
func WriteBase(dir string) (v1.Image, error) {
	img, err := Base(nil)
	if err != nil {
		return nil, err
	}
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		return nil, err
	}
	return img, p.AppendImage(img)
}
