package buildkit

import (
	"context"
	"testing"

	digest "github.com/opencontainers/go-digest"
)

// A file that no instruction names is not read and does not affect the key.
func TestUnnamedFilesAreNotRead(t *testing.T) {
	read := 0
	lazy := func(data string) ContextFile {
		return ContextFile{Path: "given", Mode: 0o644, Read: func(context.Context) ([]byte, digest.Digest, error) {
			read++
			return []byte(data), "", nil
		}}
	}
	build := func(onbuild, data string) *Definition {
		base := Dockerfile{Content: []byte(baseFile + onbuild), Context: baseContext()}
		_, child := pair(t, converter(), base, Dockerfile{Content: []byte(childFile), Context: []ContextFile{lazy(data)}})
		return child
	}
	if a, b := build("", "1"), build("", "2"); read != 0 || a.Key != b.Key || a.Parts["context"] != b.Parts["context"] {
		t.Errorf("read %d times; keys %s and %s", read, a.Key, b.Key)
	}
	// A trigger of the parent may name it.
	trigger := "ONBUILD COPY given /given\n"
	a, b := build(trigger, "1"), build(trigger, "2")
	if read == 0 || a.Key == b.Key {
		t.Errorf("read %d times for a trigger; keys %s and %s", read, a.Key, b.Key)
	}
	eager := Dockerfile{Content: []byte(childFile),
		Context: []ContextFile{{Path: "given", Mode: 0o644, Data: []byte("1")}}}
	if _, c := pair(t, converter(), Dockerfile{Content: []byte(baseFile + trigger), Context: baseContext()},
		eager); c.Key != a.Key {
		t.Errorf("the key of a file that is read late is %s, not %s", a.Key, c.Key)
	}
}
