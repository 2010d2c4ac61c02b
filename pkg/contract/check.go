package contract

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/inspect"
)

// status is the status of a row.
type status string

// Statuses of rows.
const (
	statusHeld   status = "held"
	statusFailed status = "failed"
	statusExempt status = "exempt" // it failed, and an exception gives the reason
	statusAbsent status = "n/a"    // it is for another distribution, or the image has nothing to check
)

// result is a checked row.
type result struct {
	Kind   Kind   `json:"kind"`
	Value  string `json:"value"`
	Status status `json:"status"`
	Detail string `json:"detail,omitempty"` // why it failed or is exempt
}

// checkImage checks an image against a table: first the rules for all images, then the rows.
func checkImage(im *imageView, t *Table, exceptions []Exception) []result {
	rows := t.Rows(im.Name)
	c := checker{im: im, conditions: im.conditions()}
	for _, r := range rows {
		c.collect(r)
	}
	var out []result
	add := func(r Row, s status, err error) {
		res := result{Kind: r.Kind, Value: r.Value, Status: s}
		if err != nil {
			res.Status, res.Detail = statusFailed, err.Error()
			for _, e := range exceptions {
				if e.matches(im.Name, c.conditions, r) {
					res.Status, res.Detail = statusExempt, e.Reason
					break
				}
			}
		}
		out = append(out, res)
	}
	if words := slices.Concat(im.config.Entrypoint, im.config.Cmd); len(words) > 0 {
		add(Row{Kind: KindCommand, Value: strings.Join(words, " ")}, statusHeld, c.start(words))
	}
	if im.user.uid < 0 {
		add(Row{Kind: KindUser, Value: im.config.User}, statusHeld,
			fmt.Errorf("the image runs as %s, which is not in /etc/passwd", im.config.User))
	}
	for _, p := range c.allPrograms() {
		add(Row{Kind: KindProgram, Value: p}, statusHeld, im.runnable(p))
	}
	applies := func(condition string) bool { return c.conditions[strings.TrimSpace(condition)] }
	for _, r := range rows {
		if len(r.When) > 0 && !slices.ContainsFunc(r.When, applies) {
			add(r, statusAbsent, nil)
			continue
		}
		if r.Kind == KindClean {
			for _, f := range im.clean(r) {
				add(f.row, statusHeld, f.err)
			}
			continue
		}
		status, err := c.row(r)
		add(r, status, err)
	}
	return out
}

// checker is the state of Check.
type checker struct {
	im            *imageView
	conditions    map[string]bool
	providedPaths []string // paths that the deployment provides
	scripts       string   // the texts of all start scripts
}

// collect records the paths that the deployment provides according to a row.
func (c *checker) collect(r Row) {
	switch r.Kind {
	case KindConfig:
		if _, dest, ok := strings.Cut(r.Value, " -> "); ok {
			dest, _, _ = strings.Cut(dest, " ")
			c.providedPaths = append(c.providedPaths, path.Clean(dest))
		}
	case KindVolume:
		if dest := mountPoint(r.Value); strings.HasPrefix(dest, "/") && dest != "/run" && dest != "/dev" {
			c.providedPaths = append(c.providedPaths, path.Clean(dest))
		}
	}
}

// provided reports whether the deployment provides a path or a directory above it.
func (c *checker) provided(name string) bool {
	return slices.ContainsFunc(c.providedPaths, func(g string) bool {
		ok, _ := path.Match(g, name)
		return ok || strings.HasPrefix(name, g+"/")
	})
}

// mountPoint returns where a volume is mounted.
func mountPoint(volume string) string {
	parts := strings.Split(volume, ":")
	if len(parts) > 1 && strings.HasPrefix(parts[1], "/") {
		return parts[1]
	}
	return parts[0]
}

// start checks the command that a container starts with.
func (c *checker) start(words []string) error {
	for i, w := range words {
		if i > 0 && words[i-1] != "--" {
			continue
		}
		if err := c.program(program{name: w}); err != nil {
			return err
		}
	}
	return nil
}

// allPrograms returns the files in the directories of PATH that can be executed. A
// directory is read once even if PATH also contains a link to it.
func (c *checker) allPrograms() []string {
	var out []string
	seen := map[string]bool{}
	for _, dir := range c.im.searchPath {
		real, _, failure := c.im.lookup(dir)
		if failure != "" || seen[real] {
			continue
		}
		seen[real] = true
		for _, name := range c.im.dirs[real] {
			p := "/" + real + "/" + name
			if _, e, failure := c.im.lookup(p); failure == "" && e.Type != inspect.Dir && e.Mode&0o111 != 0 {
				out = append(out, p)
			}
		}
	}
	return out
}

func (c *checker) program(p program) error {
	if c.provided(p.name) {
		return nil
	}
	user := c.im.user
	if p.root {
		user = account{name: "root"}
	}
	found, err := c.im.which(p.name, user)
	if err != nil {
		return err
	}
	return c.im.runnable(found)
}

func (c *checker) row(row Row) (status, error) {
	switch row.Kind {
	case KindCommand, KindExec, KindHealthcheck:
		for _, p := range programs(row.Value) {
			if err := c.program(p); err != nil {
				return statusHeld, err
			}
		}
		return statusHeld, nil
	case KindFile, KindDirectory:
		return statusHeld, c.path(row)
	case KindConfig:
		_, rest, ok := strings.Cut(row.Value, " -> ")
		if !ok || strings.Contains(row.Value, "<") {
			return statusAbsent, nil
		}
		dest, attributes := attributesOf(rest)
		if err := c.owner(attributes["owner"]); err != nil {
			return statusHeld, err
		}
		return statusHeld, c.canExist(path.Dir(strings.TrimRight(dest, "/")))
	case KindVolume:
		dest := mountPoint(row.Value)
		if !strings.HasPrefix(dest, "/") || strings.Contains(dest, "<") {
			return statusAbsent, nil
		}
		if _, _, failure := c.im.lookup(dest); failure == "" {
			return statusHeld, nil
		}
		return statusHeld, c.canExist(dest)
	case KindUser:
		return statusHeld, c.user(row.Value)
	case KindEnv:
		return statusHeld, c.variable(row.Value)
	case KindLabel:
		// The deployment sets labels of its own, which the image need not have.
		name, want, _ := strings.Cut(row.Value, "=")
		if strings.ToUpper(name) == name {
			return statusAbsent, nil
		}
		if got, ok := c.im.config.Labels[name]; !ok || want != "" && got != want {
			return statusHeld, fmt.Errorf("label %s is %q", name, got)
		}
		return statusHeld, nil
	case KindModule:
		kind, module, _ := strings.Cut(row.Value, ":")
		switch kind {
		case "ansible":
			return statusHeld, c.im.hasAnsibleModule(module)
		case "wsgi", "python":
			module, name, _ := strings.Cut(module, ":")
			return statusHeld, c.im.hasModule(module, name)
		}
		return statusHeld, fmt.Errorf("unknown kind of module %q", kind)
	}
	return statusAbsent, nil
}

// attributesOf splits "PATH owner=… perm=… …".
func attributesOf(value string) (string, map[string]string) {
	words := strings.Fields(value)
	attributes := map[string]string{}
	for _, w := range words[min(1, len(words)):] {
		k, v, _ := strings.Cut(w, "=")
		attributes[k] = v
	}
	return fieldAt(words, 0), attributes
}

// owner checks that a USER[:GROUP] exists.
func (c *checker) owner(owner string) error {
	if owner == "" || strings.Contains(owner, "<") {
		return nil
	}
	user, group, _ := strings.Cut(owner, ":")
	if _, ok := c.im.users[user]; !ok {
		return fmt.Errorf("no user %s", user)
	}
	if group == "" {
		return nil
	}
	if _, ok := c.im.groups[group]; !ok {
		return fmt.Errorf("no group %s", group)
	}
	return nil
}

func (c *checker) canExist(dir string) error {
	if ok, failure := c.im.canMake(dir); !ok {
		return errors.New(failure)
	}
	return nil
}

// path checks a file or a directory. A path with an owner is created or changed by the
// deployment when the container starts, so only the account and the directory have to
// exist. With exists, or without an owner, the file itself has to exist.
func (c *checker) path(r Row) error {
	name, attributes := attributesOf(r.Value)
	if strings.Contains(name, "<") {
		return nil
	}
	if err := c.owner(attributes["owner"]); err != nil {
		return err
	}
	if _, exists := attributes["exists"]; exists {
		return c.attributes(name, attributes)
	}
	if attributes["owner"] != "" || r.Kind == KindDirectory {
		if r.Kind == KindFile {
			name = path.Dir(name)
		}
		if strings.ContainsAny(name, "*?[") {
			return nil
		}
		return c.canExist(name)
	}
	fromEngine := []string{"/proc", "/run", "/sys", "/var/run", "/etc/localtime", "/etc/timezone"}
	if c.provided(name) || slices.Contains(fromEngine, name) {
		return nil
	}
	if len(c.im.glob(name)) == 0 {
		_, _, failure := c.im.lookup(name)
		if failure == "" {
			failure = name + " does not exist"
		}
		return errors.New(failure)
	}
	return nil
}

// attributes checks owner and mode of a path that exists.
func (c *checker) attributes(name string, want map[string]string) error {
	_, e, failure := c.im.lookup(name)
	if failure != "" {
		return errors.New(failure)
	}
	if owner := want["owner"]; owner != "" {
		user, group, _ := strings.Cut(owner, ":")
		if uid := c.im.users[user].uid; e.UID != uid {
			return fmt.Errorf("%s has owner %d, not %d (%s)", name, e.UID, uid, user)
		}
		if group != "" && c.im.groups[group].gid != e.GID {
			return fmt.Errorf("%s has group %d, not %d (%s)", name, e.GID, c.im.groups[group].gid, group)
		}
	}
	if perm := want["perm"]; perm != "" {
		mode, err := strconv.ParseInt(perm, 8, 64)
		if err != nil {
			return fmt.Errorf("perm=%s is not an octal number", perm)
		}
		if int64(e.Mode) != mode {
			return fmt.Errorf("%s has mode %04o, not %04o", name, e.Mode, mode)
		}
	}
	return nil
}

// user checks NAME[:UID[:GID]].
func (c *checker) user(value string) error {
	f := strings.Split(value, ":")
	if strings.Contains(f[0], "<") {
		return nil
	}
	if uid := fieldAt(f, 1); uid == "" {
		// A deployment also uses names of groups as users.
		_, isUser := c.im.users[f[0]]
		_, isGroup := c.im.groups[f[0]]
		if !isUser && !isGroup {
			return fmt.Errorf("no user %s", f[0])
		}
		return nil
	}
	a, ok := c.im.users[f[0]]
	if !ok {
		return fmt.Errorf("no user %s", f[0])
	}
	if got := strconv.Itoa(a.uid); got != f[1] {
		return fmt.Errorf("user %s has id %s, not %s", f[0], got, f[1])
	}
	if want := fieldAt(f, 2); want != "" && want != strconv.Itoa(a.gid) {
		return fmt.Errorf("user %s has group %d, not %s", f[0], a.gid, want)
	}
	return nil
}

// variable checks that the image sets a variable or that one of its scripts reads it. The
// deployment sets the value.
func (c *checker) variable(value string) error {
	name, _, _ := strings.Cut(value, "=")
	if _, ok := c.im.env[name]; ok {
		return nil
	}
	if strings.HasPrefix(name, "uwsgi:") || outsideVariable(name) {
		return nil
	}
	if c.scripts == "" {
		var b strings.Builder
		for _, pattern := range []string{"/usr/local/bin/*", "/usr/local/lib/kolla/*", "/usr/local/lib/neutron-wrappers/*"} {
			for _, f := range c.im.glob(pattern) {
				b.WriteString(c.im.text(f))
				b.WriteByte('\n')
			}
		}
		c.scripts = b.String()
	}
	if strings.Contains(c.scripts, name) {
		return nil
	}
	// ENABLE_NAME is read by a loop over NAMEs.
	if rest, ok := strings.CutPrefix(name, "ENABLE_"); ok && strings.Contains(c.scripts, rest) {
		return nil
	}
	return fmt.Errorf("no start script reads %s, and the image does not set it", name)
}

// outsideVariable reports whether programs read a variable themselves.
func outsideVariable(name string) bool {
	switch name {
	case "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "LIBGUESTFS_BACKEND", "DUMMY_ENVIRONMENT",
		"http_proxy", "https_proxy", "no_proxy",
		"KOLLA_SERVICE_NAME", "KOLLA_NAME", "KOLLA_IMAGE", "OS_NEUTRON_CONFIG_FILES", "KOLLA_BOOTSTRAP_STATUS":
		return true
	}
	for _, prefix := range []string{"OS_", "ETCD_", "ETCDCTL_", "PCMK_", "OVN_", "ANSIBLE_", "MYSQL_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return name == "AVAILABLE_WHEN_DONOR"
}
