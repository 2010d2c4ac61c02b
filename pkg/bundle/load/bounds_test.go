package load

import (
	"archive/tar"
	"compress/gzip"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/bundletest"
	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/bundle"
)

// peak returns by how much the heap grows at most while fn runs.
func peak(fn func()) uint64 {
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	done := make(chan struct{})
	result := make(chan uint64)
	go func() {
		var peakMemory uint64
		var m runtime.MemStats
		for {
			runtime.ReadMemStats(&m)
			peakMemory = max(peakMemory, m.HeapInuse)
			select {
			case <-done:
				result <- peakMemory
				return
			default:
				runtime.Gosched()
			}
		}
	}()
	fn()
	close(done)
	return max(<-result, before.HeapInuse) - before.HeapInuse
}

// repeated yields head, n times element, and tail, without holding them.
type repeated struct {
	head, element, tail string
	n                   int
	buf                 []byte
}

func (r *repeated) size() int64 { return int64(len(r.head) + r.n*len(r.element) + len(r.tail)) }

func (r *repeated) Read(p []byte) (int, error) {
	for len(r.buf) < len(p) {
		switch {
		case r.head != "":
			r.buf, r.head = append(r.buf, r.head...), ""
		case r.n > 0:
			k := min(r.n, 4096)
			r.buf, r.n = append(r.buf, strings.Repeat(r.element, k)...), r.n-k
		case r.tail != "":
			r.buf, r.tail = append(r.buf, r.tail...), ""
		case len(r.buf) == 0:
			return 0, io.EOF
		default:
			n := copy(p, r.buf)
			r.buf = r.buf[n:]
			return n, nil
		}
	}
	n := copy(p, r.buf)
	r.buf = r.buf[n:]
	return n, nil
}

// Small compressed bundles whose content is large: an error, in little memory.
func TestMemoryIsBounded(t *testing.T) {
	testenv.Slow(t)
	manifest := func(head, element, tail string, n int) func(*tar.Writer) {
		return func(w *tar.Writer) {
			doc := head + strings.Repeat(element, n) + tail
			d := digest.FromString(doc)
			writeFile(w, "index.json",
				fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"digest":"%s","size":%d,"annotations":{"org.opencontainers.image.ref.name":"a:t"}}]}`, d, len(doc)))
			writeFile(w, bundle.BlobPath(d), doc)
		}
	}
	index := func(element string, n int) func(*tar.Writer) {
		return func(w *tar.Writer) {
			r := &repeated{head: `{"schemaVersion":2,"manifests":[`, element: element, tail: "{}]}", n: n}
			_ = w.WriteHeader(&tar.Header{Name: "index.json", Mode: 0o644, Size: r.size()})
			_, _ = io.Copy(w, r)
		}
	}
	const config = `{"config":{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":1},`
	for name, write := range map[string]func(*tar.Writer){
		"20 million entries":      index("{},", 20<<20),
		"largest index of images": index(`{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":1},`, bundle.MaxIndex/95),
		"annotations": index(`{"annotations":{`+strings.Repeat(`"":"",`, 9000)+`"":""}},`,
			bundle.MaxIndex/9000/7),
		"layers":                  manifest(config+`"layers":[`, "{},", "{}]}", bundle.MaxImageManifest/3-100),
		"16 MB manifest":          manifest(config+`"layers":[`, "{},", "{}]}", 5<<20),
		"annotations of manifest": manifest(config+`"annotations":{`, `"":"",`, `"":""}}`, bundle.MaxImageManifest/6-100),
		"directories": func(w *tar.Writer) {
			for range 2_000_000 {
				h := &tar.Header{Typeflag: tar.TypeDir, Name: "blobs/sha256/", Mode: 0o755}
				if w.WriteHeader(h) != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := storetest.Open(t)
			pr, pw := io.Pipe()
			go func() {
				z := gzip.NewWriter(pw)
				w := tar.NewWriter(z)
				_ = writeFile(w, "oci-layout", bundletest.Layout)
				write(w)
				_ = w.Close()
				pw.CloseWithError(z.Close())
			}()
			defer pr.Close()
			var err error
			peakMemory := peak(func() { _, err = Bundle(t.Context(), "-", s, Options{Stdin: pr}) })
			if err == nil || peakMemory > memoryLimit {
				t.Errorf("%d MB of memory, %v", peakMemory>>20, err)
			}
			t.Logf("%d MB, %v", peakMemory>>20, err)
		})
	}
}

func writeFile(w *tar.Writer, name, content string) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
		return err
	}
	_, err := io.WriteString(w, content)
	return err
}

// The number of blobs that manifests refer to is bounded over all of them.
func TestBlobsAreBounded(t *testing.T) {
	testenv.Slow(t)
	l := newLoader(nil, Options{})
	for i := range bundle.MaxBlobs {
		l.expected[digest.FromString(fmt.Sprint(i))] = expectation{}
	}
	d := ocispec.Descriptor{Digest: digest.FromString("one more"), Size: 1}
	if err := l.expect(d, false, bundle.Role{Kind: "layer"}); err == nil {
		t.Error("one more blob was accepted")
	}
}
