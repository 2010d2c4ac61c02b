package load

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/kolla-build/kolla-build/internal/bundletest"
	"github.com/kolla-build/kolla-build/internal/storetest"
)

// A compressed file that lacks its end, or has a wrong checksum, is an error, and so is data after the tar.
func TestEndOfFile(t *testing.T) {
	var p bundletest.Packed
	p.Image(t, "kolla/app:t", "x", nil)
	plain := append(p.Bytes(t), make([]byte, 1024)...) // the end of a tar
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	packed := z.Bytes()
	wrong := bytes.Clone(packed)
	wrong[len(wrong)-6] ^= 1
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	frame := enc.EncodeAll(plain, nil)
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"plain":                  {plain, ""},
		"padding":                {append(bytes.Clone(plain), make([]byte, 3<<20)...), ""},
		"two archives":           {append(bytes.Clone(plain), plain...), "data follows"},
		"garbage":                {append(bytes.Clone(plain), 'x'), "data follows"},
		"gzip":                   {packed, ""},
		"gzip without its end":   {packed[:len(packed)-8], "its end is missing"},
		"gzip, one byte missing": {packed[:len(packed)-1], "its end is missing"},
		"gzip, wrong checksum":   {wrong, "after the last file"},
		"gzip and garbage":       {append(bytes.Clone(packed), "garbage of some length"...), "after the last file"},
		"two gzip files":         {append(bytes.Clone(packed), packed...), "data follows"},
		"zstd":                   {frame, ""},
		"zstd and garbage":       {append(bytes.Clone(frame), "garbage"...), "after the last file"},
	} {
		s := storetest.Open(t)
		_, err := loadBytes(t, s, c.data, Options{})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if _, found, err := s.Lookup("kolla/app:t"); err != nil || found != (c.want == "") {
			t.Errorf("%s: the name is stored: %v (%v)", name, found, err)
		}
	}
}
