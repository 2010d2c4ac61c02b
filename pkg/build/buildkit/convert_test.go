package buildkit

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

func converter(volatile ...string) *Converter {
	return NewConverter(ConvertOptions{
		Platform:       ocispecs.Platform{OS: "linux", Architecture: "amd64"},
		VolatileLabels: volatile,
		External: func(_ context.Context, ref string) (External, error) {
			if ref != "debian:trixie" {
				return External{}, errors.New("no image " + ref)
			}
			return External{Digest: digest.FromString(ref), Config: []byte(`{"os":"linux","architecture":"amd64","config":{"Env":["PATH=/bin"]}}`)}, nil
		},
	})
}

func convert(t *testing.T, c *Converter, d Dockerfile) *Definition {
	t.Helper()
	if d.Path == "" {
		d.Path = d.Name + "/Dockerfile"
	}
	def, err := c.Convert(context.Background(), d)
	if err != nil {
		t.Fatalf("%s: %v", d.Name, err)
	}
	return def
}

func pair(t *testing.T, c *Converter, base, child Dockerfile) (*Definition, *Definition) {
	t.Helper()
	base.Name, base.Reference = "base", "localhost:4000/kolla/base:t"
	child.Name, child.Reference = "child", "localhost:4000/kolla/child:t"
	return convert(t, c, base), convert(t, c, child)
}

const baseFile = "FROM debian:trixie\nENV A=1\nCOPY start.sh /usr/bin/\nRUN echo base\n"
const childFile = "FROM localhost:4000/kolla/base:t\nRUN echo child\nUSER nobody\n"

func baseContext() []ContextFile {
	return []ContextFile{{Path: "start.sh", Mode: 0o755, Data: []byte("#!/bin/sh\n")}, {Path: "README", Mode: 0o644, Data: []byte("x")}}
}

func TestChildInheritsParentsConfig(t *testing.T) {
	_, child := pair(t, converter(), Dockerfile{Content: []byte(baseFile), Context: baseContext()}, Dockerfile{Content: []byte(childFile)})
	var img dockerspec.DockerOCIImage
	if err := json.Unmarshal(child.Config, &img); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(img.Config.Env, " "); got != "PATH=/bin A=1" {
		t.Errorf("environment %q", got)
	}
	if img.Config.User != "nobody" {
		t.Errorf("user %q", img.Config.User)
	}
	if len(img.History) < 4 {
		t.Errorf("history has %d entries, want the parent's and its own", len(img.History))
	}
}

// TestKeys says what moves an image's key, and with it its child's, and what
// does not.
func TestKeys(t *testing.T) {
	b0, c0 := pair(t, converter("version"), Dockerfile{Content: []byte(baseFile), Context: baseContext()}, Dockerfile{Content: []byte(childFile)})
	edit := func(path, data string, mode uint32) []ContextFile {
		files := baseContext()
		for i := range files {
			if files[i].Path == path {
				files[i].Data = []byte(data)
			}
		}
		return files
	}
	tests := []struct {
		name               string
		base, child        Dockerfile
		baseMoves, chMoves bool
	}{
		{"again", Dockerfile{Content: []byte(baseFile), Context: baseContext()}, Dockerfile{Content: []byte(childFile)}, false, false},
		{"command", Dockerfile{Content: []byte(strings.Replace(baseFile, "echo base", "echo other", 1)), Context: baseContext()}, Dockerfile{Content: []byte(childFile)}, true, true},
		{"comment", Dockerfile{Content: []byte("# hello\n" + baseFile), Context: baseContext()}, Dockerfile{Content: []byte(childFile)}, false, false},
		{"context file", Dockerfile{Content: []byte(baseFile), Context: edit("start.sh", "#!/bin/bash\n", 0)}, Dockerfile{Content: []byte(childFile)}, true, true},
		{"file that nothing copies", Dockerfile{Content: []byte(baseFile), Context: edit("README", "y", 0)}, Dockerfile{Content: []byte(childFile)}, false, false},
		{"child only", Dockerfile{Content: []byte(baseFile), Context: baseContext()}, Dockerfile{Content: []byte(childFile + "CMD [\"a\"]\n")}, false, true},
		{"label", Dockerfile{Content: []byte(baseFile), Context: baseContext(), Labels: map[string]string{"a": "b"}}, Dockerfile{Content: []byte(childFile)}, true, true},
		{"volatile label", Dockerfile{Content: []byte(baseFile), Context: baseContext(), Labels: map[string]string{"version": "2026-11-22"}}, Dockerfile{Content: []byte(childFile)}, false, false},
	}
	for _, tt := range tests {
		b, c := pair(t, converter("version"), tt.base, tt.child)
		if moved := b.Key != b0.Key; moved != tt.baseMoves {
			t.Errorf("%s: the base's key moved: %v, want %v", tt.name, moved, tt.baseMoves)
		}
		if moved := c.Key != c0.Key; moved != tt.chMoves {
			t.Errorf("%s: the child's key moved: %v, want %v", tt.name, moved, tt.chMoves)
		}
	}
}

func TestConvertErrorsNameThePlace(t *testing.T) {
	tests := []struct{ name, content, want string }{
		{"unknown instruction", "FROM debian:trixie\nRUNN x\n", "base/Dockerfile:2: "},
		{"no such base", "\n\nFROM fedora:41\n", "base/Dockerfile:3: no image fedora:41\n  FROM fedora:41"},
		{"empty", "  \n", "base/Dockerfile: the rendered Dockerfile is empty"},
		{"no FROM", "RUN x\n", "base/Dockerfile:1: "},
		{"bad flag", "FROM debian:trixie\nRUN --mnt=x y\n", "base/Dockerfile:2: "},
	}
	for _, tt := range tests {
		_, err := converter().Convert(context.Background(), Dockerfile{Name: "base", Reference: "kolla/base:t", Path: "base/Dockerfile", Content: []byte(tt.content)})
		var de *DockerfileError
		if !errors.As(err, &de) || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want it to start with %q", tt.name, err, tt.want)
		}
	}
}

func TestUnsafeContextPaths(t *testing.T) {
	for _, p := range []string{"../x", "/etc/passwd", "a/../../b", "", "a//b", ".."} {
		_, err := converter().Convert(context.Background(), Dockerfile{Name: "base", Reference: "kolla/base:t", Path: "f", Content: []byte(baseFile),
			Context: []ContextFile{{Path: p, Mode: 0o644}}})
		if err == nil || !strings.Contains(err.Error(), "unsafe path") {
			t.Errorf("path %q: error %v", p, err)
		}
	}
}
