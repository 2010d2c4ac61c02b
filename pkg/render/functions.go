package render

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/facts"
	"github.com/kolla-build/kolla-build/pkg/jinja"
)

// newEnvironment returns an environment with Kolla's filters and functions for the
// templates of a loader, and the repositories of t.
func newEnvironment(t *Tree, loader jinja.Loader) *jinja.Environment {
	return jinja.New(jinja.Config{
		Loader:  loader,
		Filters: map[string]jinja.Func{"customizable": customizable},
		Globals: kollaFunctions(t),
	})
}

// kollaFunctions are the functions that templates can call.
func kollaFunctions(t *Tree) map[string]any {
	return map[string]any{
		"handle_repos":           jinja.Func(t.handleRepos),
		"debian_package_install": jinja.Func(debianPackageInstall),
		"raise_error":            jinja.Func(raiseError),
	}
}

// params binds a call's arguments to names, like Python. Missing arguments are not in
// the result.
func params(call *jinja.Call, function string, names ...string) (map[string]any, error) {
	out := map[string]any{}
	if len(call.Args) > len(names) {
		return nil, fmt.Errorf("%s takes up to %d arguments: %s", function, len(names), strings.Join(names, ", "))
	}
	for i, a := range call.Args {
		out[names[i]] = a
	}
	for k, v := range call.Kwargs {
		if _, ok := out[k]; ok {
			return nil, fmt.Errorf("%s got argument %q twice", function, k)
		}
		known := false
		for _, n := range names {
			known = known || n == k
		}
		if !known {
			s := fmt.Sprintf("%s has no argument %q", function, k)
			if hint := didYouMean(k, names); hint != "" {
				s += " (" + hint + ")"
			}
			return nil, errors.New(s)
		}
		out[k] = v
	}
	return out, nil
}

// isText reports whether a value is a string, whose items are its letters.
func isText(v any) bool {
	_, ok := text(v)
	return ok
}

// variableError is a wrong value of a variable that an override sets.
type variableError struct {
	name string
	err  error
}

func (e *variableError) Error() string { return e.name + " " + e.err.Error() }

func notAList(name string, v any) error {
	if s, ok := text(v); ok {
		return &variableError{name, fmt.Errorf("must be a list, not the string %q: write ['%s']", s, s)}
	}
	return &variableError{name, fmt.Errorf("must be a list, not %s", describeValue(v))}
}

// checkItems returns an error for an item that is a list or none among those of an override, if the
// template's own items are texts: the template would write it as Python's list or "None". A template
// with other items of its own, or with none, may do something else with them.
func checkItems(name string, own, items []any) error {
	if len(own) == 0 || slices.ContainsFunc(own, func(item any) bool { return !isText(item) }) {
		return nil
	}
	for _, item := range items {
		if _, isList := item.(*jinja.List); isList || item == nil {
			return &variableError{name, fmt.Errorf("has %s among its items", describeValue(item))}
		}
	}
	return nil
}

// customizable is the filter by which templates let users change a list: VALUE |
// customizable(KIND). If the variable IMAGE_KIND_override is set, it is the result.
// Otherwise the items of IMAGE_KIND_append are added to the list, and the first
// occurrence of each item of IMAGE_KIND_remove is removed. IMAGE is the image's name
// with underscores. A string in place of a list is an error: its letters would be the
// items.
func customizable(call *jinja.Call) (any, error) {
	arg, err := params(call, "customizable", "list", "call_type")
	if err != nil {
		return nil, err
	}
	value := arg["list"]
	if jinja.IsUndefined(value) {
		// An override file can be for several distributions and install types, some of
		// which lack the list.
		return value, nil
	}
	kind, ok := text(arg["call_type"])
	if !ok {
		return nil, errors.New(`customizable needs the kind of list as its argument, such as customizable("packages")`)
	}
	image, _ := call.Lookup("image_name")
	imageName, ok := text(image)
	if !ok {
		return nil, errors.New("customizable needs the variable image_name, which is not set")
	}
	prefix := strings.ReplaceAll(imageName, "-", "_") + "_" + kind + "_"
	list, isList := value.(*jinja.List)
	if v, ok := call.Lookup(prefix + "override"); ok {
		if s, isText := text(v); isList && isText && s != "" {
			return nil, notAList(prefix+"override", v)
		}
		if items, ok := call.Items(v); ok && isList {
			return v, checkItems(prefix+"override", list.Items, items)
		}
		return v, nil
	}
	appended, appends := call.Lookup(prefix + "append")
	removed, removes := call.Lookup(prefix + "remove")
	if !appends && !removes {
		return value, nil
	}
	if !isList {
		return nil, fmt.Errorf("customizable(%q) applies to a list, not to %s", kind, describeValue(value))
	}
	if appends {
		add, ok := call.Items(appended)
		if !ok || isText(appended) {
			return nil, notAList(prefix+"append", appended)
		}
		if err := checkItems(prefix+"append", list.Items, add); err != nil {
			return nil, err
		}
		list.Items = append(list.Items, add...)
	}
	if removes {
		drop, ok := call.Items(removed)
		if !ok || isText(removed) {
			return nil, notAList(prefix+"remove", removed)
		}
		for _, d := range drop {
			call.Use(d)
			for i, v := range list.Items {
				if equal(v, d) {
					list.Items = append(list.Items[:i:i], list.Items[i+1:]...)
					break
				}
			}
		}
	}
	return list, nil
}

// debianPackageInstall returns the commands that install packages, by name or by the
// URL of a .deb file, which apt-get cannot download.
func debianPackageInstall(call *jinja.Call) (any, error) {
	arg, err := params(call, "debian_package_install", "packages", "clean_package_cache")
	if err != nil {
		return nil, err
	}
	packages, ok := call.Items(arg["packages"])
	if _, isText := text(arg["packages"]); isText || !ok {
		return nil, fmt.Errorf("debian_package_install needs a list of packages, not %s", describeValue(arg["packages"]))
	}
	clean := true
	if v, ok := arg["clean_package_cache"]; ok {
		clean = truth(v)
	}
	var names, urls, commands []string
	for _, p := range packages {
		s, ok := text(p)
		switch {
		case !ok:
			return nil, fmt.Errorf("debian_package_install needs names of packages, not %s", describeValue(p))
		case strings.HasPrefix(s, "http"):
			urls = append(urls, s)
		default:
			names = append(names, s)
		}
	}
	if len(names) > 0 {
		commands = append(commands, "apt-get --error-on=any update",
			"apt-get -y install --no-install-recommends "+strings.Join(names, " "))
		if clean {
			commands = append(commands, "apt-get clean", "rm -rf /var/lib/apt/lists/*")
		}
	}
	for _, u := range urls {
		file := u[strings.LastIndexByte(u, '/')+1:]
		commands = append(commands, "curl --location "+u+" -o "+file, "dpkg -i "+file, "rm -rf "+file)
	}
	return strings.Join(commands, " && "), nil
}

// raiseError ends rendering with a message of the template.
func raiseError(call *jinja.Call) (any, error) {
	arg, err := params(call, "raise_error", "msg")
	if err != nil {
		return nil, err
	}
	s, ok := text(arg["msg"])
	if !ok {
		s = "raise_error was called without a message"
	}
	return nil, errors.New(s)
}

// handleRepos returns the RUN line that enables or disables repositories of repos.yaml
// for the base distribution and architecture, "" if there is nothing to do.
func (t *Tree) handleRepos(call *jinja.Call) (any, error) {
	arg, err := params(call, "handle_repos", "reponames", "mode")
	if err != nil {
		return nil, err
	}
	list, ok := arg["reponames"].(*jinja.List)
	if !ok {
		return nil, fmt.Errorf("handle_repos needs a list of repositories, not %s", describeValue(arg["reponames"]))
	}
	var names []string
	for _, v := range list.Items {
		s, ok := text(v)
		if !ok {
			return nil, fmt.Errorf("handle_repos needs names of repositories, not %s", describeValue(v))
		}
		names = append(names, s)
	}
	mode, _ := text(arg["mode"])
	if mode != "enable" && mode != "disable" {
		return nil, errors.New(`handle_repos needs "enable" or "disable" as its second argument`)
	}
	get := func(name string) string {
		v, _ := call.Lookup(name)
		s, _ := text(v)
		return s
	}
	release, _ := facts.LookupRelease(get("openstack_release"))
	p := platform{
		packageType: get("base_package_type"),
		distro:      get("base_distro"),
		arch:        get("base_arch"),
		codename:    get("openstack_release_codename"),
		release:     get("base_release"),
		replacesWhole: t.ownRepos &&
			release.WholeRepositories(),
	}
	def, user, err := t.reposFor(p.distro, get("base_distro_tag"), get("repos_yaml"))
	if err != nil {
		return nil, err
	}
	if t.repos.legacy() {
		if user != nil {
			def = user
		}
		return legacyRepoCommand(def, names, mode == "enable", p)
	}
	set, err := t.repositories(def, user, p)
	if err != nil {
		return nil, err
	}
	return repoCommand(set, names, mode == "enable", p)
}

// reposFor returns the default repositories and those of the user's file, nil if path
// is "". Only the configured file is read: a template cannot select another one by
// setting repos_yaml.
func (t *Tree) reposFor(distro, tag, path string) (def, user *repoFile, err error) {
	def = t.defaultRepos(distro, tag)
	t.mu.Lock()
	user = t.overrides[path]
	t.mu.Unlock()
	if path != "" && user == nil {
		return nil, nil, fmt.Errorf(
			"repos_yaml is %q, which is not the file of --repos-yaml: a template cannot choose the file", path)
	}
	if def == nil {
		def = &repoFile{name: "repos.yaml", sections: map[string]*repoSection{}}
	}
	return def, user, nil
}
