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
	"debian": {[]string{"/usr/share/keyrings/debian-archive-keyring.pgp", "/usr/share/keyrings/debian-archive-keyring.gpg"},
		"apt-get install debian-archive-keyring"},
	"ubuntu": {[]string{"/usr/share/keyrings/ubuntu-archive-keyring.gpg"},
		"apt-get install ubuntu-archive-keyring (Debian) or ubuntu-keyring (Ubuntu), or copy the file from an Ubuntu host"},
}

// findKeyring returns the file with the keys of the archive on this host.
func findKeyring(opts Options, a archive) (string, error) {
	if opts.Keyring != "" {
		info, err := os.Stat(opts.Keyring)
		if err == nil && !info.Mode().IsRegular() {
			err = errors.New(opts.Keyring + " is not a regular file")
		}
		if err != nil {
			return "", usererr.Errorf("set a file of OpenPGP keys with kolla-build bootstrap --keyring FILE", "reading the keyring: %w", err)
		}
		if strings.ContainsAny(opts.Keyring, " \t\n[],") {
			return "", fmt.Errorf("keyring %q: apt does not support names with spaces, brackets or commas", opts.Keyring)
		}
		return filepath.Abs(opts.Keyring)
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
	return "", usererr.Errorf(keyrings[opts.Distro].install+"; then run again, or set the file with kolla-build bootstrap --keyring FILE",
		"the keys of the archive of %s are not on this host: no %s", opts.Distro, files[len(files)-1])
}
