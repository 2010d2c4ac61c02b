package delta

import (
	"archive/tar"
	"bufio"
	"bytes"
	stdgzip "compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/disk"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/compress"
)

// file is a file of a layer.
type file struct {
	name    string
	content []byte
	mtime   int64
}

// files makes files like those of packages: text with repetitions, and binaries.
func files(rng *rand.Rand, n int) []file {
	var out []file
	for i := range n {
		size := 200 + rng.IntN(60_000)
		content := make([]byte, size)
		for j := 0; j < size; {
			word := fmt.Sprintf("%x ", rng.Uint32N(1<<(8+4*(i%6))))
			j += copy(content[j:], word)
		}
		out = append(out, file{fmt.Sprintf("usr/lib/pkg%03d/file%d", i/5, i), content, 1_700_000_000})
	}
	return out
}

func tarOf(t testing.TB, files []file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Size: int64(len(f.content)), Mode: 0o644,
			ModTime: time.Unix(f.mtime, 0)}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// blobOf compresses a tar.
func blobOf(t testing.TB, content []byte, compressor string) (Blob, []byte) {
	t.Helper()
	var b bytes.Buffer
	w, err := newCompressor(compressor, &b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return memory(b.Bytes()), b.Bytes()
}

func memory(b []byte) Blob {
	return Blob{Digest: digest.FromBytes(b), Size: int64(len(b)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }}
}

func opener(blobs ...Blob) OpenBase {
	return func(d digest.Digest, size int64) (io.ReadCloser, error) {
		for _, b := range blobs {
			if b.Digest == d && b.Size == size {
				return b.Open()
			}
		}
		return nil, fmt.Errorf("blob %s of %d bytes: %w", d, size, os.ErrNotExist)
	}
}

// update changes some packages, and the time of every file, as a rebuild does.
func update(rng *rand.Rand, old []file) []file {
	var out []file
	for i, f := range old {
		f.mtime += 86_400
		switch {
		case i/5%20 == 3: // another version of the package
			f.content = bytes.Clone(f.content)
			for range 1 + len(f.content)/5000 {
				f.content[rng.IntN(len(f.content))] ^= 0x55
			}
			f.content = append(f.content[:len(f.content)/2:len(f.content)/2],
				append([]byte("new"), f.content[len(f.content)/2:]...)...)
		case i == 17:
			continue // removed
		}
		out = append(out, f)
	}
	return append(out, files(rng, 1)...)
}

func TestRoundTrip(t *testing.T) {
	testenv.Slow(t)
	for _, compressor := range []string{"gzip:6", "gzip:9", "gzip:1", "zstd:3", "zstd:1", "zstd:7",
		"zstd:12", goGzip, uncompressed} {
		t.Run(compressor, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			before := files(rng, 120)
			base, _ := blobOf(t, tarOf(t, before), "gzip:6")
			target, want := blobOf(t, tarOf(t, update(rng, before)), compressor)
			var d bytes.Buffer
			h, err := Make(t.Context(), &d, base, target, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if h.Compressor != compressor {
				t.Errorf("compressor %q was found, not %q", h.Compressor, compressor)
			}
			if limit := len(want) / 10; d.Len() > limit {
				t.Errorf("the delta has %d bytes, more than a tenth of the layer's %d", d.Len(), len(want))
			}
			var got bytes.Buffer
			if err := Apply(t.Context(), &got, &d, h.Target, opener(base), t.TempDir()); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Error("the layer is another one")
			}
		})
	}
}

// TestShapes tries small and unusual tars, whose content determines the operations.
func TestShapes(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	big := random(3 << 20)
	for i, pair := range [][2][]byte{
		{nil, random(1000)},
		{random(1000), nil},
		{random(31), random(31)},
		{big, big},
		{big, big[:1<<20]},
		{big, append(random(777), big[5:]...)},
		{big[:1<<20], append(bytes.Clone(big), big...)},
		{make([]byte, 1<<20), make([]byte, 3<<20)},
		{big, sprinkle(rng, big)},
		{bytes.Repeat(big[:100], 5000), bytes.Repeat(big[:101], 5000)},
	} {
		for _, cut := range []int{0, 1, 63} {
			tar := pair[1][min(cut, len(pair[1])):]
			var b bytes.Buffer
			w := bufio.NewWriter(&b)
			if err := encode(w, bytes.NewReader(pair[0]), int64(len(pair[0])), bytes.NewReader(tar)); err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if err := decode(&got, bufio.NewReader(bytes.NewReader(b.Bytes())), bytes.NewReader(pair[0]),
				int64(len(pair[0])), int64(len(tar)), sizeOf(b)); err != nil {
				t.Fatalf("shape %d, %d bytes cut: %v", i, cut, err)
			}
			if !bytes.Equal(got.Bytes(), tar) {
				t.Errorf("shape %d, %d bytes cut: the tar is another one", i, cut)
			}
		}
	}
}

// sizeOf returns the size of a delta that has been read completely.
func sizeOf(b bytes.Buffer) func() int64 { return func() int64 { return int64(b.Len()) } }

// sprinkle changes single bytes, as addresses in code do.
func sprinkle(rng *rand.Rand, b []byte) []byte {
	b = bytes.Clone(b)
	for i := 0; i < len(b); i += 10 + rng.IntN(60) {
		b[i]++
	}
	return b
}

func TestCarryWhole(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	content := tarOf(t, files(rng, 20))
	base, _ := blobOf(t, content, "gzip:6")
	_, blob := blobOf(t, content, "gzip:6")
	foreign := append(bytes.Clone(blob), blob...) // two gzip members
	other := make([]byte, 100_000)
	for i := range other {
		other[i] = byte(rng.Uint32())
	}
	random, _ := blobOf(t, other, "gzip:6")
	cut := memory(blob[:len(blob)/2])
	damaged := memory(blob)
	damaged.Open = func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(blob),
			iotest.ErrReader(errors.New("its content has another digest")))), nil
	}
	wide := memory(wideWindow(t, content))
	zeros, _ := blobOf(t, make([]byte, 2*smallTar), "gzip:6")
	repeated, _ := blobOf(t, bytes.Repeat(other, 40), "gzip:6")
	once, _ := blobOf(t, other[:90_000], "gzip:6")
	for name, pair := range map[string][2]Blob{
		"another compressor":    {base, memory(foreign)},
		"nothing in common":     {base, random},
		"truncated layer":       {base, cut},
		"no gzip after a magic": {base, memory([]byte("\x1f\x8bno gzip"))},
		"no zstd after a magic": {base, memory([]byte("\x28\xb5\x2f\xfdno zstd"))},
		"window too large":      {base, wide},
		"damaged layer":         {base, damaged},
		"missing layer":         {base, absent("layer")},
		"truncated base":        {cut, base},
		"damaged base":          {damaged, base},
		"missing base":          {absent("base"), base},
		"unreadable base":       {wide, base},
		"expanding layer":       {base, zeros},
		"expanding base":        {zeros, base},
		"repeated base":         {once, repeated},
	} {
		var whole *CarryWholeError
		if _, err := Make(t.Context(), io.Discard, pair[0], pair[1], t.TempDir()); !errors.As(err, &whole) {
			t.Errorf("%s: %v, want a CarryWholeError", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Make(ctx, io.Discard, base, base, t.TempDir()); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// absent is a blob that cannot be opened.
func absent(content string) Blob {
	b := memory([]byte(content))
	b.Open = func() (io.ReadCloser, error) { return nil, os.ErrNotExist }
	return b
}

// wideWindow compresses with a window that needs more memory than is allowed.
func wideWindow(t *testing.T, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithWindowSize(2*maxWindow))
	if err != nil {
		t.Fatal(err)
	}
	// Without a flush, the frame has the size of its content instead of a window.
	for range 2 {
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// zeros is a base of any size.
type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

// TestLargeBase compares with blocks of the size that bases of more than 64 GiB have.
func TestLargeBase(t *testing.T) {
	const size = maxTar
	table := &blockTable{size: minBlock}
	for size/int64(table.size) > maxBlocks {
		table.size *= 2
	}
	if table.size < 64<<10 {
		t.Fatalf("blocks have %d bytes", table.size)
	}
	base := newCachedReader(zeros{}, size, table.size)
	for _, off := range []int64{0, 1, behind, 70 << 30, size - int64(table.size), size - 1, 5} {
		want := min(int64(table.size), size-off)
		if got := base.at(off, table.size); int64(len(got)) != want || base.err != nil {
			t.Errorf("%d bytes at %d (%v), want %d", len(got), off, base.err, want)
		}
	}
}

// made returns a delta, its header and its base.
func made(t testing.TB) (delta []byte, h Header, base Blob) {
	t.Helper()
	rng := rand.New(rand.NewPCG(7, 8))
	before := files(rng, 30)
	base, _ = blobOf(t, tarOf(t, before), "gzip:6")
	target, _ := blobOf(t, tarOf(t, update(rng, before)), "gzip:6")
	var b bytes.Buffer
	h, err := Make(context.Background(), &b, base, target, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), h, base
}

// assemble makes a delta of a header and operations.
func assemble(t testing.TB, h Header, operations []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeHeader(z, h); err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(operations); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// op encodes a copy.
func op(kind int, n, offset int64) []byte {
	return binary.AppendVarint(binary.AppendUvarint(nil, uint64(n)<<2|uint64(kind)), offset)
}

func TestBadInput(t *testing.T) {
	good, h, base := made(t)
	other, _ := blobOf(t, []byte("another base"), "gzip:6")
	with := func(change func(*Header)) Header {
		c := h
		change(&c)
		return c
	}
	tooLarge := "temporary space"
	if _, free := disk.Space(t.TempDir()); free >= maxTar {
		tooLarge = "file does not exist"
	}
	var endless []byte
	endless = append(endless, op(opCopy, 1000, 0)...)
	for range 1000 {
		endless = append(endless, op(opCopy, 1000, -1000)...)
	}
	small := op(opInsert, 1, 0)[:1]
	small = append(small, 'x')
	large := with(func(h *Header) { h.Target.TarSize = 200 * h.Target.Size })
	for _, tc := range []struct {
		name  string
		delta []byte
		want  string
		bases []Blob
	}{
		{"empty", nil, "ends before its header", nil},
		{"not zstd", []byte("hello, world"), "byte delta", nil},
		{"no delta", compressed(t, []byte(strings.Repeat("x", 100))), "does not begin as one", nil},
		{"truncated", good[:len(good)/2], "byte delta", nil},
		{"flipped bit", flip(good, len(good)/2), "byte delta", nil},
		{"no base", good, "file does not exist", []Blob{other}},
		{"wrong base", assemble(t, with(func(h *Header) {
			h.Base.Digest, h.Base.Size, h.Base.TarSize = other.Digest,
				other.Size, 100
		}), []byte{0}), "was made from", []Blob{other}},
		{"another size of the base", assemble(t, with(func(h *Header) { h.Base.Size++ }), []byte{0}),
			"file does not exist", nil},
		{"base larger than the disk", assemble(t, with(func(h *Header) { h.Base.Size, h.Base.TarSize = 1<<40, maxTar }),
			[]byte{0}), tooLarge, nil},
		{"offset after the base", assemble(t, h, op(opCopy, 10, h.Base.TarSize-9)), "operation 1 at byte 0", nil},
		{"negative offset", assemble(t, h, op(opCopy, 10, -1)), "operation 1 at byte 0", nil},
		{"huge offset", assemble(t, h, op(opCopy, 10, 1<<62)), "operation 1 at byte 0", nil},
		{"offset that overflows", assemble(t, h, append(op(opCopy, 10, 0), op(opCopy, 10, 1<<63-1)...)),
			"operation 2 at byte 10", nil},
		{"huge length", assemble(t, h, op(opCopy, 1<<61-1, 0)), "more than the", nil},
		{"huge insert", assemble(t, h, op(opInsert, maxRun+1, 0)), "at once", nil},
		{"empty operation", assemble(t, h, op(opCopy, 0, 0)), "without bytes", nil},
		{"too long", assemble(t, with(func(h *Header) { h.Target.TarSize = 5000 }), endless),
			"more than the 5000 bytes", nil},
		{"too short", assemble(t, h, []byte{opEnd}), "ends after 0", nil},
		{"no end", assemble(t, h, op(opCopy, 10, 0)), "without an end", nil},
		{"bomb", assemble(t, with(func(h *Header) { h.Target.TarSize = 1 << 60 }), endless), "header: the target", nil},
		{"another target", assemble(t, with(func(h *Header) { h.Target.Digest = base.Digest }), []byte{0}), "it makes", nil},
		{"bad digest", assemble(t, with(func(h *Header) { h.Base.Digest = "sha256:../../etc/passwd" }), []byte{0}),
			"digest", nil},
		{"unknown compressor", assemble(t, with(func(h *Header) { h.Compressor = "rar" }), []byte{0}), "rar", nil},
		{"long compressor", assemble(t, with(func(h *Header) { h.Compressor = strings.Repeat("x", 3000) }), []byte{0}),
			"3000 bytes", nil},
		{"long version", assemble(t, with(func(h *Header) { h.Version = strings.Repeat("x", 3000) }), []byte{0}),
			"3000 bytes", nil},
		{"long digest", assemble(t, with(func(h *Header) { h.Base.DiffID = digest.Digest(strings.Repeat("x", 3000)) }),
			[]byte{0}), "3000 bytes", nil},
		{"long header", assemble(t, with(func(h *Header) { h.Version = strings.Repeat("x", 60_000) }), []byte{0}),
			"the length of its header", nil},
		{"expanding base", assemble(t, with(func(h *Header) { h.Base.TarSize = 201 * h.Base.Size }), []byte{0}),
			"header: the base", nil},
		{"single bytes", assemble(t, large, bytes.Repeat(small, 200_000)), "too many operations", nil},
		{"other compressor", replaceCompressor(t, good, "gzip:1"), "compressing its tar gives", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.bases == nil {
				tc.bases = []Blob{base}
			}
			err := Apply(t.Context(), io.Discard, bytes.NewReader(tc.delta), h.Target, opener(tc.bases...), t.TempDir())
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("%v, want an error with %q", err, tc.want)
			}
			if len(err.Error()) > 500 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			if strings.Contains(err.Error(), h.Target.Digest.String()) {
				t.Errorf("%v: callers name the layer", err)
			}
		})
	}
}

func compressed(t testing.TB, b []byte) []byte {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return z.EncodeAll(b, nil)
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 0x10
	return b
}

// TestWorkIsBounded checks that a delta of a few bytes is refused before it has made much, although its
// header claims a large layer.
func TestWorkIsBounded(t *testing.T) {
	_, h, base := made(t)
	h.Target.Size, h.Target.TarSize, h.Compressor, h.Version = 1<<30, 200<<30, uncompressed, ""
	zeros := make([]byte, maxRun)
	for _, operation := range [][]byte{
		op(opCopy, h.Base.TarSize, -h.Base.TarSize),
		append(op(opInsert, maxRun, 0)[:3], zeros...),
		append(op(opDifference, maxRun, -maxRun), zeros...),
	} {
		delta := assemble(t, h, append(op(opCopy, h.Base.TarSize, 0), bytes.Repeat(operation, 500)...))
		var made limitedWriter
		made.w, made.remaining = io.Discard, 1<<40
		err := Apply(t.Context(), &made, bytes.NewReader(delta), h.Target, opener(base), t.TempDir())
		written, limit := 1<<40-made.remaining, ownBytes+perBase*h.Base.TarSize+perRead*int64(len(delta))
		if !errors.Is(err, errTooMuchWork) || written > limit {
			t.Errorf("%d bytes from a delta of %d and a base of %d (%v), want at most %d", written,
				len(delta), h.Base.TarSize, err,
				limit)
		}
	}
}

// replaceCompressor changes the header of a delta.
func replaceCompressor(t testing.TB, delta []byte, compressor string) []byte {
	t.Helper()
	r, err := openDelta(bytes.NewReader(delta))
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	h, err := readHeader(r.Reader)
	if err != nil {
		t.Fatal(err)
	}
	operations, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	h.Compressor, h.Version = compressor, "another release"
	return assemble(t, h, operations)
}

// FuzzApply checks that a delta can only produce its target.
func FuzzApply(f *testing.F) {
	good, h, base := made(f)
	f.Add(good)
	f.Add(assemble(f, h, op(opCopy, 10, -1)))
	f.Add(assemble(f, h, []byte{opEnd}))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, delta []byte) {
		var out bytes.Buffer
		err := Apply(t.Context(), &out, bytes.NewReader(delta), h.Target, opener(base), dir)
		if err == nil && digest.FromBytes(out.Bytes()) != h.Target.Digest {
			t.Fatal("another layer without an error")
		}
		if int64(out.Len()) > h.Target.Size {
			t.Fatalf("%d bytes were written for a layer of %d", out.Len(), h.Target.Size)
		}
	})
}

// FuzzDecode mutates the operations themselves, which FuzzApply reaches only through a
// valid zstd frame.
func FuzzDecode(f *testing.F) {
	base := bytes.Repeat([]byte("0123456789abcdef"), 100)
	var b bytes.Buffer
	if err := encode(bufio.NewWriter(&b), bytes.NewReader(base), int64(len(base)),
		bytes.NewReader(append([]byte("new"), base[100:]...))); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes(), int64(len(base)-97))
	f.Add(op(opCopy, 10, 5), int64(10))
	f.Fuzz(func(t *testing.T, operations []byte, size int64) {
		size = min(max(size, 0), 1<<20)
		var out bytes.Buffer
		err := decode(&out, bufio.NewReader(bytes.NewReader(operations)), bytes.NewReader(base), int64(len(base)), size,
			func() int64 { return int64(len(operations)) })
		if int64(out.Len()) > size || err == nil && int64(out.Len()) != size {
			t.Fatalf("%d bytes of %d: %v", out.Len(), size, err)
		}
	})
}

// TestNoFilesAreLeft checks that temporary files are always removed.
func TestNoFilesAreLeft(t *testing.T) {
	good, h, base := made(t)
	dir := t.TempDir()
	_ = Apply(t.Context(), io.Discard, bytes.NewReader(good[:len(good)/2]), h.Target, opener(base), dir)
	if leftover, _ := filepath.Glob(filepath.Join(dir, "*")); len(leftover) > 0 {
		t.Errorf("left: %v", leftover)
	}
}

// TestCompressorIsPublished checks that layers of package compress are found.
func TestCompressorIsPublished(t *testing.T) {
	_, b := blobOf(t, []byte(strings.Repeat("layer", 10_000)), compress.Default.String())
	name, _, err := findCompressor(t.Context(), memory(b))
	if err != nil || name != compress.Default.String() {
		t.Errorf("%q (%v), want %s", name, err, compress.Default)
	}
	var other bytes.Buffer
	z := stdgzip.NewWriter(&other)
	_, _ = z.Write([]byte(strings.Repeat("layer", 10_000)))
	z.Close()
	if name, _, err := findCompressor(t.Context(), memory(other.Bytes())); err != nil || name == "" {
		t.Errorf("the standard library's gzip: %q (%v)", name, err)
	}
}

// TestSumOfWork checks that thousands of deltas of a few bytes are refused, and those of a large set are not.
func TestSumOfWork(t *testing.T) {
	large := Header{Base: Layer{TarSize: 500 << 20}, Target: Layer{TarSize: 1 << 30}}
	var w Work
	n := 0
	for ; n < 10_000 && w.Add(large, 300) == nil; n++ {
	}
	if n < 5 || n > 50 {
		t.Errorf("%d deltas of 300 bytes make 1.5 GiB each", n)
	}
	w = Work{}
	for i := range 500 {
		if err := w.Add(large, 2<<20); err != nil {
			t.Fatalf("delta %d of 2 MiB: %v", i, err)
		}
	}
}
