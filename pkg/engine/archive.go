package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/retry"
)

// sendOnce sends an image, except for its first layers.
func (e *Engine) sendOnce(ctx context.Context, r Request, name string, skip int) (Loaded, error) {
	a, err := e.archive(r.Image, name, skip)
	if err != nil {
		return Loaded{}, err
	}
	ctx, watch := retry.WatchStall(ctx, transferTimeouts*e.opts.Timeout)
	defer watch.Stop()
	pr, pw := io.Pipe()
	sent := &progressWriter{w: pw, total: a.size, report: r.Progress, touch: watch.Touch}
	writeDone := make(chan error, 1)
	go func() {
		err := a.write(sent)
		pw.CloseWithError(err)
		writeDone <- err
	}()
	err = watch.Cause(e.load(ctx, pr))
	// If the engine answers before it has read everything, the writer is still waiting.
	pr.CloseWithError(errStopped)
	if werr := <-writeDone; werr != nil && !errors.Is(werr, errStopped) && !errors.Is(werr, io.ErrClosedPipe) {
		// A layer could not be read; the error of the engine is a consequence.
		err = werr
	}
	return Loaded{Layers: len(a.layers), Reused: skip, Bytes: sent.n}, err
}

var errStopped = errors.New("the engine stopped reading")

// archive is an image in the form that both engines read: an OCI layout in a tar
// and, for Docker without its containerd image store, the manifest.json of docker save.
type archive struct {
	head   []member // small files
	layers []layerMember
	tail   []member
	size   int64 // bytes of the layers
}

type member struct {
	name string
	data []byte
}

type layerMember struct {
	name string
	size int64
	open func() (io.ReadCloser, error)
}

func (e *Engine) archive(img v1.Image, name string, skip int) (*archive, error) {
	manifest, err := img.RawManifest()
	if err != nil {
		return nil, err
	}
	hash, err := img.Digest()
	if err != nil {
		return nil, err
	}
	mt, err := img.MediaType()
	if err != nil {
		return nil, err
	}
	conf, err := img.RawConfigFile()
	if err != nil {
		return nil, err
	}
	confName, err := img.ConfigName()
	if err != nil {
		return nil, err
	}
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	annotations := map[string]string{ocispec.AnnotationRefName: name}
	if e.kind != Podman {
		full, err := reference.ParseNormalizedNamed(name)
		if err != nil {
			return nil, err
		}
		annotations = map[string]string{"io.containerd.image.name": full.String(), ocispec.AnnotationRefName: tagOf(full)}
	}
	index, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": types.OCIImageIndex, "manifests": []map[string]any{{
			"mediaType": mt, "digest": hash.String(), "size": len(manifest), "annotations": annotations}},
	})
	if err != nil {
		return nil, err
	}
	a := &archive{head: []member{
		{ocispec.ImageLayoutFile, []byte(`{"imageLayoutVersion":"` + ocispec.ImageLayoutVersion + `"}`)},
		{ocispec.ImageIndexFile, index},
		{blobName(hash), manifest},
		{blobName(confName), conf},
	}}
	paths := make([]string, len(layers))
	for i, l := range layers {
		m, err := e.layer(l)
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
		if paths[i] = m.name; i >= skip {
			a.layers = append(a.layers, m)
			a.size += m.size
		}
	}
	if e.kind == Docker {
		list, err := json.Marshal([]map[string]any{
			{"Config": blobName(confName), "RepoTags": []string{name}, "Layers": paths},
		})
		if err != nil {
			return nil, err
		}
		a.tail = append(a.tail, member{"manifest.json", list})
	}
	return a, nil
}

func tagOf(named reference.Named) string {
	if t, ok := reference.TagNameOnly(named).(reference.Tagged); ok {
		return t.Tag()
	}
	return "latest"
}

func blobName(hash fmt.Stringer) string {
	d := digest.Digest(hash.String())
	return path.Join(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// layer returns a layer as it is stored, except that Docker before 23.0 (API 1.42)
// gets a zstd layer decompressed, because it cannot read it.
func (e *Engine) layer(l v1.Layer) (layerMember, error) {
	mt, err := l.MediaType()
	if err != nil {
		return layerMember{}, err
	}
	if strings.HasSuffix(string(mt), "zstd") && e.kind == Docker && olderAPI(e.about.api, 1, 42) {
		id, err := l.DiffID()
		if err != nil {
			return layerMember{}, err
		}
		n, err := expandedSize(l)
		return layerMember{name: blobName(id), size: n, open: l.Uncompressed}, err
	}
	d, err := l.Digest()
	if err != nil {
		return layerMember{}, err
	}
	n, err := l.Size()
	return layerMember{name: blobName(d), size: n, open: l.Compressed}, err
}

// expandedSize reads a layer to find its decompressed size, which the header of a
// tar member needs.
func expandedSize(l v1.Layer) (int64, error) {
	r, err := l.Uncompressed()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return io.Copy(io.Discard, r)
}

func olderAPI(version string, major, minor int) bool {
	var a, b int
	if n, err := fmt.Sscanf(version, "%d.%d", &a, &b); n != 2 || err != nil {
		return false
	}
	return a < major || a == major && b < minor
}

// write writes the archive.
func (a *archive) write(w *progressWriter) error {
	tw := tar.NewWriter(w)
	writeFiles := func(members []member) error {
		for _, m := range members {
			h := &tar.Header{Typeflag: tar.TypeReg, Name: m.name, Mode: 0o444, Size: int64(len(m.data))}
			if err := tw.WriteHeader(h); err != nil {
				return err
			}
			if _, err := io.Copy(tw, bytes.NewReader(m.data)); err != nil {
				return err
			}
		}
		return nil
	}
	if err := writeFiles(a.head); err != nil {
		return err
	}
	done := map[string]bool{}
	for _, l := range a.layers {
		if done[l.name] { // two layers with the same content
			continue
		}
		done[l.name] = true
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: l.name, Mode: 0o444, Size: l.size}); err != nil {
			return err
		}
		if err := copyLayer(tw, l); err != nil {
			return err
		}
	}
	if err := writeFiles(a.tail); err != nil {
		return err
	}
	return tw.Close()
}

func copyLayer(w io.Writer, l layerMember) error {
	r, err := l.open()
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(w, r)
	return err
}

// progressWriter counts bytes and reports them at intervals.
type progressWriter struct {
	w        io.Writer
	n        int64
	reported int64
	total    int64
	report   func(sent, total int64) // may be nil
	touch    func()                  // called when bytes were taken; may be nil
}

// reportInterval is the number of bytes between two reports.
const reportInterval = 1 << 20

func (p *progressWriter) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	p.n += int64(n)
	if p.touch != nil {
		p.touch()
	}
	if p.report != nil && (p.n-p.reported >= reportInterval || p.reported == 0) {
		p.reported = p.n
		p.report(p.n, max(p.total, p.n))
	}
	return n, err
}
