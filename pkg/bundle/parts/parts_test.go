package parts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/cespare/xxhash/v2"
	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// write makes a set of a pseudo-random stream and returns both.
func write(t *testing.T, rng *rand.Rand, length, size int64, parity int) (stream []byte, files []string) {
	t.Helper()
	stream = make([]byte, length)
	for i := range stream {
		stream[i] = byte(rng.Uint32())
	}
	w, err := Create(t.Context(), filepath.Join(t.TempDir(), "set.tar"), size, parity)
	if err != nil {
		t.Fatal(err)
	}
	for rest := stream; len(rest) > 0; {
		n := min(len(rest), 1+rng.IntN(100_000))
		if _, err := w.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if files, err = w.Close(); err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if planned := Total(length, size, parity); total != planned {
		t.Errorf("%d bytes in parts of %d with a parity of %d%% have %d bytes, and not %d", length,
			size, parity, total, planned)
	}
	return stream, files
}

// editHeaders changes the headers of parts, which keep a matching check.
func editHeaders(t *testing.T, files []string, edit func(h *Header, payload []byte)) {
	t.Helper()
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		h, err := readHeader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		edit(h, b[headerSize:])
		head, err := h.encode()
		if err == nil {
			err = os.WriteFile(file, append(head, b[headerSize:]...), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// toVersion1 turns parts into those that earlier releases wrote.
func toVersion1(t *testing.T, stream []byte, files []string) {
	t.Helper()
	editHeaders(t, files, func(h *Header, payload []byte) {
		h.Version, h.Set, h.Digest = 1, digest.FromBytes(stream), checksum(digest.FromBytes(payload))
	})
}

// The header and the checksums are those that the documentation describes, for any tool.
func TestFormat(t *testing.T) {
	_, files := write(t, rand.New(rand.NewPCG(9, 9)), 150_000, MinSize, 30)
	var lines strings.Builder
	for i, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		line, _, _ := bytes.Cut(b, []byte("\n"))
		var h struct {
			Version int    `json:"kolla-bundle-part"`
			Set     string `json:"set"`
			Data    int    `json:"data"`
			Parity  int    `json:"parity"`
			Number  int    `json:"number"`
			Digest  string `json:"digest"`
		}
		if err := json.Unmarshal(line, &h); err != nil {
			t.Fatal(err)
		}
		if h.Version != 2 || h.Data != 3 || h.Parity != 1 || h.Number != i {
			t.Errorf("%s: %s", file, line)
		}
		if got := fmt.Sprintf("xxh64:%016x", xxhash.Sum64(b[headerSize:])); h.Digest != got {
			t.Errorf("%s: checksum %s, want %s", file, h.Digest, got)
		}
		if i < h.Data {
			lines.WriteString(h.Digest + "\n")
		} else if got := digest.FromString(lines.String()); h.Set != got.String() {
			t.Errorf("set %s, want %s", h.Set, got)
		}
	}
	// As the reference implementation computes it.
	if got := xxhash.Sum64String("abc"); got != 0x44bc2cf5ad770999 {
		t.Errorf("the checksum of abc is %x", got)
	}
}

// Parts that were joined, as cat joins the files of split, and those of a later release.
func TestUnusableSets(t *testing.T) {
	stream, files := write(t, rand.New(rand.NewPCG(11, 11)), 200_000, MinSize, 0)
	var all []byte
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	dir := t.TempDir()
	joined, later := filepath.Join(dir, "joined"), filepath.Join(dir, "set.001")
	if err := os.WriteFile(joined, all, 0o644); err != nil {
		t.Fatal(err)
	}
	h, err := readHeader(bytes.NewReader(all))
	if err != nil {
		t.Fatal(err)
	}
	h.Version++
	head, err := h.encode()
	if err == nil {
		err = os.WriteFile(later, append(head, all[headerSize:]...), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string][2]string{
		joined: {joined + ": it contains several parts", "split -b " + strconv.Itoa(MinSize)},
		later:  {later + ": it has version 3, this program knows 1 and 2", "a later one"},
	} {
		_, _, err := read(t, file)
		var unusable *SetError
		if !errors.As(err, &unusable) || !strings.HasPrefix(err.Error(), want[0]) ||
			!strings.Contains(unusable.Hint(), want[1]) {
			t.Errorf("%s: %v, %+v", file, err, unusable)
		}
	}
	// What the hint tells restores the parts.
	var separate []string
	for i := 0; i*MinSize < len(all); i++ {
		name := filepath.Join(dir, fmt.Sprintf("x%c", 'a'+i))
		if err := os.WriteFile(name, all[i*MinSize:min(len(all), (i+1)*MinSize)], 0o644); err != nil {
			t.Fatal(err)
		}
		separate = append(separate, name)
	}
	if got, _, err := read(t, separate...); err != nil || !bytes.Equal(got, stream) {
		t.Errorf("separated parts: %d bytes, %v", len(got), err)
	}
}

// Only a header with a matching check can be that of a later release, which may have other fields.
func TestVersions(t *testing.T) {
	sealed := func(line string) string {
		check := digest.FromString(line).String()
		return strings.Replace(line, `"check":""`, `"check":"`+check+`"`, 1)
	}
	line := func(version int) string {
		return fmt.Sprintf(`{"kolla-bundle-part":%d,"set":"sha256:%s","size":100,"data":2,"parity":1,"payload":64,"number":1,`+
			`"digest":"xxh64:0123456789abcdef","check":""}`, version, digestHex)
	}
	for name, c := range map[string]struct{ line, want string }{
		"later":                    {sealed(line(3)), "it has version 3"},
		"later, with other fields": {sealed(strings.Replace(line(3), `"size"`, `"new":true,"size"`, 1)), "it has version 3"},
		"later, damaged": {strings.Replace(sealed(line(3)), `"size":100`, `"size":101`, 1),
			"its header is damaged"},
		"without a check": {line(3), "its header is damaged"},
		"0":               {sealed(line(0)), "its header contradicts itself"},
		"negative":        {sealed(line(-1)), "its header contradicts itself"},
		"known":           {sealed(line(2)), ""},
		"more parity than data": {sealed(strings.Replace(line(2), `"parity":1`, `"parity":3`, 1)),
			"its header contradicts itself"},
	} {
		_, err := readHeader(strings.NewReader(fmt.Sprintf("%-*s", headerSize, c.line+"\n")))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// Headers of the first part of 10,000 times "kolla-build\n" in parts of MinSize with a parity of
// 30 percent, as the releases wrote them.
const (
	header1 = `{"kolla-bundle-part":1,"set":"sha256:28609ea64f4f15794c12f7b5112ee7b4f56f3dd095fa9de163b2ff81d876d98e",` +
		`"size":120000,"data":2,"parity":1,"payload":64512,"number":0,` +
		`"digest":"sha256:c595a67d6664b9b71ae02c0b7a873662ed9e566258ed646957f835065ccdbd56",` +
		`"check":"sha256:f49798e3ddde0f0998b9eb7dd3054067725c5b56521ba30b325ca385ebd1404a"}`
	header2 = `{"kolla-bundle-part":2,"set":"sha256:6e8c80c3930d98adeeab82c02205ffb2d442725cbb5a170d53848fead06eee65",` +
		`"size":120000,"data":2,"parity":1,"payload":64512,"number":0,"digest":"xxh64:721c57420ef7fd8e",` +
		`"check":"sha256:65ff85e05280cc454ca26ced94184d7f1316fffab57a4ae3148f59ad1581de49"}`
)

// The encoding of headers does not change, so that each release reads what another one wrote.
func TestEncodingOfHeaders(t *testing.T) {
	stream := bytes.Repeat([]byte("kolla-build\n"), 10_000)
	w, err := Create(t.Context(), filepath.Join(t.TempDir(), "set.tar"), MinSize, 30)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(stream); err != nil {
		t.Fatal(err)
	}
	files, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	for version, line := range map[int]string{2: header2, 1: header1} {
		want := fmt.Sprintf("%-*s", headerSize, line+"\n")
		h, err := readHeader(strings.NewReader(want))
		if err != nil || h.Version != version || h.Size != int64(len(stream)) {
			t.Errorf("version %d: %+v, %v", version, h, err)
			continue
		}
		if got, err := h.encode(); err != nil || string(got) != want {
			t.Errorf("version %d is written as %s (%v)", version, got, err)
		}
		sum := newHash(version)
		sum.Write(stream[:h.Payload])
		if got := newChecksum(version, sum.Sum(nil)); got != h.Digest {
			t.Errorf("version %d: checksum %s, want %s", version, got, h.Digest)
		}
	}
	for _, line := range []string{header2, header1} {
		if line == header1 {
			toVersion1(t, stream, files)
		}
		b, err := os.ReadFile(files[0])
		if err != nil || string(b[:headerSize]) != fmt.Sprintf("%-*s", headerSize, line+"\n") {
			t.Errorf("%s has the header %s (%v)", files[0], bytes.TrimSpace(b[:headerSize]), err)
		}
	}
}

// Many missing parts are one problem.
func TestMissingParts(t *testing.T) {
	_, files := write(t, rand.New(rand.NewPCG(13, 13)), 500_000, MinSize, 50)
	s, err := Open(files[0])
	if err != nil {
		t.Fatal(err)
	}
	data, parity := s.Counts()
	if data < 6 || parity < 3 {
		t.Fatalf("%d parts and %d parity parts", data, parity)
	}
	for _, n := range []int{1, 2, 3, 5, data, data + 1} {
		if err := os.Remove(files[n]); err != nil {
			t.Fatal(err)
		}
	}
	if s, err = Open(files[0]); err != nil {
		t.Fatal(err)
	}
	want := []string{"parts 002 to 004 are missing", "part 006 is missing", "parity parts p01 to p02 are missing"}
	if got := s.Problems(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A scan finds undamaged parts that are not the stream that was saved, which Reader refuses.
func TestScanOfAnotherStream(t *testing.T) {
	for version := 2; version > 0; version-- {
		stream, files := write(t, rand.New(rand.NewPCG(12, 12)), 200_000, MinSize, 20)
		if version == 1 {
			toVersion1(t, stream, files)
		}
		replaceSet(t, files)
		var other *SetError
		if _, _, err := read(t, files[0]); !errors.As(err, &other) {
			t.Errorf("version %d: reading: %v", version, err)
		}
		s, err := Open(files[0])
		if err != nil {
			t.Fatal(err)
		}
		r := s.Scan(t.Context())
		if _, err := io.Copy(io.Discard, r); !errors.As(err, &other) || len(s.Problems()) > 0 {
			t.Errorf("version %d: scanning: %v, %q", version, err, s.Problems())
		}
		r.Close()
	}
}

// replaceSet gives parts another set, with a matching check.
func replaceSet(t *testing.T, files []string) {
	t.Helper()
	editHeaders(t, files, func(h *Header, _ []byte) { h.Set = digest.FromString("another") })
}

// A medium with a part that cannot be read is one with a lost part.
func TestUnreadablePart(t *testing.T) {
	stream, files := write(t, rand.New(rand.NewPCG(10, 10)), 300_000, MinSize, 40)
	s, err := Open(files[0])
	if err != nil {
		t.Fatal(err)
	}
	r := s.newStream(t.Context(), nil, true)
	defer r.Close()
	if _, err := io.ReadFull(r, make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("input/output error")
	r.current = &countingReader{iotest.ErrReader(broken), r.current, s}
	if err := os.Truncate(files[3], MinSize/2); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Error(err)
	}
	want := []string{files[1] + ": input/output error", files[3] + ": its content is damaged"}
	if got := s.Problems(); !slices.Equal(got, want) {
		t.Errorf("problems %q, want %q", got, want)
	}
	restored, err := s.Reader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer restored.Close()
	if n, err := restored.Read(nil); n != 0 || err != nil {
		t.Errorf("an empty buffer: %d, %v", n, err)
	}
	if got, err := io.ReadAll(restored); err != nil || !bytes.Equal(got, stream) {
		t.Errorf("%d bytes restored (%v)", len(got), err)
	}
	// A part that cannot even be opened, and one after it.
	if s, err = Open(files[0]); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{2, 4} {
		if err := os.Remove(files[n]); err != nil {
			t.Fatal(err)
		}
	}
	scan := s.Scan(t.Context())
	defer scan.Close()
	if got, err := io.ReadAll(scan); err != nil || !bytes.Equal(got, stream[:2*s.header.Payload]) {
		t.Errorf("%d bytes before a part that cannot be opened (%v)", len(got), err)
	}
	lost := 0
	for _, p := range s.Parts() {
		if p.Err != nil {
			lost++
		}
	}
	if lost != 3 {
		t.Errorf("%d parts are lost, want 3: %q", lost, s.Problems())
	}
}

func read(t *testing.T, files ...string) ([]byte, *Set, error) {
	t.Helper()
	s, err := Open(files...)
	if err != nil {
		return nil, nil, err
	}
	r, err := s.Reader(t.Context())
	if err != nil {
		return nil, s, err
	}
	b, err := io.ReadAll(r)
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	return b, s, err
}

func TestRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	lengths := []int64{1, MinSize - headerSize, MinSize - headerSize + 1, 200_000, 1 << 20, 3<<20 + 17}
	parities := []int{0, 1, 10, 33, 50}
	if testing.Short() {
		lengths, parities = []int64{1, 200_000}, []int{0, 33}
	}
	for _, length := range lengths {
		for _, parity := range parities {
			stream, files := write(t, rng, length, MinSize, parity)
			rng.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
			for version := 2; version > 0; version-- {
				if version == 1 {
					toVersion1(t, stream, files)
				}
				for _, named := range [][]string{files, files[:1]} {
					if got, _, err := read(t, named...); err != nil || !bytes.Equal(got, stream) {
						t.Errorf("version %d, %d bytes, parity %d%%: %d bytes, %v", version, length, parity, len(got), err)
					}
				}
			}
			var total int64
			data := 0
			for _, f := range files {
				st, err := os.Stat(f)
				if err != nil {
					t.Fatal(err)
				}
				if total += st.Size(); st.Size() > MinSize || st.Mode().Perm() != 0o644 {
					t.Errorf("%s has %d bytes, mode %v", f, st.Size(), st.Mode())
				}
				if !strings.Contains(filepath.Ext(f), "p") {
					data++
				}
			}
			if lost := data * parity / 100; len(files)-data < lost || parity > 0 &&
				len(files)-data > max(1, data*(parity+1)/100) {
				t.Errorf("%d of %d files are parity, for a loss of %d%%", len(files)-data, len(files), parity)
			}
		}
	}
}

// TestEveryLoss removes and damages every combination of parts of a small set.
func TestEveryLoss(t *testing.T) {
	testenv.Slow(t)
	rng := rand.New(rand.NewPCG(2, 2))
	stream, files := write(t, rng, 5*MinSize, MinSize, 50) // 6 data, 3 parity
	if len(files) != 9 {
		t.Fatalf("%d files", len(files))
	}
	contents := map[string][]byte{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		contents[f] = b
	}
	for mask := range 1 << len(files) {
		lost := 0
		for i, f := range files {
			if mask&(1<<i) == 0 {
				continue
			}
			lost++
			damage(t, rng, f, contents[f])
		}
		got, s, err := read(t, files...)
		switch {
		case lost <= 3 && (err != nil || !bytes.Equal(got, stream)):
			t.Errorf("without %09b: %v", mask, err)
		case lost <= 3 && len(s.Problems()) < lost:
			t.Errorf("without %09b: %d problems: %q", mask, len(s.Problems()), s.Problems())
		case lost > 3 && err == nil:
			t.Errorf("without %09b there is no error", mask)
		}
		for i, f := range files {
			if mask&(1<<i) != 0 {
				if err := os.WriteFile(f, contents[f], 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// damage makes a part unusable in one of the ways that media and people do.
func damage(t *testing.T, rng *rand.Rand, file string, content []byte) {
	t.Helper()
	changed := bytes.Clone(content)
	switch rng.IntN(6) {
	case 0:
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		return
	case 1: // a bit of the payload
		changed[headerSize+rng.IntN(len(content)-headerSize)] ^= 1 << rng.IntN(8)
	case 2: // of the header; one in a field's name may make no difference
		at := bytes.Index(changed, []byte(`"set":"sha256:`)) + 14
		changed[at+rng.IntN(64)] ^= 1
	case 3:
		changed = changed[:rng.IntN(len(changed))]
	case 4:
		changed = append(changed, 0)
	case 5:
		clear(changed[len(changed)/2:])
		changed[len(changed)-1] = content[len(content)-1] ^ 1
	}
	if err := os.WriteFile(file, changed, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedMedia damages fifty sets as far as their parity allows, and beyond.
func TestDamagedMedia(t *testing.T) {
	testenv.Slow(t)
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(3, seed))
		parity := 5 + rng.IntN(40)
		stream, files := write(t, rng, 1+rng.Int64N(3<<20), MinSize, parity)
		if seed%3 == 0 {
			toVersion1(t, stream, files)
		}
		data := 0
		for _, f := range files {
			if !strings.Contains(filepath.Ext(f), "p") {
				data++
			}
		}
		order := rng.Perm(len(files))
		loss := func(n int) {
			b, err := os.ReadFile(files[order[n]])
			if err != nil {
				t.Fatal(err)
			}
			damage(t, rng, files[order[n]], b)
		}
		for n := range len(files) - data {
			loss(n)
		}
		var leftover []string
		for _, f := range files {
			if _, err := os.Stat(f); err == nil {
				leftover = append(leftover, f)
			}
		}
		if got, _, err := read(t, leftover...); err != nil || !bytes.Equal(got, stream) {
			t.Fatalf("seed %d: %d of %d parts lost: %v", seed, len(files)-data, len(files), err)
		}
		loss(len(files) - data)
		_, _, err := read(t, leftover...)
		var se *SetError
		if err == nil || !errors.As(err, &se) || se.Hint() == "" {
			t.Errorf("seed %d: one part too many is lost: %v", seed, err)
		}
	}
}

// TestManyParts has more parts than a byte can count.
func TestManyParts(t *testing.T) {
	testenv.Slow(t)
	rng := rand.New(rand.NewPCG(4, 4))
	stream, files := write(t, rng, 32<<20, MinSize, 10)
	if len(files) < 500 {
		t.Fatalf("%d files", len(files))
	}
	for i := range len(files) / 11 {
		if err := os.Remove(files[i*11]); err != nil {
			t.Fatal(err)
		}
	}
	if got, s, err := read(t, files[1]); err != nil || !bytes.Equal(got, stream) || len(s.Problems()) != len(files)/11 {
		t.Errorf("%v", err)
	}
}

// TestMistakes checks the errors for parts of different sets.
func TestMistakes(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	stream, a := write(t, rng, 300_000, MinSize, 0)
	_, b := write(t, rng, 300_000, MinSize, 0)
	dir := t.TempDir()
	other := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(other, bytes.Repeat([]byte("x"), 2000), 0o644); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "set.tar.001")
	if err := os.Mkdir(link, 0o755); err != nil {
		t.Fatal(err)
	}
	for want, files := range map[string][]string{
		"parts of different sets": {a[0], b[1]},
		"not a part of a bundle":  {other},
	} {
		if _, _, err := read(t, files...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
	for want, files := range map[string][]string{
		"not a regular file": {link, a[1]},
		"no such file":       {a[0], filepath.Join(dir, "none")},
	} {
		if _, s, err := read(t, files...); err != nil || !strings.Contains(strings.Join(s.Problems(), " "), want) {
			t.Errorf("%q, and all parts beside another: %v", want, err)
		}
	}
	if got, _, err := read(t, a[0], a[2]); err != nil || !bytes.Equal(got, stream) {
		t.Errorf("two of the parts named, the others beside them: %v", err)
	}
	if got, _, err := read(t, append(a, a...)...); err != nil || !bytes.Equal(got, stream) {
		t.Errorf("each part named twice: %v", err)
	}
	// A swapped payload is damage, although it is a payload of the set.
	first, err := os.ReadFile(a[0])
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(a[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a[1], append(bytes.Clone(second[:headerSize]), first[headerSize:]...), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := read(t, a...); err == nil || !strings.Contains(err.Error(), a[1]+": its content is damaged") {
		t.Errorf("a swapped payload: %v", err)
	}
}

// Parts beside the named ones complete the set, wherever they are; those of another set that
// has the same name are reported and not used.
func TestPartsBesideTheNamed(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	stream, a := write(t, rng, 500_000, MinSize, 20)
	_, b := write(t, rng, 500_000, MinSize, 20)
	elsewhere := t.TempDir()
	move := func(from, to string) string {
		t.Helper()
		to = filepath.Join(elsewhere, filepath.Base(to))
		raw, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, raw, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		return to
	}
	odd := move(a[1], a[1])
	move(a[3], a[3])
	leftover := move(b[0], b[0])
	for _, n := range []int{1, 3} {
		if err := os.Remove(a[n]); err != nil {
			t.Fatal(err)
		}
	}
	got, s, err := read(t, a[0], odd)
	if err != nil || !bytes.Equal(got, stream) {
		t.Fatalf("parts in two directories, one named in each: %v", err)
	}
	if p := strings.Join(s.Problems(), "\n"); !strings.Contains(p, leftover+": it is a part of another bundle") ||
		strings.Contains(p, "missing") {
		t.Errorf("problems: %s", p)
	}
	// A damaged part does not tell which of two sets is meant.
	if err := os.WriteFile(odd, []byte(magic), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := read(t, odd); err == nil || !strings.Contains(err.Error(), "parts of different sets") {
		t.Errorf("named a damaged part: %v", err)
	}
}

// FuzzHeader reads headers: accepted ones are consistent and written back equal.
func FuzzHeader(f *testing.F) {
	for v, sum := range map[int]checksum{1: checksum("sha256:" + digestHex), version: "xxh64:0123456789abcdef"} {
		h := Header{Version: v, Set: digest.NewDigestFromEncoded(digest.SHA256, digestHex), Size: 100, Data: 2, Parity: 1,
			Payload: 64, Number: 1, Digest: sum}
		b, err := h.encode()
		if err != nil {
			f.Fatal(err)
		}
		if _, err := readHeader(bytes.NewReader(b)); err != nil {
			f.Errorf("version %d: %v", v, err)
		}
		f.Add(b)
	}
	f.Add([]byte(magic + "1}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := readHeader(bytes.NewReader(b))
		if err != nil {
			return
		}
		if h.length() < 0 || h.length() > h.shard() || h.Number >= h.Data+h.Parity {
			t.Errorf("%+v", h)
		}
		again, err := h.encode()
		if err != nil {
			t.Fatal(err)
		}
		if h2, err := readHeader(bytes.NewReader(again)); err != nil || *h2 != *h {
			t.Errorf("%+v became %+v, %v", h, h2, err)
		}
	})
}

var digestHex = fmt.Sprintf("%064d", 1)

// Media can show the names of parts in upper case. All parts of the set are found.
func TestUpperCaseNames(t *testing.T) {
	stream, files := write(t, rand.New(rand.NewPCG(7, 7)), 400_000, MinSize, 20)
	var upper []string
	for _, f := range files {
		to := filepath.Join(filepath.Dir(f), strings.ToUpper(filepath.Base(f)))
		if err := os.Rename(f, to); err != nil {
			t.Fatal(err)
		}
		upper = append(upper, to)
	}
	for _, f := range upper {
		got, s, err := read(t, f)
		if err != nil || !bytes.Equal(got, stream) || len(s.Problems()) != 0 {
			t.Errorf("%s: %d bytes, %v, %v", f, len(got), err, s.Problems())
		}
	}
}
