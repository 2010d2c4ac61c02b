package render

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// platform is the distribution, release and architecture that repositories are for.
type platform struct {
	packageType, distro, arch string
	codename                  string // of the OpenStack release
	release                   string // of the distribution
	// replacesWhole selects the rules of Kolla's 2025.2 and 2026.1: a repository replaces one of
	// a more general section as a whole, a user's file replaces the default one, and
	// enabling a repository does not remove an existing .repo file.
	replacesWhole bool
}

// sections returns the sections for the platform; later ones override earlier ones.
func (p platform) sections() []string {
	return []string{p.packageType, p.distro, p.distro + "-" + p.arch}
}

// repoSet are the repositories of a platform.
type repoSet map[string]*repo

// merge merges the sections of a platform, field by field. A repository with a location
// is not provided by the distribution, even if a more general section says so.
func (f *repoFile) merge(p platform) repoSet {
	set := repoSet{}
	for _, name := range p.sections() {
		section := f.sections[name]
		if section == nil {
			continue
		}
		for name, r := range section.repos {
			old := set[name]
			if old == nil || r.isText || old.isText || p.replacesWhole {
				set[name] = r
				continue
			}
			m := &repo{file: r.file, line: r.line, fields: maps.Clone(old.fields)}
			maps.Copy(m.fields, r.fields)
			for _, where := range []string{"baseurl", "metalink", "mirrorlist", "url"} {
				if _, ok := m.fields[where]; ok {
					delete(m.fields, "distro")
				}
			}
			set[name] = m
		}
	}
	return set
}

// over returns f with the repositories of user: within a section, a repository of the
// user replaces the one of the same name.
func (f *repoFile) over(user *repoFile) *repoFile {
	out := &repoFile{name: user.name, sections: maps.Clone(f.sections)}
	for name, s := range user.sections {
		base := out.sections[name]
		if base == nil {
			out.sections[name] = s
			continue
		}
		merged := &repoSection{line: s.line, repos: maps.Clone(base.repos)}
		maps.Copy(merged.repos, s.repos)
		out.sections[name] = merged
	}
	return out
}

// repositories returns the platform's repositories from the default file and the user's
// file, which may be nil.
func repositories(def, user *repoFile, p platform) (repoSet, error) {
	switch {
	case user == nil:
		return def.merge(p), nil
	case p.replacesWhole:
		return user.merge(p), nil
	}
	set := def.over(user).merge(p)
	if p.packageType != "rpm" {
		return set, nil
	}
	return set, checkGroups(def.merge(p), set, user)
}

// checkGroups returns an error if the user's file changes the location of a repository
// that the distribution provides and not that of others in the same .repo file:
// enabling it removes the file, and the others with it.
func checkGroups(def, set repoSet, user *repoFile) error {
	var changed []string
	groups := map[string]bool{}
	for name, r := range set {
		d := def[name]
		if d == nil || pyTrue(r.fields["distro"]) || !pyTrue(d.fields["distro"]) {
			continue
		}
		changed = append(changed, name)
		if g := d.fields["file_group"]; pyTrue(g) {
			groups[pyStr(g)] = true
		}
	}
	var unmoved []string
	for name, r := range set {
		g := r.fields["file_group"]
		if pyTrue(r.fields["distro"]) && pyTrue(g) && groups[pyStr(g)] {
			unmoved = append(unmoved, name)
		}
	}
	if len(unmoved) == 0 {
		return nil
	}
	slices.Sort(changed)
	slices.Sort(unmoved)
	return &RepoError{user.name, set[changed[0]].line, fmt.Sprintf(
		"the location of %s is set, and that of %s is not: they are in one .repo file of the distribution, "+
			"which is removed when the former is enabled",
		strings.Join(changed, ", "), strings.Join(unmoved, ", ")),
		"add a location for " + strings.Join(unmoved, ", ") + " as well"}
}

// repoCommand returns the RUN line that enables or disables repositories, "" if
// there is nothing to do.
func repoCommand(set repoSet, names []string, enable bool, p platform) (string, error) {
	var b strings.Builder
	for i, name := range names {
		r := set[name]
		if r == nil {
			return "", unknownRepo(set, name, p)
		}
		part, err := "", error(nil)
		switch {
		case p.packageType == "rpm" && enable:
			part, err = r.enableRPM(name, p)
		case p.packageType == "rpm" && pyTrue(r.fields["distro"]):
			// Upstream writes no separator between several of these.
			var real string
			if real, err = r.text(name, "name"); err == nil {
				part = "dnf config-manager --disable " + quotePattern(real) + " || true"
			}
		case p.packageType == "deb" && enable && !pyTrue(r.fields["distro"]):
			part, err = r.enableDeb(name, p)
		}
		if err != nil {
			return "", err
		}
		b.WriteString(part)
		if enable && part != "" && i < len(names)-1 {
			b.WriteString(" && ")
		}
	}
	if b.Len() == 0 {
		return "", nil
	}
	// If the last repository needs no command, upstream leaves an "&&" at the end, which
	// shells reject.
	return "RUN " + strings.TrimSuffix(b.String(), " && "), nil
}

func unknownRepo(set repoSet, name string, p platform) error {
	s := fmt.Sprintf("there is no repository %q for %s on %s", name, p.distro, p.arch)
	if hint := didYouMean(name, slices.Collect(maps.Keys(set))); hint != "" {
		return fmt.Errorf("%s (%s)", s, hint)
	}
	return fmt.Errorf("%s: it is in none of the sections %s of repos.yaml", s, strings.Join(p.sections(), ", "))
}

// text returns a field that must exist and be a string.
func (r *repo) text(name, field string) (string, error) {
	v, ok := r.fields[field]
	if !ok {
		return "", &RepoError{r.file, r.line, fmt.Sprintf("repository %q has no %s", name, field), ""}
	}
	s, ok := v.(string)
	if !ok && field != "name" && field != "component" && field != "url" {
		return "", &RepoError{
			r.file, r.line, fmt.Sprintf("%s of repository %q is %s, not a string", field, name, pyStr(v)), "put it in quotes",
		}
	}
	if !ok {
		s = pyStr(v)
	}
	return s, nil
}

// names replaces what addresses of repositories may contain.
func (p platform) names() *strings.Replacer {
	return strings.NewReplacer("{openstack_release_codename}", strings.ToLower(p.codename), "{base_release}", p.release)
}

// enableDeb returns the commands that write an apt source in the deb822 format.
func (r *repo) enableDeb(name string, p platform) (string, error) {
	field := map[string]string{}
	for _, f := range []string{"gpg_key", "suite", "component", "url"} {
		s, err := r.text(name, f)
		if err != nil {
			return "", err
		}
		field[f] = s
	}
	key := field["gpg_key"]
	if !strings.HasPrefix(key, "/") {
		key = "/etc/kolla/apt-keys/" + key
	}
	fill := p.names()
	file := "/etc/apt/sources.list.d/" + name + ".sources"
	lines := []string{
		"Uris: " + fill.Replace(field["url"]), "Components: " + field["component"], "Types: deb",
		"Suites: " + fill.Replace(field["suite"]), "Signed-By: " + key,
	}
	if pyTrue(r.fields["trusted"]) {
		lines = append(lines, "Trusted: yes")
	}
	if arch, ok := r.fields["arch"]; ok {
		lines = append(lines, "Architectures: "+pyStr(arch))
	}
	return echoLines(file, lines), nil
}

// enableRPM returns the commands that enable a repository of the distribution, or write
// a .repo file for another one.
func (r *repo) enableRPM(name string, target platform) (string, error) {
	real, err := r.text(name, "name")
	if err != nil {
		return "", err
	}
	if pyTrue(r.fields["distro"]) {
		return "dnf config-manager --enable " + quotePattern(real) + " || true", nil
	}
	lines := []string{"[" + real + "]", "name=" + real, "enabled=1"}
	for _, f := range []string{"gpgcheck", "repo_gpgcheck"} {
		if v := r.fields[f]; pyTrue(v) {
			lines = append(lines, f+"="+pyStr(v))
		}
	}
	urlField := ""
	for _, f := range []string{"baseurl", "metalink", "mirrorlist"} {
		if _, ok := r.fields[f]; ok && urlField == "" {
			urlField = f
		}
	}
	if urlField == "" {
		return "", &RepoError{r.file, r.line, fmt.Sprintf("repository %q has no baseurl, metalink or mirrorlist", name), ""}
	}
	keys, err := r.text(name, "gpgkey")
	if err != nil {
		return "", err
	}
	for i, key := range splitLines(keys) {
		if i == 0 {
			lines = append(lines, "gpgkey="+key)
		} else {
			lines = append(lines, "       "+key)
		}
	}
	place := pyStr(r.fields[urlField])
	if urlField == "baseurl" {
		if place, err = r.text(name, urlField); err != nil {
			return "", err
		}
		for _, url := range splitLines(place) {
			lines = append(lines, "baseurl="+target.names().Replace(url))
		}
	} else {
		lines = append(lines, urlField+"="+target.names().Replace(place))
	}
	write := echoLines("/etc/yum.repos.d/"+name+".repo", lines)
	if target.replacesWhole {
		return write, nil
	}
	return "grep -rlF '[" + real + "]' /etc/yum.repos.d/ 2>/dev/null | xargs -r rm -f && " + write, nil
}

// quotePattern quotes the name of a repository that is a pattern. dnf expands it; the shell
// would replace it by names of files.
func quotePattern(name string) string {
	if strings.ContainsAny(name, "*?[") {
		return "'" + name + "'"
	}
	return name
}

// echoLines returns the commands that write a file line by line.
func echoLines(file string, lines []string) string {
	parts := make([]string, len(lines))
	for i, l := range lines {
		to := ">>"
		if i == 0 {
			to = ">"
		}
		parts[i] = "echo '" + l + "' " + to + file
	}
	return strings.Join(parts, " && ")
}

// splitLines is Python's str.splitlines for the line endings that YAML allows.
func splitLines(s string) []string {
	if s == "" {
		return nil
	}
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}
