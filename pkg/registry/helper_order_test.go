package registry

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A look-up that ended before all helpers were asked is not remembered as "no login".
func TestInterruptedLookUpIsNoAnswer(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	for _, name := range []string{"DOCKER_CONFIG", "DOCKER_AUTH_CONFIG", "REGISTRY_AUTH_FILE",
		"XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"} {
		t.Setenv(name, "")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := newCredentials([]string{filesHelper, "none"})
	if found, err := c.find(ctx, "registry.example", "kolla/base"); !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, %v", found, err)
	}
	_, _ = c.files() // goes on after the look-up, and must not read what later tests set
}

// A look-up whose context ends while the logins are read does not take them from later ones, and
// a pipe is read once.
func TestInterruptedReadingOfLogins(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "auth.json")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("REGISTRY_AUTH_FILE", pipe)
	c := newCredentials(nil)
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := c.find(ended, "registry.example", "kolla/base"); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if err := os.WriteFile(pipe, []byte(`{"auths":{"registry.example":{"auth":"YWRhOnMzY3JldA=="}}}`), 0); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if found, err := c.find(t.Context(), "registry.example", "kolla/base"); found.Username != "ada" || err != nil {
			t.Errorf("after that: %+v, %v", found, err)
		}
	}
}
