package render

import (
	"fmt"
	"strings"
)

// The files of Kolla's releases up to 2025.1 have another format, and their trees depend
// on another behaviour of handle_repos: an rpm repository is a string, the name by which
// dnf enables it; a section for the architecture replaces that of the distribution, the
// user's file replaces the default one, and a missing repository is ignored.

// legacy reports whether the file has that format.
func (f *repoFile) legacy() bool {
	if f == nil {
		return false
	}
	for _, s := range f.sections {
		for _, r := range s.repos {
			if r.isText {
				return true
			}
		}
	}
	return false
}

// legacyRepoCommand is repoCommand for such a file.
func legacyRepoCommand(f *repoFile, names []string, enable bool, target platform) (string, error) {
	section := f.sections[target.distro+"-"+target.arch]
	if section == nil {
		section = f.sections[target.distro]
	}
	if section == nil {
		return "", &RepoError{f.name, 0, fmt.Sprintf("there is no section for %s", target.distro), ""}
	}
	action := " --disable "
	if enable {
		action = " --enable "
	}
	rpm := ""
	var deb []string
	for _, name := range names {
		r := section.repos[name]
		switch {
		case r == nil:
		case target.packageType == "rpm" && !r.isText:
			return "", &RepoError{f.name, r.line,
				fmt.Sprintf("repository %q has fields, and the tree has the format of OpenStack releases until 2025.1", name),
				"write the name by which dnf enables it: " + name + ": NAME"}
		case target.packageType == "rpm":
			rpm += action + quotePattern(r.legacy)
		case target.packageType == "deb" && enable && r.isText:
			deb = append(deb, `echo "`+r.legacy+`" >/etc/apt/sources.list.d/`+name+".list")
		case target.packageType == "deb" && enable:
			deb = append(deb, r.legacyDeb(name))
		}
	}
	switch {
	case rpm != "":
		return "RUN dnf config-manager " + rpm + " || true", nil
	case len(deb) > 0:
		return "RUN " + strings.Join(deb, " && "), nil
	}
	return "", nil
}

func (r *repo) legacyDeb(name string) string {
	lines := []string{
		"Uris: " + pyStr(r.fields["url"]), "Components: " + pyStr(r.fields["component"]), "Types: deb",
		"Suites: " + pyStr(r.fields["suite"]), "Signed-By: /etc/kolla/apt-keys/" + pyStr(r.fields["gpg_key"]),
	}
	if arch := r.fields["arch"]; pyTrue(arch) {
		lines = append(lines, "Architectures: "+pyStr(arch))
	}
	return echoLines("/etc/apt/sources.list.d/"+name+".sources", lines)
}
