package standin

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// RPM is a package for all architectures with no scripts.
type RPM struct {
	Name    string
	Version string            // VERSION-RELEASE, "" is RPMVersion
	Files   map[string]string // by path without the leading slash; modes as in Deb
}

// RPMVersion is the version of stand-in RPM packages.
const RPMVersion = "99-1"

// WriteRPMs makes a repository in dir with Debian's rpmbuild and createrepo_c. All
// packages come from one spec file, because starting rpmbuild is slow.
func WriteRPMs(dir string, packages ...RPM) error {
	top, err := os.MkdirTemp("", "standin-rpm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(top)
	root := filepath.Join(top, "root")
	spec := bytes.NewBufferString(
		"Name: standin\nVersion: 99\nRelease: 1\nSummary: stand-ins\nLicense: none\nBuildArch: noarch\n" +
			"%description\nstand-ins\n%install\nmkdir -p %{buildroot}\ncp -r " + root + "/. %{buildroot}\n")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	for _, p := range packages {
		version, release, _ := strings.Cut(p.Version, "-")
		if p.Version == "" {
			version, release, _ = strings.Cut(RPMVersion, "-")
		}
		fmt.Fprintf(spec, `%%package -n %[1]s
Version: %[2]s
Release: %[3]s
Summary: stand-in for %[1]s
%%description -n %[1]s
stand-in
%%files -n %[1]s
`, p.Name, version, release)
		for name, text := range p.Files {
			file := filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(file, []byte(text), os.FileMode(modeOf(name))); err != nil {
				return err
			}
			fmt.Fprintf(spec, "/%s\n", name)
		}
	}
	file := filepath.Join(top, "standin.spec")
	if err := os.WriteFile(file, spec.Bytes(), 0o644); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"rpmbuild", "-bb", "--quiet", "--define", "_topdir " + top, "--define", "_rpmdir " + dir, file},
		{"createrepo_c", "--quiet", dir},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("making stand-in RPM packages: %s: %w\n%s", args[0], err, out)
		}
	}
	return nil
}

// RPMRepo returns a .repo file for the repository. Nothing in it is signed.
func (s *Server) RPMRepo(ids ...string) string {
	var b strings.Builder
	for _, id := range ids {
		fmt.Fprintf(&b, "[%[1]s]\nname=%[1]s\nbaseurl=%[2]s/rpm\nenabled=1\ngpgcheck=0\n", id, s.URL())
	}
	return b.String()
}
