package compress

import "testing"

// FuzzParse checks that settings, which byte deltas name, are read or refused, and are
// written as they are read.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"gzip", "gzip:9", "zstd:3", "zstd:-1", ":", "gzip:99999999999999999999"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		if reparsed, err := Parse(s.String()); err != nil || reparsed != s {
			t.Errorf("%q is %v, then %v (%v)", text, s, reparsed, err)
		}
	})
}
