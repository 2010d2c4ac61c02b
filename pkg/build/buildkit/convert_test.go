package buildkit

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/dockerfile"
	"github.com/moby/buildkit/solver/pb"
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
			return External{Digest: digest.FromString(ref),
				Config: []byte(`{"os":"linux","architecture":"amd64","config":{"Env":["PATH=/bin"]}}`)}, nil
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
	return []ContextFile{{Path: "start.sh", Mode: 0o755, Data: []byte("#!/bin/sh\n")},
		{Path: "README", Mode: 0o644, Data: []byte("x")}}
}

func TestChildInheritsParentsConfig(t *testing.T) {
	_, child := pair(t, converter(), Dockerfile{Content: []byte(baseFile), Context: baseContext()},
		Dockerfile{Content: []byte(childFile)})
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

// TestKeys checks which changes give an image, and with it its child, another key.
func TestKeys(t *testing.T) {
	t.Run("spliced", func(t *testing.T) { testKeys(t, func() *Converter { return converter("version") }) })
	t.Run("by parents' keys", func(t *testing.T) {
		testKeys(t, func() *Converter {
			c := converter("version")
			c.opts.ForKeys = true
			return c
		})
	})
}

func testKeys(t *testing.T, converter func() *Converter) {
	b0, c0 := pair(t, converter(), Dockerfile{Content: []byte(baseFile), Context: baseContext()},
		Dockerfile{Content: []byte(childFile)})
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
		name                      string
		base, child               Dockerfile
		baseChanges, childChanges bool
	}{
		{"again", Dockerfile{Content: []byte(baseFile), Context: baseContext()},
			Dockerfile{Content: []byte(childFile)}, false, false},
		{"command", Dockerfile{Content: []byte(strings.Replace(baseFile, "echo base", "echo other", 1)),
			Context: baseContext()}, Dockerfile{Content: []byte(childFile)}, true, true},
		{"comment", Dockerfile{Content: []byte("# hello\n" + baseFile), Context: baseContext()},
			Dockerfile{Content: []byte(childFile)}, false, false},
		{"context file", Dockerfile{Content: []byte(baseFile), Context: edit("start.sh", "#!/bin/bash\n", 0)},
			Dockerfile{Content: []byte(childFile)}, true, true},
		{"file that nothing copies", Dockerfile{Content: []byte(baseFile), Context: edit("README", "y", 0)},
			Dockerfile{Content: []byte(childFile)}, false, false},
		{"child only", Dockerfile{Content: []byte(baseFile), Context: baseContext()},
			Dockerfile{Content: []byte(childFile + "CMD [\"a\"]\n")}, false, true},
		{"label", Dockerfile{Content: []byte(baseFile), Context: baseContext(), Labels: map[string]string{"a": "b"}},
			Dockerfile{Content: []byte(childFile)}, true, true},
		{"volatile label", Dockerfile{Content: []byte(baseFile), Context: baseContext(),
			Labels: map[string]string{"version": "2026-11-22"}}, Dockerfile{Content: []byte(childFile)}, false, false},
	}
	for _, tt := range tests {
		b, c := pair(t, converter(), tt.base, tt.child)
		if changed := b.Key != b0.Key; changed != tt.baseChanges {
			t.Errorf("%s: the base's key changed: %v, want %v", tt.name, changed, tt.baseChanges)
		}
		if changed := c.Key != c0.Key; changed != tt.childChanges {
			t.Errorf("%s: the child's key changed: %v, want %v", tt.name, changed, tt.childChanges)
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
		_, err := converter().Convert(context.Background(),
			Dockerfile{Name: "base", Reference: "kolla/base:t", Path: "base/Dockerfile", Content: []byte(tt.content)})
		var de *dockerfile.Error
		if !errors.As(err, &de) || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want it to start with %q", tt.name, err, tt.want)
		}
	}
}

func TestUnsafeContextPaths(t *testing.T) {
	for _, p := range []string{"../x", "/etc/passwd", "a/../../b", "", "a//b", ".."} {
		_, err := converter().Convert(context.Background(),
			Dockerfile{Name: "base", Reference: "kolla/base:t", Path: "f", Content: []byte(baseFile),
				Context: []ContextFile{{Path: p, Mode: 0o644}}})
		if err == nil || !strings.Contains(err.Error(), "unsafe path") {
			t.Errorf("path %q: error %v", p, err)
		}
	}
}

func TestOptionsInKeys(t *testing.T) {
	key := func(change func(*ConvertOptions)) string {
		c := converter()
		change(&c.opts)
		return convert(t, c, Dockerfile{Name: "base", Reference: "kolla/base:t",
			Content: []byte("ARG V=1\nFROM debian:trixie\nARG V\nRUN echo $V\n")}).Key.String()
	}
	plain := key(func(*ConvertOptions) {})
	if key(func(o *ConvertOptions) { o.BuildArgs = map[string]string{"V": "2"} }) == plain {
		t.Error("a build argument that a step uses does not move the key")
	}
	if key(func(o *ConvertOptions) { o.Network = "none" }) == plain {
		t.Error("the network does not move the key")
	}
	if key(func(o *ConvertOptions) { o.NoCache = true }) != plain {
		t.Error("building without cache moves the key")
	}
}

func TestVariablesOfSteps(t *testing.T) {
	d := Dockerfile{Name: "base", Reference: "kolla/base:t",
		Content: []byte("FROM debian:trixie\nRUN one\nENV A=own\nRUN two\n")}
	plain := convert(t, converter(), d)
	c := converter()
	c.opts.Env = []string{"A=given", "B=x=y"}
	def := convert(t, c, d)
	if def.Key != plain.Key || string(def.Config) != string(plain.Config) {
		t.Error("the variables are in the key or in the image's config")
	}
	var got []string
	for _, step := range execs(t, def.LLB) {
		var own []string
		for _, v := range step.Meta.Env {
			if !strings.HasPrefix(v, "PATH=") {
				own = append(own, v)
			}
		}
		got = append(got, strings.Join(own, " "))
	}
	if want := []string{"A=given B=x=y", "A=own B=x=y"}; !slices.Equal(got, want) {
		t.Errorf("steps have %q, want %q", got, want)
	}
}

func TestFromWithVariables(t *testing.T) {
	c := converter()
	def := convert(t, c, Dockerfile{Name: "base", Reference: "kolla/base:t",
		Content: []byte("ARG SUITE=trixie\nFROM debian:${SUITE}\nRUN true\n")})
	if len(def.External) != 1 || def.External[0] != "debian:trixie" {
		t.Errorf("external images %q", def.External)
	}
	_, err := c.Convert(context.Background(),
		Dockerfile{Name: "x", Reference: "kolla/x:t", Path: "x/Dockerfile", Content: []byte("ARG WHAT\nFROM $WHAT\n")})
	if err == nil || !strings.HasPrefix(err.Error(), "x/Dockerfile:2: FROM $WHAT: no value for WHAT") {
		t.Errorf("error %v", err)
	}
}

// TestContextPaths checks which files of a context count: all that instructions
// may see, and no more.
func TestContextPaths(t *testing.T) {
	tests := []struct {
		file string
		want string // "" is all
	}{
		{"COPY a b /x/", "a b"},
		{"COPY .vimrc /x", ".vimrc"},
		{"COPY ./d//f ../up a/../b /x/", "b d/f up"},
		{"ADD x.tar /", "x.tar"},
		{"COPY . /x", ""},
		{"COPY --parents d/./f /x/", ""},
		{"COPY $V /x", ""},
		{"ONBUILD COPY a /x", ""},
		{"RUN --mount=type=bind,source=m,target=/m true", "m"},
		{"RUN --mount=type=bind,target=/m true", ""},
		{"COPY --from=debian:trixie /etc/os-release /x", "none"},
	}
	for _, tt := range tests {
		got, all := (&Dockerfile{Content: []byte("FROM debian:trixie\n" + tt.file + "\n")}).ContextPaths()
		text := strings.Join(got, " ")
		if !all && len(got) == 0 {
			text = "none"
		}
		if all != (tt.want == "") || !all && text != tt.want {
			t.Errorf("%s: %q (all: %v), want %q", tt.file, text, all, tt.want)
		}
	}
}

// TestCopyOfMissingFiles checks that the frontend gets no empty build context, on which it panics.
func TestCopyOfMissingFiles(t *testing.T) {
	for _, line := range []string{"COPY nosuch /x", "RUN --mount=type=bind,source=nosuch,target=/m true",
		"RUN --mount=type=bind,target=/m true", "COPY --parents d/./f /x/"} {
		if _, err := converter().Convert(context.Background(), Dockerfile{Name: "x", Reference: "kolla/x:t", Path: "x",
			Content: []byte("# syntax=docker/dockerfile:1-labs\nFROM debian:trixie\n" + line + "\n")}); err != nil {
			t.Logf("%s: %v", line, err) // an error is fine, a panic is not
		}
	}
}

// The proxies of the build are set for every command and are part of no image: nothing in a
// template has to name one.
func TestProxies(t *testing.T) {
	c := converter()
	c.opts.BuildArgs = map[string]string{"http_proxy": "http://proxy.example:3128",
		"https_proxy": "http://proxy.example:3129", "no_proxy": "mirror.example"}
	base, child := pair(t, c, Dockerfile{Content: []byte(baseFile), Context: baseContext()},
		Dockerfile{Content: []byte(childFile)})
	for _, def := range []*Definition{base, child} {
		commands := 0
		for _, data := range def.LLB.Def {
			var op pb.Op
			if err := op.UnmarshalVT(data); err != nil {
				t.Fatal(err)
			}
			exec := op.GetExec()
			if exec == nil {
				continue
			}
			commands++
			p := exec.Meta.ProxyEnv
			if p == nil || p.HttpProxy != "http://proxy.example:3128" || p.HttpsProxy != "http://proxy.example:3129" ||
				p.NoProxy != "mirror.example" {
				t.Errorf("%s: %q has the proxies %v", def.Name, exec.Meta.Args, p)
			}
		}
		if commands == 0 {
			t.Errorf("%s has no commands", def.Name)
		}
		if strings.Contains(string(def.Config), "proxy.example") {
			t.Errorf("the configuration of %s names a proxy: %s", def.Name, def.Config)
		}
	}
}
