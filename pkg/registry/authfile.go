package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/pkg/imageref"
)

// maxConfigFile is the size in bytes of the largest file with logins, certificates or
// settings that is read.
const maxConfigFile = 4 << 20

// authFile is a file with logins: Docker's config.json, Podman's auth.json.
type authFile struct {
	path    string
	entries map[string]login  // by REGISTRY or REGISTRY/PATH
	helpers map[string]string // credential helpers by registry
	store   string            // the credential helper for all others, or ""
}

// authPath is a file that may contain logins.
type authPath struct {
	path     string
	explicit bool // the user named it, so it must exist
	legacy   bool // it contains only the entries
}

// authPaths lists where docker, podman and skopeo keep logins. A file that the user
// named replaces the others.
func authPaths() []authPath {
	if path := os.Getenv("REGISTRY_AUTH_FILE"); path != "" {
		return []authPath{{path: path, explicit: true}}
	}
	home, _ := os.UserHomeDir()
	var paths []authPath
	add := func(legacy bool, dir string, parts ...string) {
		if dir != "" {
			paths = append(paths, authPath{path: filepath.Join(append([]string{dir}, parts...)...), legacy: legacy})
		}
	}
	if dir := os.Getenv("DOCKER_CONFIG"); dir != "" {
		add(false, dir, "config.json")
	} else {
		add(false, home, ".docker", "config.json")
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		add(false, dir, "containers", "auth.json")
	} else {
		add(false, "/run/containers", strconv.Itoa(os.Getuid()), "auth.json")
	}
	if dir := os.Getenv("XDG_CONFIG_HOME"); dir != "" {
		add(false, dir, "containers", "auth.json")
	} else {
		add(false, home, ".config", "containers", "auth.json")
	}
	add(true, home, ".dockercfg")
	return paths
}

// readAuthFiles reads all logins, in order of precedence. As podman and skopeo do, it reads
// nothing but the file that REGISTRY_AUTH_FILE names; docker knows only DOCKER_AUTH_CONFIG
// and the file below DOCKER_CONFIG, in this order.
func readAuthFiles(ctx context.Context) ([]authFile, error) {
	var files []authFile
	if text := os.Getenv("DOCKER_AUTH_CONFIG"); text != "" && os.Getenv("REGISTRY_AUTH_FILE") == "" {
		const source = "the environment variable DOCKER_AUTH_CONFIG"
		f, err := parseAuthFile(source, []byte(text), false)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	for _, p := range authPaths() {
		b, err := readConfigFile(ctx, p.path)
		if err != nil {
			// Services without a home directory use root's.
			unreadable := errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EISDIR)
			if !p.explicit && unreadable {
				continue
			}
			return nil, &CredentialsError{Source: p.path, Err: err}
		}
		f, err := parseAuthFile(p.path, b, p.legacy)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// readConfigFile reads a file of up to maxConfigFile bytes. It may be a named pipe, such as
// the one of <(COMMAND) in a shell, or /dev/null.
func readConfigFile(ctx context.Context, path string) ([]byte, error) {
	b, err := inputfile.Read(ctx, path, maxConfigFile)
	var large *inputfile.TooLargeError
	if errors.As(err, &large) {
		return nil, fmt.Errorf("it is larger than %d bytes", maxConfigFile)
	}
	return b, inputfile.WithoutPath(err) // callers name the file
}

// authEntry is a login as files have it.
type authEntry struct {
	Auth          string `json:"auth"` // base64 of USER:PASSWORD
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

func parseAuthFile(source string, b []byte, legacy bool) (authFile, error) {
	fail := func(err error) (authFile, error) { return authFile{}, &CredentialsError{Source: source, Err: err} }
	var content struct {
		Auths       map[string]authEntry `json:"auths"`
		CredHelpers map[string]string    `json:"credHelpers"`
		CredsStore  string               `json:"credsStore"`
	}
	var err error
	if len(strings.TrimSpace(string(b))) == 0 {
		return authFile{path: source}, nil
	}
	if legacy {
		err = json.Unmarshal(b, &content.Auths)
	} else {
		err = json.Unmarshal(b, &content)
	}
	if err != nil {
		return fail(jsonError(err))
	}
	f := authFile{path: source, entries: map[string]login{}, helpers: map[string]string{}, store: content.CredsStore}
	for _, key := range slices.Sorted(maps.Keys(content.Auths)) {
		e := content.Auths[key]
		l := login{Username: e.Username, Password: e.Password, IdentityToken: e.IdentityToken, RegistryToken: e.RegistryToken}
		if e.Auth != "" {
			if l.Username, l.Password, err = decodeAuth(e.Auth); err != nil {
				return fail(fmt.Errorf("entry %q: %w", key, err))
			}
		}
		if l == (login{}) {
			continue // the login is in the credential store
		}
		if l.IdentityToken != "" {
			l.Username, l.Password = "", ""
		}
		name := entryName(key)
		if _, duplicate := f.entries[name]; duplicate && name != key {
			continue // the same registry in an older form
		}
		f.entries[name] = l
	}
	for key, helper := range content.CredHelpers {
		f.helpers[entryName(key)] = helper
	}
	return f, nil
}

// jsonError is an error of encoding/json without quotes from the file, which may be
// passwords.
func jsonError(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("it is not JSON: mistake at byte %d", syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Errorf("%q is not of the right kind", kind.Field)
	}
	return errors.New("it is not JSON")
}

func decodeAuth(s string) (user, password string, err error) {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s))
	if err != nil {
		return "", "", errors.New("its auth is not base64")
	}
	user, password, ok := strings.Cut(string(b), ":")
	if !ok {
		return "", "", errors.New("its auth is not USER:PASSWORD")
	}
	return user, strings.Trim(password, "\x00"), nil
}

// entryName normalizes the name of an entry to REGISTRY or REGISTRY/PATH. Names with a
// scheme stand for the registry, regardless of their path.
func entryName(key string) string {
	name := key
	if _, rest, ok := strings.Cut(key, "://"); ok {
		name, _, _ = strings.Cut(rest, "/")
	}
	name = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "/"), "/v1"), "/v2")
	registry, path, _ := strings.Cut(name, "/")
	if registry == "index.docker.io" || registry == "registry-1.docker.io" {
		registry = imageref.DockerHub
	}
	if path == "" {
		return registry
	}
	return registry + "/" + path
}

// find looks up a repository: its own entry, then those of its parent paths, then the
// registry's. ok reports an entry; helper is the credential helper to ask instead.
func (f authFile) find(registry, path string) (found login, helper string, ok bool) {
	for p := path; p != ""; {
		if found, ok = f.entries[registry+"/"+p]; ok {
			return found, "", true
		}
		i := strings.LastIndexByte(p, '/')
		p = p[:max(i, 0)]
	}
	if helper, ok = f.helpers[registry]; ok {
		return login{}, helper, true
	}
	if found, ok = f.entries[registry]; ok {
		return found, "", true
	}
	return login{}, f.store, f.store != ""
}
