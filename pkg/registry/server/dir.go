package server

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

const (
	// lockFile is in the registry's directory, beside the distribution's own tree.
	lockFile = ".kolla-build-registry.lock"
	// treeDir is the directory in which the distribution stores everything.
	treeDir = "docker/registry/v2"
)

// checkDir rejects a directory with other content than a registry's, so that a mistyped
// path is neither filled nor cleaned. used reports whether a registry has used it.
func checkDir(dir string) (used bool, err error) {
	names, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, &DirError{Dir: dir, Err: err}
	}
	if info, err := os.Lstat(filepath.Join(dir, lockFile)); err == nil && info.Mode().IsRegular() {
		return true, nil
	}
	for _, n := range names {
		switch name := n.Name(); {
		case name == "docker":
			if !onlyRegistry(filepath.Join(dir, name)) {
				return false, &DirError{Dir: dir, Foreign: "docker/ without a registry"}
			}
			used = true
		// Files that an administrator may have put there before the first start.
		case name == "lost+found", strings.Contains(name, "htpasswd"),
			strings.HasSuffix(name, ".crt"), strings.HasSuffix(name, ".key"), strings.HasSuffix(name, ".pem"):
		default:
			return false, &DirError{Dir: dir, Foreign: name}
		}
	}
	return used, nil
}

// onlyRegistry reports whether a directory contains the tree of a registry, as the
// distribution makes it, and nothing else. Docker itself and the packages of its registry
// have directories of the same name.
func onlyRegistry(docker string) bool {
	for _, want := range []string{"registry", "v2"} {
		names, err := os.ReadDir(docker)
		if err != nil || len(names) != 1 || names[0].Name() != want {
			return false
		}
		docker = filepath.Join(docker, want)
	}
	names, err := os.ReadDir(docker)
	if err != nil {
		return false
	}
	for _, n := range names {
		if n.Name() != "blobs" && n.Name() != "repositories" {
			return false
		}
	}
	return true
}
