package bootstrap

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/kolla-build/kolla-build/internal/usererr"
)

// keyrings are the files in which the packages of the distributions install the keys
// of their archives, the preferred one first, and how to install them.
var keyrings = map[string]struct {
	files   []string
	install string
}{
	"debian": {
		[]string{"/usr/share/keyrings/debian-archive-keyring.pgp", "/usr/share/keyrings/debian-archive-keyring.gpg"},
		"apt-get install debian-archive-keyring",
	},
	"ubuntu": {[]string{"/usr/share/keyrings/ubuntu-archive-keyring.gpg"},
		"apt-get install ubuntu-archive-keyring (Debian) or ubuntu-keyring (Ubuntu), or copy the file from an Ubuntu host"},
}

// CheckKeyring returns the absolute path of a file that can be given to apt as a keyring. Only
// apt examines the keys.
func CheckKeyring(path string) (string, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New(path + " is not a regular file")
	}
	if err != nil {
		return "", usererr.Errorf("set a file of OpenPGP keys with kolla-build bootstrap --keyring FILE",
			"reading the keyring: %w", err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("reading the keyring: %w", err)
	}
	if strings.ContainsAny(abs, " \t\n[],") {
		return "", usererr.Errorf("copy it to another directory, or rename it",
			"keyring %q: apt does not support paths with spaces, brackets or commas", abs)
	}
	return abs, nil
}

// findKeyring returns the file with the keys of the archive on this host.
func findKeyring(opts Options, a archive) (string, error) {
	if opts.Keyring != "" {
		return CheckKeyring(opts.Keyring)
	}
	files := keyrings[opts.Distro].files
	if a.keyring != "" {
		files = append([]string{a.keyring}, files...)
	}
	for _, f := range files {
		// Older hosts do not have the file with the extension .pgp.
		path := filepath.Join(opts.Root, f)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", usererr.Errorf(keyrings[opts.Distro].install+
		"; then run again, or set the file with kolla-build bootstrap --keyring FILE",
		"the keys of the archive of %s are not on this host: no %s", opts.Distro, files[len(files)-1])
}
