package buildkit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	digest "github.com/opencontainers/go-digest"
)

func TestOpenSecrets(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, size := range map[string]int{"file": 20, "with,comma": 20, "NAMED": 20,
		"large": secretsprovider.MaxSecretSize + 1} {
		if err := os.WriteFile(name, []byte(strings.Repeat("f", size)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	getenv := func(name string) string { return map[string]string{"VARIABLE": "v", "both": "v"}[name] }
	for _, c := range []struct {
		option string
		id     string // "" for an error
		want   string // the first byte of the value, or a part of the error
	}{
		{"id=x,src=file", "x", "f"},
		{"source=file,id=x", "x", "f"},
		{"type=file,id=x,src=file", "x", "f"},
		{"id=x,env=VARIABLE", "x", "v"},
		{"type=env,id=x,src=VARIABLE", "x", "v"},
		{"type=env,id=x,env=VARIABLE", "x", "v"},
		{"id=both", "both", "v"},
		{"id=NAMED", "NAMED", "f"},
		{`id=x,"src=with,comma"`, "x", "f"},
		{"id=x,src=large", "", "larger than 500 KiB"},
		{"id=x,src=nosuch", "", "nosuch: no such file"},
		{"id=x,env=NOSUCH", "", "NOSUCH is not set"},
		{"id=x,src=file,env=VARIABLE", "", "both a file and a variable"},
		{"id=x,file=file", "", `unknown key "file"`},
		{"type=vault,id=x", "", `unknown type "vault"`},
		{"src=file", "", "no id"},
		{"file", "", "not KEY=VALUE"},
		{`id="x`, "", "not a list"},
		{"", "", "not a list"},
	} {
		s, err := OpenSecrets(t.Context(), []string{c.option}, nil, getenv)
		switch {
		case c.id == "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("--secret %s: %v, want %q", c.option, err, c.want)
		case c.id != "" && err != nil:
			t.Errorf("--secret %s: %v", c.option, err)
		case c.id != "" && !strings.HasPrefix(string(s.values[c.id]), c.want):
			t.Errorf("--secret %s: %q, want %q", c.option, s.values[c.id], c.want)
		}
		if _, checked := CheckSecrets(t.Context(), []string{c.option}, nil, getenv); fmt.Sprint(checked) != fmt.Sprint(err) {
			t.Errorf("--secret %s: %v, and CheckSecrets %v", c.option, err, checked)
		}
	}
	for _, option := range []string{"id=x,value=hunter2", "hunter2", "id=x,hunter2", `id=x,"hunter2`,
		"type=vault,value=hunter2"} {
		if _, err := OpenSecrets(t.Context(), []string{option}, nil, getenv); err == nil ||
			strings.Contains(err.Error(), "hunter2") {
			t.Errorf("--secret %s: %v", option, err)
		}
	}
	if _, err := OpenSecrets(t.Context(), []string{"id=x,src=file", "id=x,env=VARIABLE"}, nil, getenv); err == nil {
		t.Error("an id that is given twice is accepted")
	}
}

// A secret may come from a pipe, and waiting for one ends with the context.
func TestSecretsFromPipes(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	getenv := func(string) string { return "" }
	go func() { _ = os.WriteFile(pipe, []byte("hunter2"), 0) }()
	s, err := OpenSecrets(t.Context(), []string{"id=x,src=" + pipe}, nil, getenv)
	if err != nil || string(s.values["x"]) != "hunter2" {
		t.Errorf("%v, %v", s, err)
	}
	if s, err := CheckSecrets(t.Context(), []string{"id=x,src=" + pipe}, nil, getenv); err != nil ||
		!s.has(Requirement{Kind: RequiresSecret, ID: "x"}) {
		t.Errorf("CheckSecrets: %v, %v", s, err) // and it does not wait for a writer
	}
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	if _, err := OpenSecrets(ctx, []string{"id=x,src=" + pipe}, nil, getenv); !errors.Is(err, stop) {
		t.Errorf("a pipe without a writer: %v", err)
	}
	if _, err := OpenSecrets(t.Context(), []string{"id=x,src=/dev/zero"}, nil, getenv); err == nil ||
		!strings.Contains(err.Error(), "larger than") {
		t.Errorf("/dev/zero: %v", err)
	}
	for _, agent := range []string{pipe, "/dev/zero", filepath.Dir(pipe)} {
		if _, err := OpenSecrets(t.Context(), nil, []string{"x=" + agent}, getenv); err == nil ||
			!strings.Contains(err.Error(), "neither a socket") {
			t.Errorf("--ssh x=%s: %v", agent, err)
		}
	}
}

func TestOpenAgents(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(broken, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ option, want string }{
		{"default", "SSH_AUTH_SOCK"},
		{"default=/nosuch", "/nosuch"},
		{"x=" + broken, broken},
		{"=" + broken, "no id"},
	} {
		_, err := OpenSecrets(t.Context(), nil, []string{c.option}, func(string) string { return "" })
		if err == nil || !strings.Contains(err.Error(), c.want) || usererr.Hint(err) == "" {
			t.Errorf("--ssh %s: %v, want %q and a hint", c.option, err, c.want)
		}
		_, checked := CheckSecrets(t.Context(), nil, []string{c.option}, func(string) string { return "" })
		if fmt.Sprint(checked) != fmt.Sprint(err) {
			t.Errorf("--ssh %s: %v, and CheckSecrets %v", c.option, err, checked)
		}
	}
}

// TestRedact checks that no line of a secret is left in a text, the longest first.
func TestRedact(t *testing.T) {
	env := map[string]string{"KEY": "-----BEGIN KEY-----\nabcdefgh\n  indented-line\n-----END KEY-----\n",
		"LONG": "abcdefghij", "SHORT": "abc"}
	s, err := OpenSecrets(t.Context(), []string{"id=k,env=KEY", "id=l,env=LONG", "id=s,env=SHORT"}, nil,
		func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	got := string(s.redact([]byte("1 abcdefghij 2 abcdefgh 3 indented-line 4 abc\n")))
	if want := "1 *** 2 *** 3 *** 4 abc\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !s.Occurs([]byte("https://host/?token=abcdefghij")) || s.Occurs([]byte("abc")) {
		t.Error("Occurs")
	}
}

// TestCheckRequirements checks the requirements of steps, with the lines of their
// instructions, and the options that grant them.
func TestCheckRequirements(t *testing.T) {
	d := Dockerfile{Name: "x", Reference: "kolla/x:t", Path: "x/Dockerfile.j2", Content: []byte(`FROM debian:trixie
RUN --mount=type=secret,id=optional --mount=type=ssh echo 1
RUN --mount=type=secret,id=needed,required=true echo 2
RUN --mount=type=ssh,required=true echo 3
RUN --network=none echo 4
RUN --network=host echo 5
RUN --security=insecure echo 6
`)}
	def, err := converter().Convert(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	want := []Requirement{{RequiresSecret, "needed", 3}, {RequiresSSH, "default", 4}, {RequiresNetwork, "", 6},
		{RequiresInsecure, "", 7}}
	if !slices.Equal(def.Requirements, want) {
		t.Fatalf("requirements %v, want %v", def.Requirements, want)
	}
	given := &Secrets{values: map[string][]byte{"needed": nil}, agents: map[string]bool{"default": true}}
	all := Grants{Secrets: given, Entitlements: Entitlements}
	if err := all.Check(d, def.Requirements); err != nil {
		t.Errorf("everything is granted: %v", err)
	}
	for want, o := range map[string]Grants{
		"x/Dockerfile.j2:3: the secret needed": {Entitlements: Entitlements},
		"x/Dockerfile.j2:4: the SSH agent":     {Entitlements: Entitlements, Secrets: &Secrets{values: given.values}},
		"x/Dockerfile.j2:6: the step requires": {Secrets: given, Entitlements: []string{RequiresInsecure}},
		"x/Dockerfile.j2:7: the step requires": {Secrets: given, Entitlements: []string{RequiresNetwork}},
		"x/Dockerfile.j2:3: the secret needed of the step is not given; also missing: the SSH agent default, the host's network, all privileges": {},
	} {
		err := o.Check(d, def.Requirements)
		if err == nil || !strings.Contains(err.Error(), want) || usererr.Hint(err) == "" {
			t.Errorf("%v, want %s and a hint", err, want)
		}
	}
}

// TestSecretAcrossBuffers checks that no part of a secret is emitted, wherever the builder
// cuts the output of a step and wherever an endless line is cut.
func TestSecretAcrossBuffers(t *testing.T) {
	testenv.Slow(t)
	const secret = "correct-horse-battery-staple"
	s, err := OpenSecrets(t.Context(), []string{"id=x,env=X", "id=y,env=Y"}, nil, func(name string) string {
		return map[string]string{"X": secret, "Y": "horse-"}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, chunk := range []int{50, 999, 4096, maxPartial + 100} {
		t.Run(fmt.Sprint("pieces of ", chunk), func(t *testing.T) {
			// An incomplete line is emitted when it is longer than this, at the end of a piece.
			limit := maxPartial + len(secret)
			boundary := (limit/chunk + 1) * chunk
			for shift := -3; shift < 2*len(secret); shift += 5 {
				before := boundary - shift
				var out []byte
				w := newWatcher(image.ID{Name: "nova"}, func(e build.Event) {
					if e.Kind == build.EventLog {
						out = append(out, e.Data...)
					}
				})
				w.secrets = s
				line := strings.Repeat("-", before) + secret + strings.Repeat("=", maxPartial/2) + secret
				now := time.Now()
				v := &client.Vertex{Digest: digest.FromString("step"), Name: "RUN x", Started: &now}
				w.handle(&client.SolveStatus{Vertexes: []*client.Vertex{v}})
				for rest := []byte(line); len(rest) > 0; {
					n := min(chunk, len(rest))
					w.handle(&client.SolveStatus{Logs: []*client.VertexLog{{Vertex: v.Digest, Data: rest[:n]}}})
					rest = rest[n:]
				}
				ended := *v
				ended.Completed = &now
				w.handle(&client.SolveStatus{Vertexes: []*client.Vertex{&ended}})
				for _, part := range []string{secret[:6], secret[len(secret)-6:], "horse-", "battery"} {
					if bytes.Contains(out, []byte(part)) {
						t.Fatalf("with %d bytes before it, %q is in the output", before, part)
					}
				}
				if got := bytes.Count(out, []byte("=")); got != maxPartial/2 {
					t.Fatalf("%d bytes of the line are left", got)
				}
			}
		})
	}
}
