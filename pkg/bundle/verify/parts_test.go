package verify

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/bundletest"
	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/load"
	"github.com/kolla-build/kolla-build/pkg/bundle/parts"
	"github.com/kolla-build/kolla-build/pkg/bundle/save"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// Parts verify alone and together; lost ones are restored, or their content is reported.
func TestVerifyParts(t *testing.T) {
	s, entries, files := bundletest.Split(t, 150_000, parts.MinSize, 20)
	report := testenv.Must[*Report](t)(Bundle(t.Context(), files[0], Options{}))
	if !report.OK || len(report.Images) != 2 || len(report.Parts.Good) != len(files) || report.Parts.Restored {
		t.Fatalf("%+v, %+v", report, report.Parts)
	}
	original := testenv.Must[[]byte](t)(os.ReadFile(files[3]))
	bad := bytes.Clone(original)
	bad[len(bad)/2] ^= 1
	if err := os.WriteFile(files[3], bad, 0o644); err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		r := testenv.Must[*Report](t)(Bundle(t.Context(), f, Options{Parts: []string{f}, EachPart: true}))
		if r.OK != (i != 3) || (len(r.Parts.Good) == 1) != r.OK || r.Parts.Needed != 0 {
			t.Errorf("%s alone: %+v", f, r.Parts)
		}
	}
	if r := testenv.Must[*Report](t)(Bundle(t.Context(), files[1], Options{})); !r.OK || !r.Parts.Restored ||
		len(r.Parts.Problems) != 1 || len(r.Problems) > 0 {
		t.Errorf("one damaged: %+v, %+v", r, r.Parts)
	}
	if err := os.Remove(files[4]); err != nil {
		t.Fatal(err)
	}
	data := report.Parts.Data
	for _, f := range files[data:] {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	report = testenv.Must[*Report](t)(Bundle(t.Context(), files[0], Options{}))
	if report.OK || report.Parts.Needed != 2 || len(report.Problems) == 0 {
		t.Fatalf("too few: %+v, %+v", report, report.Parts)
	}
	// The layers that the manifest places there are named, with their images.
	layers := map[string]bool{}
	for _, e := range entries {
		for _, d := range testenv.Must[[]digest.Digest](t)(storetest.LayerDigests(s, e)) {
			layers[bundle.BlobPath(d)] = true
		}
	}
	for _, p := range report.Problems {
		if p.Kind != ProblemMissing || !layers[p.File] || len(p.Images) == 0 {
			t.Errorf("%+v", p)
		}
	}
	// Without the first part, nothing is known about its content.
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	if r := testenv.Must[*Report](t)(Bundle(t.Context(), files[1], Options{})); r.OK || r.Parts.Needed != 3 {
		t.Errorf("without the first: %+v, %+v", r, r.Parts)
	}
}

// Parts that agree with each other, but not with the digest of the set, are refused by verify as
// by load.
func TestVerifyOtherSet(t *testing.T) {
	for _, parity := range []int{0, 20} {
		_, _, files := bundletest.Split(t, 150_000, parts.MinSize, parity)
		for _, file := range files {
			b := testenv.Must[[]byte](t)(os.ReadFile(file))
			line, rest, _ := bytes.Cut(b, []byte("\n"))
			var h parts.Header
			if err := json.Unmarshal(line, &h); err != nil {
				t.Fatal(err)
			}
			h.Set, h.Check = digest.FromString("another"), ""
			h.Check = digest.FromBytes(testenv.Must[[]byte](t)(json.Marshal(h)))
			line = testenv.Must[[]byte](t)(json.Marshal(h))
			if err := os.WriteFile(file, append(append(line, '\n'), rest...), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		r := testenv.Must[*Report](t)(Bundle(t.Context(), files[0], Options{}))
		if r.OK || len(r.Problems) != 1 || !strings.Contains(r.Problems[0].Detail, "do not contain the saved stream") {
			t.Errorf("parity %d: %+v, %+v", parity, r, r.Parts)
		}
		// The headers of all data parts show it as well. One part alone cannot.
		each := Options{Parts: files, EachPart: true}
		r = testenv.Must[*Report](t)(Bundle(t.Context(), files[0], each))
		if r.OK || len(r.Problems) != 1 || !strings.Contains(r.Problems[0].Detail, "do not contain the saved stream") {
			t.Errorf("parity %d: each: %+v, %+v", parity, r, r.Parts)
		}
		each.Parts = files[1:]
		if r = testenv.Must[*Report](t)(Bundle(t.Context(), files[1], each)); !r.OK || len(r.Problems) > 0 {
			t.Errorf("parity %d: all but the first: %+v, %+v", parity, r, r.Parts)
		}
		_, err := load.Bundle(t.Context(), files[0], testenv.Must[*store.Store](t)(store.Open(t.TempDir())), load.Options{})
		var other *parts.SetError
		if !errors.As(err, &other) {
			t.Errorf("parity %d: load: %v", parity, err)
		}
	}
}

// The places that the manifest gives the files are those in the tar.
func TestContentOffset(t *testing.T) {
	s, entries := storetest.Fill(t)
	_, key := bundletest.NewKey(t)
	for _, opts := range []save.Options{{}, {SignKey: key}} {
		b := testenv.Must[[]byte](t)(os.ReadFile(bundletest.Save(t, s, entries, opts)))
		m := bundletest.ManifestOf(t, b)
		signature := int64(0)
		if opts.SignKey != nil {
			signature = ed25519.SignatureSize
		}
		var size int64
		for _, i := range bundletest.Unpack(t, b) {
			if i.H.Name == bundle.ManifestName {
				size = i.H.Size
			}
		}
		offsets := testenv.Must[map[string]int64](t)(bundle.ContentOffset(m, size, signature))
		for _, f := range m.Files {
			if at := offsets[f.Name]; digest.FromBytes(b[at:at+f.Size]) != f.Sum() {
				t.Errorf("%s is not at %d", f.Name, at)
			}
		}
	}
}

// A first part that cannot be read any more is reported as such.
func TestVerifyWhenTheFirstPartDisappears(t *testing.T) {
	for name, parity := range map[string]int{"with parity": 20, "without": 0} {
		t.Run(name, func(t *testing.T) {
			_, _, files := bundletest.Split(t, 150_000, parts.MinSize, parity)
			set := testenv.Must[*parts.Set](t)(parts.Open(files...))
			if err := os.Remove(files[0]); err != nil {
				t.Fatal(err)
			}
			v := &verifier{opts: Options{Parts: files}, report: Report{Problems: []Problem{}}}
			if err := v.set(t.Context(), set); err != nil {
				t.Fatal(err)
			}
			p := v.report.Parts
			if len(p.Problems) != 1 || !strings.Contains(p.Problems[0], files[0]) || (p.Needed == 0) != (parity > 0) ||
				p.Restored != (parity > 0) {
				t.Errorf("%+v", p)
			}
		})
	}
}
