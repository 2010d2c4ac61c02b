package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/kolla-build/kolla-build/pkg/imageref"
)

// registriesConf is the configuration of registries for podman and skopeo: mirrors,
// other locations, and insecure registries.
type registriesConf struct {
	registries []registryConf // the longest prefix first
	helpers    []string       // where to look for logins, in order; empty: files only
}

// registriesFile is a registries.conf file.
type registriesFile struct {
	Registry []registryConf `toml:"registry"`
	Helpers  []string       `toml:"credential-helpers"`
	// The form of version 1, of containers-common before 2020.
	Old struct {
		Insecure struct {
			Registries []string `toml:"registries"`
		} `toml:"insecure"`
		Block struct {
			Registries []string `toml:"registries"`
		} `toml:"block"`
	} `toml:"registries"`
}

func (c *registriesConf) has(prefix string) bool {
	return slices.ContainsFunc(c.registries, func(r registryConf) bool { return r.Prefix == prefix })
}

// add adds entries, the longest prefix first.
func (c *registriesConf) add(entries ...registryConf) {
	c.registries = append(c.registries, entries...)
	slices.SortFunc(c.registries, func(a, b registryConf) int {
		if d := len(b.Prefix) - len(a.Prefix); d != 0 {
			return d
		}
		return strings.Compare(a.Prefix, b.Prefix)
	})
}

// registryConf is a [[registry]] table. See containers-registries.conf(5).
type registryConf struct {
	Prefix             string       `toml:"prefix"`
	Location           string       `toml:"location"`
	Insecure           bool         `toml:"insecure"`
	Blocked            bool         `toml:"blocked"`
	MirrorByDigestOnly bool         `toml:"mirror-by-digest-only"`
	Mirrors            []mirrorConf `toml:"mirror"`
}

type mirrorConf struct {
	Location       string `toml:"location"`
	Insecure       bool   `toml:"insecure"`
	PullFromMirror string `toml:"pull-from-mirror"` // "all", "digest-only", "tag-only"
}

// RegistriesConfError reports that a registries.conf file cannot be used.
type RegistriesConfError struct {
	Path string
	Err  error
}

// Error implements error.
func (e *RegistriesConfError) Error() string { return fmt.Sprintf("reading %s: %v", e.Path, e.Err) }

// Unwrap returns the cause.
func (e *RegistriesConfError) Unwrap() error { return e.Err }

// Hint returns a hint for the user.
func (e *RegistriesConfError) Hint() string {
	return "correct it, or name another file with the environment variable CONTAINERS_REGISTRIES_CONF"
}

// BlockedError reports that registries.conf blocks a registry.
type BlockedError struct{ Name string }

// Error implements error.
func (e *BlockedError) Error() string { return fmt.Sprintf("%s: registries.conf blocks it", e.Name) }

// Hint returns a hint for the user.
func (e *BlockedError) Hint() string {
	return "use another registry, or remove `blocked` from its entry"
}

// readRegistriesConf reads the configuration of podman and skopeo: one file, and those of
// the directories registries.conf.d, in which an entry replaces an earlier file's of the
// same prefix. The system's directory does not count beside a registries.conf of the user.
func readRegistriesConf(ctx context.Context, etc string) (*registriesConf, error) {
	home, _ := os.UserHomeDir()
	userDir := os.Getenv("XDG_CONFIG_HOME")
	if userDir == "" && home != "" {
		userDir = filepath.Join(home, ".config")
	}
	named := os.Getenv("CONTAINERS_REGISTRIES_CONF")
	files, dirs := []string{named}, []string{etc, userDir}
	if named == "" {
		files = []string{filepath.Join(etc, "containers", "registries.conf")}
		if user := filepath.Join(userDir, "containers", "registries.conf"); userDir != "" && exists(user) {
			files, dirs = []string{user}, []string{userDir}
		}
	}
	for _, dir := range dirs {
		if dir == "" {
			continue
		}
		dropIns, err := fs.Glob(os.DirFS(dir), "containers/registries.conf.d/*.conf")
		if err != nil {
			return nil, err
		}
		for _, name := range dropIns { // sorted
			files = append(files, filepath.Join(dir, name))
		}
	}
	conf := &registriesConf{}
	byPrefix := map[string]registryConf{}
	for _, path := range files {
		content, err := readRegistriesFile(ctx, path)
		if err != nil {
			if path != named && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) {
				continue
			}
			return nil, &RegistriesConfError{Path: path, Err: err}
		}
		// Of several entries for a prefix in one file, the first counts, as in podman and skopeo.
		for _, e := range slices.Backward(content.Registry) {
			byPrefix[e.Prefix] = e
		}
		if content.Helpers != nil {
			conf.helpers = content.Helpers
		}
	}
	conf.add(slices.Collect(maps.Values(byPrefix))...)
	return conf, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// maxRegistriesConf is the size in bytes of the largest registries.conf. The parser of TOML
// takes a hundred times the size of a dotted key, and compares each key with all others.
const maxRegistriesConf = 256 << 10

func readRegistriesFile(ctx context.Context, path string) (registriesFile, error) {
	b, err := readConfigFile(ctx, path)
	if err != nil {
		return registriesFile{}, err
	}
	return parseRegistriesConf(b)
}

func parseRegistriesConf(b []byte) (registriesFile, error) {
	fail := func(err error) (registriesFile, error) { return registriesFile{}, err }
	if len(b) > maxRegistriesConf {
		return fail(fmt.Errorf("it is larger than %d bytes", maxRegistriesConf))
	}
	var content registriesFile
	if err := toml.Unmarshal(b, &content); err != nil {
		var mistake *toml.DecodeError
		if errors.As(err, &mistake) {
			row, column := mistake.Position()
			return fail(fmt.Errorf("line %d, column %d: %w", row, column, err))
		}
		return fail(err)
	}
	old := map[string]registryConf{}
	for _, host := range content.Old.Block.Registries {
		old[host] = registryConf{Prefix: host, Blocked: true}
	}
	for _, host := range content.Old.Insecure.Registries {
		old[host] = registryConf{Prefix: host, Blocked: old[host].Blocked, Insecure: true}
	}
	for _, host := range slices.Sorted(maps.Keys(old)) {
		content.Registry = append(content.Registry, old[host])
	}
	for i := range content.Registry {
		r := &content.Registry[i]
		if r.Prefix == "" {
			r.Prefix = r.Location
		}
		if r.Location == "" && !strings.HasPrefix(r.Prefix, "*.") {
			r.Location = r.Prefix
		}
		r.Prefix, r.Location = strings.TrimRight(r.Prefix, "/"), strings.TrimRight(r.Location, "/")
		if r.Prefix == "" {
			return fail(fmt.Errorf("registry %d has neither a prefix nor a location", i+1))
		}
		for j, m := range r.Mirrors {
			if m.Location == "" {
				return fail(fmt.Errorf("mirror %d of %s has no location", j+1, r.Prefix))
			}
			switch m.PullFromMirror {
			case "", "all", "digest-only", "tag-only":
			default:
				return fail(fmt.Errorf("mirror %s of %s: pull-from-mirror is %q; expected all, digest-only or tag-only",
					m.Location, r.Prefix, m.PullFromMirror))
			}
			r.Mirrors[j].Location = strings.TrimRight(m.Location, "/")
		}
	}
	return content, nil
}

// eachLocation calls visit for each registry or path in one that the configuration names, with
// whether it may be used without a verified certificate.
func (c *registriesConf) eachLocation(visit func(location string, insecure bool)) {
	for _, r := range c.registries {
		switch {
		case r.Location == "":
			visit(r.Prefix, r.Insecure) // all hosts of a domain
		case r.Location != r.Prefix && !r.Insecure:
			visit(r.Prefix, false) // images are pushed to it
			visit(r.Location, false)
		default:
			visit(r.Location, r.Insecure)
		}
		for _, m := range r.Mirrors {
			visit(m.Location, m.Insecure)
		}
	}
}

// check returns a *BlockedError for a repository or registry that is blocked.
func (c *registriesConf) check(name string) error {
	for _, r := range c.registries {
		if _, ok := r.match(name); ok {
			if r.Blocked {
				return &BlockedError{Name: name}
			}
			return nil
		}
	}
	return nil
}

// sources returns the locations from which an image is pulled, in the order of preference:
// mirrors, then its own location. If that is blocked, mirrors are used, and it is refused.
func (c *registriesConf) sources(ref imageref.Ref) ([]imageref.Ref, error) {
	for _, r := range c.registries {
		rest, ok := r.match(ref.String())
		if !ok {
			continue
		}
		var out []imageref.Ref
		for _, m := range r.Mirrors {
			byDigest := ref.Digest() != ""
			onlyDigests := r.MirrorByDigestOnly || m.PullFromMirror == "digest-only"
			if onlyDigests && !byDigest || m.PullFromMirror == "tag-only" && byDigest {
				continue
			}
			source, err := imageref.Parse(m.Location + rest)
			if err != nil {
				return nil, fmt.Errorf("mirror %s in registries.conf: %w", m.Location, err)
			}
			out = append(out, source)
		}
		source := ref
		if r.Location != "" && r.Location != r.Prefix && !r.Blocked {
			var err error
			if source, err = imageref.Parse(r.Location + rest); err != nil {
				return nil, fmt.Errorf("location %s in registries.conf: %w", r.Location, err)
			}
		}
		return append(out, source), nil
	}
	return []imageref.Ref{ref}, nil
}

// match reports whether an entry applies to a reference or a registry, and the rest of the
// reference after the entry's prefix.
func (r registryConf) match(full string) (rest string, ok bool) {
	if domain, wildcard := strings.CutPrefix(r.Prefix, "*"); wildcard {
		before, rest, found := strings.Cut(full, domain)
		return rest, found && !strings.Contains(before, "/") && (rest == "" || strings.ContainsRune("/:@", rune(rest[0])))
	}
	rest, ok = strings.CutPrefix(full, r.Prefix)
	return rest, ok && (rest == "" || strings.ContainsRune("/:@", rune(rest[0]))) && !hostContinues(r.Prefix, rest)
}

// hostContinues reports whether the prefix is a host and the reference continues with a
// port, which makes it another registry.
func hostContinues(prefix, rest string) bool {
	return !strings.Contains(prefix, "/") && strings.HasPrefix(rest, ":") && strings.Contains(rest, "/")
}
