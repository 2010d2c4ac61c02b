package bootstrap

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// keyrings are where the distributions' packages put their archive's keys, in
// the order of preference; the packages are for the error.
var keyrings = map[string]struct {
	files    []string
	packages string
}{
	"debian": {[]string{"/usr/share/keyrings/debian-archive-keyring.pgp", "/usr/share/keyrings/debian-archive-keyring.gpg"},
		"apt-get install debian-archive-keyring"},
	"ubuntu": {[]string{"/usr/share/keyrings/ubuntu-archive-keyring.gpg"},
		"it is in the package ubuntu-keyring on Ubuntu, ubuntu-archive-keyring on Debian releases that have it; or copy it from an Ubuntu host"},
}

// findKeyring returns the file with the archive's keys on this host.
func findKeyring(opts Options, a archive) (string, error) {
	if opts.Keyring != "" {
		if _, err := os.Stat(opts.Keyring); err != nil {
			return "", &Error{Detail: "keyring", Err: err, Hint: "give a file of OpenPGP keys with --keyring FILE"}
		}
		if strings.ContainsAny(opts.Keyring, " \t\n[],") {
			return "", &Error{Detail: fmt.Sprintf("keyring %q: apt cannot take a name with spaces, brackets or commas", opts.Keyring)}
		}
		return filepath.Abs(opts.Keyring)
	}
	files := keyrings[opts.Distro].files
	if a.keyring != "" {
		files = append([]string{a.keyring}, files...)
	}
	for _, f := range files {
		// The .pgp name is new; on older hosts only the other one is there.
		path := filepath.Join(opts.Root, f)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", &Error{
		Detail: fmt.Sprintf("the keys of %s's archive are not on this host: there is no %s", opts.Distro, files[len(files)-1]),
		Hint:   keyrings[opts.Distro].packages + "; then run again, or give the file with --keyring FILE",
	}
}
