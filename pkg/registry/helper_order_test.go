package registry

import (
	"context"
	"errors"
	"testing"
)

// A look-up that ended before all helpers were asked is not remembered as "no login".
func TestInterruptedLookUpIsNoAnswer(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	for _, name := range []string{"DOCKER_CONFIG", "DOCKER_AUTH_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"} {
		t.Setenv(name, "")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := &credentials{helpersInOrder: []string{filesHelper, "none"}}
	if found, err := c.find(ctx, "registry.example", "kolla/base"); !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, %v", found, err)
	}
}
