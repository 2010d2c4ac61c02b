package pipeline

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/suggest"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/imageset"
)

// checkEarly finds what can be found wrong before anything is read, fetched or
// written: an hour into a build is late for a directory that cannot be written.
func checkEarly(cfg *config.Config, env Env) error {
	if _, err := imageset.Platforms(cfg); err != nil {
		return err
	}
	if _, err := sourceDateEpoch(env); err != nil {
		return err
	}
	if strings.Trim(cfg.Namespace, "/") == "" {
		return &HintError{errors.New("the namespace is empty: the images' names need one"), "--namespace NAME"}
	}
	if err := oneOf("--network_mode", cfg.NetworkMode, "host", "none", "default", "bridge"); err != nil {
		return err
	}
	if scheme, _, found := strings.Cut(cfg.BuildkitAddr, "://"); cfg.BuildkitAddr != "" {
		if !found {
			return &HintError{fmt.Errorf("--buildkit-addr %s: there is no scheme in it", cfg.BuildkitAddr), "such as unix:///run/buildkit/buildkitd.sock or tcp://HOST:1234"}
		}
		if err := oneOf("--buildkit-addr "+cfg.BuildkitAddr+": the scheme", scheme, "unix", "tcp", "docker-container", "podman-container", "nerdctl-container", "kube-pod", "ssh", "npipe"); err != nil {
			return err
		}
	}
	if cfg.BuildkitAddr == "" && strings.Contains(cfg.Buildkitd, "/") {
		if st, err := os.Stat(cfg.Buildkitd); err != nil || st.IsDir() {
			return &HintError{fmt.Errorf("--buildkitd %s: there is no such program", cfg.Buildkitd), "without it, the one beside kolla-build or on PATH is started"}
		}
	}
	return checkPatches(cfg)
}

// checkPatches finds a --patches-path that is none: nothing would be patched,
// and nobody told.
func checkPatches(cfg *config.Config) error {
	if cfg.PatchesPath == "" {
		return nil
	}
	if st, err := os.Stat(cfg.PatchesPath); err != nil || !st.IsDir() {
		return &HintError{fmt.Errorf("--patches-path %s: there is no such directory", cfg.PatchesPath), "it holds a directory for each image that is patched"}
	}
	return nil
}

func oneOf(what, value string, choices ...string) error {
	if slices.Contains(choices, value) {
		return nil
	}
	hint := ""
	if n := suggest.Nearest(value, choices); n != "" {
		hint = fmt.Sprintf("did you mean %s?", n)
	}
	err := fmt.Errorf("%s %s is not one of %s", what, value, strings.Join(choices, ", "))
	if hint == "" {
		return err
	}
	return &HintError{err, hint}
}

// checkLogs sees to it that logs can be written.
func checkLogs(cfg *config.Config) error {
	if cfg.LogsDir == "" {
		return nil
	}
	if err := writableDir(cfg.LogsDir); err != nil {
		return fmt.Errorf("--logs-dir %s: %w", cfg.LogsDir, err)
	}
	return nil
}

// writableDir makes a directory, and a file in it for a moment.
func writableDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return reason(err)
	}
	f, err := os.CreateTemp(dir, ".kolla-build-*")
	if err != nil {
		return reason(err)
	}
	f.Close()
	return os.Remove(f.Name())
}

// reason is an error of a file without the operation and the path, which are
// said already.
func reason(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
