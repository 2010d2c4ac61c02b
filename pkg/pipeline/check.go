package pipeline

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/suggest"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/define"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/render"
)

// checkOptions finds mistakes in options before anything is read, fetched or
// written.
func checkOptions(cfg *config.Config) error {
	if _, err := imageset.Platforms(cfg); err != nil {
		return err
	}
	if strings.Trim(cfg.Namespace, "/") == "" && cfg.Registry == "" {
		return cfg.Mistake("namespace", "write --namespace NAME",
			"the namespace is empty, and images' names need one without a registry")
	}
	if err := oneOf(cfg, "network_mode", cfg.NetworkMode, "", "host", "none", "default", "bridge"); err != nil {
		return err
	}
	if scheme, _, found := strings.Cut(cfg.BuildkitAddr, "://"); cfg.BuildkitAddr != "" {
		if !found {
			return cfg.Mistake("buildkit-addr", "such as unix:///run/buildkit/buildkitd.sock or tcp://HOST:1234",
				"the address has no scheme")
		}
		schemes := []string{
			"unix", "tcp", "docker-container", "podman-container", "nerdctl-container", "kube-pod", "ssh", "npipe",
		}
		if err := oneOf(cfg, "buildkit-addr", scheme, "the scheme ", schemes...); err != nil {
			return err
		}
	}
	if cfg.BuildkitAddr == "" && strings.Contains(cfg.Buildkitd, "/") {
		if st, err := os.Stat(cfg.Buildkitd); err != nil || st.IsDir() {
			return cfg.UsageIfTyped("buildkitd", usererr.Errorf("without it, the one beside kolla-build or on PATH is started",
				"--buildkitd %s: no such program", cfg.Buildkitd))
		}
	}
	if err := checkAddresses(cfg); err != nil {
		return err
	}
	for _, entitlement := range cfg.Allow {
		if err := oneOf(cfg, "allow", entitlement, "", buildkit.Entitlements...); err != nil {
			return err
		}
	}
	return render.CheckPatchesPath(cfg)
}

// checkAddresses finds images, URLs and addresses that can never be used.
func checkAddresses(cfg *config.Config) error {
	if err := define.CheckBaseOptions(cfg); err != nil {
		return err
	}
	// A directory is useful as $tarballs_base in locations of local sources.
	if cfg.TarballsBase != "" && !filepath.IsAbs(cfg.TarballsBase) {
		if u, err := url.Parse(cfg.TarballsBase); err != nil || u.Scheme == "" {
			return cfg.Mistake("tarballs-base", "such as https://tarballs.opendev.org", "it is not a URL")
		}
	}
	if err := define.CheckMirrors(cfg); err != nil {
		return err
	}
	usesPodman := cfg.Engine == "podman" || cfg.Origin("podman_base_url").Kind == config.OriginFlag
	if u, err := url.Parse(cfg.PodmanBaseURL); usesPodman && cfg.PodmanBaseURL != "" && (err != nil || u.Scheme == "") {
		return cfg.Mistake("podman_base_url", "unix:///PATH, tcp://HOST:PORT or ssh://USER@HOST", "it is not an address")
	}
	return nil
}

// oneOf checks that a value of an option, or a named part of it, is one of the choices.
func oneOf(cfg *config.Config, option, value, part string, choices ...string) error {
	if slices.Contains(choices, value) {
		return nil
	}
	return cfg.Mistake(option, suggest.DidYouMean(value, choices),
		fmt.Sprintf("%s%q is not one of %s", part, value, strings.Join(choices, ", ")))
}
