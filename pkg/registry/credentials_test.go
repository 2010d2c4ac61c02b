package registry_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
)

func encoded(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Accounts that are for parts of a registry: the entry with the longest path counts, in
// every order (field case 05).
func TestPathScopedAccounts(t *testing.T) {
	testenv.Slow(t)
	users := map[string]string{"all": "p0", "team": "p1", "one": "p2"}
	host, _ := registrytest.WithTokens(t, registrytest.TokenOptions{Accounts: users, Paths: map[string][]string{
		"all": {"other/"}, "team": {"team/"}, "one": {"team/kolla/"},
	}})
	entry := func(user string) map[string]string {
		return map[string]string{"auth": encoded(user, users[user])}
	}
	auths(t, map[string]map[string]string{host: entry("all"), host + "/team": entry("team"),
		host + "/team/kolla": entry("one"), host + "/team/kolla2": entry("all")})
	for range 5 { // maps have no order
		p := push.New(registrytest.Client(t, registry.Options{}), push.Options{})
		for _, repo := range []string{"/other/base", "/team/base", "/team/kolla/base", "/team/kollax/base"} {
			if _, err := p.Push(t.Context(), host+repo, registrytest.Base(t, 100)); err != nil {
				t.Error(err)
			}
		}
		var refused *registry.UnauthorizedError
		for _, repo := range []string{"/third/base", "/team/kolla2/base"} {
			if _, err := p.Push(t.Context(), host+repo, registrytest.Base(t, 100)); !errors.As(err, &refused) {
				t.Errorf("%s: %v", repo, err)
			}
		}
	}
}

// Logins are found wherever docker, podman and skopeo keep them, the first file first.
func TestLoginFiles(t *testing.T) {
	host, _ := registrytest.WithTokens(t, registrytest.TokenOptions{Accounts: map[string]string{"ada": "s3cret"}})
	good := func(key string) string {
		return fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, key, encoded("ada", "s3cret"))
	}
	wrong := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, encoded("ada", "wrong"))
	helper := "#!/bin/sh\nread server\n[ \"$server\" = " + host + " ] || { echo 'credentials not found in native keychain'; exit 1; }\n"
	for name, c := range map[string]struct {
		files map[string]string // by path below the home directory
		env   map[string]string // HOME is replaced by the home directory
		fails string            // "" if the login is found
	}{
		"Docker": {map[string]string{".docker/config.json": good(host)}, nil, ""},
		"Docker, elsewhere": {map[string]string{"d/config.json": good(host), ".docker/config.json": wrong},
			map[string]string{"DOCKER_CONFIG": "HOME/d"}, ""},
		"Docker, with a scheme": {map[string]string{".docker/config.json": good("https://" + host)}, nil, ""},
		"Docker, an old form": {map[string]string{".docker/config.json": good("https://" + host + "/v1/")},
			nil, ""},
		"old Docker": {map[string]string{".dockercfg": fmt.Sprintf(`{%q:{"auth":%q}}`,
			"https://"+host+"/v2/", encoded("ada", "s3cret"))}, nil, ""},
		"Docker in the environment": {map[string]string{".docker/config.json": wrong},
			map[string]string{"DOCKER_AUTH_CONFIG": good(host)}, ""},
		"Podman": {map[string]string{".config/containers/auth.json": good(host)}, nil, ""},
		"Podman, while logged in": {map[string]string{"run/containers/auth.json": good(host),
			".config/containers/auth.json": wrong}, map[string]string{"XDG_RUNTIME_DIR": "HOME/run"}, ""},
		"a named file": {map[string]string{"x.json": good(host), ".docker/config.json": wrong},
			map[string]string{"REGISTRY_AUTH_FILE": "HOME/x.json"}, ""},
		"a named file and the environment": {map[string]string{"x.json": good(host)},
			map[string]string{"REGISTRY_AUTH_FILE": "HOME/x.json", "DOCKER_AUTH_CONFIG": wrong, "DOCKER_CONFIG": "HOME/d"}, ""},
		"the environment, then Docker": {map[string]string{"d/config.json": good(host),
			".config/containers/auth.json": wrong}, map[string]string{"DOCKER_AUTH_CONFIG": good("other:5000"),
			"DOCKER_CONFIG": "HOME/d"}, ""},
		"a named file without the registry": {map[string]string{"x.json": good("other:5000"),
			".docker/config.json": good(host)}, map[string]string{"REGISTRY_AUTH_FILE": "HOME/x.json",
			"DOCKER_AUTH_CONFIG": good(host)}, "requires a login"},
		"another registry in the first": {map[string]string{".docker/config.json": good("other:5000"),
			".config/containers/auth.json": good(host)}, nil, ""},
		"an empty entry in the first": {map[string]string{".docker/config.json": fmt.Sprintf(`{"auths":{%q:{}}}`,
			host), ".config/containers/auth.json": good(host)}, nil, ""},
		"a helper": {map[string]string{".docker/config.json": fmt.Sprintf(`{"credHelpers":{%q:"kbgood"}}`, host)}, nil, ""},
		"a store": {map[string]string{".docker/config.json": fmt.Sprintf(`{"credsStore":"kbgood","auths":{%q:{}}}`, host)},
			nil, ""},
		"a store that has none": {map[string]string{".docker/config.json": `{"credsStore":"kbnone"}`,
			".config/containers/auth.json": good(host)}, nil, ""},
		"an entry for a path and a helper": {map[string]string{".docker/config.json": fmt.Sprintf(`{"credHelpers":{%q:"kbnone"},"auths":{%q:{"auth":%q}}}`, host, host+"/kolla", encoded("ada", "s3cret"))}, nil, ""},
		"no file":                          {nil, nil, "requires a login"},
		"a wrong password": {map[string]string{".docker/config.json": wrong}, nil,
			"refuses the login of ada"},
		"not JSON": {map[string]string{".docker/config.json": `{"auths":{"s3cret`}, nil,
			".docker/config.json: it is not JSON"},
		"not base64":                        {map[string]string{".docker/config.json": fmt.Sprintf(`{"auths":{%q:{"auth":"s3cret!"}}}`, host)}, nil, "is not base64"},
		"a named file that does not exist":  {nil, map[string]string{"REGISTRY_AUTH_FILE": "HOME/none.json"}, "none.json"},
		"a helper that does not exist":      {map[string]string{".docker/config.json": fmt.Sprintf(`{"credHelpers":{%q:"kbmissing"}}`, host)}, nil, "docker-credential-kbmissing"},
		"a helper that is a path":           {map[string]string{".docker/config.json": fmt.Sprintf(`{"credHelpers":{%q:"../kbgood"}}`, host)}, nil, "contains a path"},
		"a helper that fails":               {map[string]string{".docker/config.json": fmt.Sprintf(`{"credHelpers":{%q:"kbfail"}}`, host)}, nil, "the keyring is locked"},
		"a helper that answers nonsense":    {map[string]string{".docker/config.json": fmt.Sprintf(`{"credHelpers":{%q:"kbnonsense"}}`, host)}, nil, "its answer is not JSON"},
		"a helper that answers without end": {map[string]string{".docker/config.json": fmt.Sprintf(`{"credHelpers":{%q:"kbendless"}}`, host)}, nil, "its answer is not JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			t.Setenv("HOME", home)
			t.Setenv("DOCKER_CONFIG", "")
			t.Setenv("PATH", filepath.Join(home, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"))
			for file, script := range map[string]string{
				"kbgood":     helper + `echo '{"Username":"ada","Secret":"s3cret"}'`,
				"kbnone":     "#!/bin/sh\necho 'credentials not found in native keychain'; exit 1",
				"kbfail":     "#!/bin/sh\necho 'the keyring is locked'; exit 1",
				"kbnonsense": "#!/bin/sh\necho hello",
				"kbendless":  "#!/bin/sh\nhead -c 20000000 /dev/zero",
			} {
				path := filepath.Join(home, "bin", "docker-credential-"+file)
				writeFile(t, path, script)
				if err := os.Chmod(path, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for file, text := range c.files {
				writeFile(t, filepath.Join(home, file), text)
			}
			for k, v := range c.env {
				t.Setenv(k, strings.ReplaceAll(v, "HOME", home))
			}
			_, err := registrytest.Client(t, registry.Options{}).Head(t.Context(), host+"/kolla/base:t")
			var missing *registry.NotFoundError
			if c.fails == "" && !errors.As(err, &missing) {
				t.Errorf("got %v", err)
			}
			if c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
				t.Errorf("got %v, expected %q", err, c.fails)
			}
			if err != nil && strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

// Files of settings may be pipes, as those of <(COMMAND) in a shell. One without a writer
// holds nothing up when the context ends, and an endless one is refused.
func TestSettingsFromPipes(t *testing.T) {
	host, _ := registrytest.WithTokens(t, registrytest.TokenOptions{Accounts: map[string]string{"ada": "s3cret"}})
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	head := func(ctx context.Context, etc string) error {
		client, err := registry.New(ctx, registry.Options{EtcDir: etc, Retries: -1})
		if err != nil {
			return err
		}
		defer client.Close()
		_, err = client.Head(ctx, host+"/kolla/base:t")
		return err
	}
	none := t.TempDir()
	t.Setenv("REGISTRY_AUTH_FILE", pipe)
	go func() {
		text := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, encoded("ada", "s3cret"))
		_ = os.WriteFile(pipe, []byte(text), 0)
	}()
	var missing *registry.NotFoundError
	if err := head(t.Context(), none); !errors.As(err, &missing) {
		t.Errorf("a login from a pipe: %v", err)
	}
	stop := errors.New("stop")
	ended := func() context.Context {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(100*time.Millisecond, func() { cancel(stop) })
		return ctx
	}
	if err := head(ended(), none); !errors.Is(err, stop) {
		t.Errorf("a pipe without a writer: %v", err)
	}
	t.Setenv("REGISTRY_AUTH_FILE", "/dev/zero")
	if err := head(t.Context(), none); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("an endless file: %v", err)
	}
	t.Setenv("REGISTRY_AUTH_FILE", os.DevNull)
	for _, name := range []string{"containers/registries.conf", "docker/daemon.json",
		"docker/certs.d/" + host + "/ca.crt"} {
		etc := t.TempDir()
		path := filepath.Join(etc, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), syscall.Mkfifo(path, 0o600)); err != nil {
			t.Fatal(err)
		}
		var refused *registry.CertificateFileError
		if err := head(ended(), etc); !errors.Is(err, stop) && !errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A credential helper is asked once, however many repositories there are.
func TestHelperIsAskedOnce(t *testing.T) {
	host, _ := registrytest.WithTokens(t, registrytest.TokenOptions{Accounts: map[string]string{"ada": "s3cret"}})
	dir := t.TempDir()
	path := filepath.Join(dir, "docker-credential-kbcount")
	writeFile(t, path, "#!/bin/sh\necho x >>"+filepath.Join(dir,
		"count")+"\necho '{\"Username\":\"ada\",\"Secret\":\"s3cret\"}'\n")
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("DOCKER_CONFIG", dir)
	writeFile(t, filepath.Join(dir, "config.json"), `{"credsStore":"kbcount"}`)
	var names []string
	for i := range 40 {
		names = append(names, fmt.Sprintf("%s/kolla/image-%d:t", host, i))
	}
	for _, r := range registrytest.Client(t, registry.Options{}).Heads(t.Context(), names) {
		var missing *registry.NotFoundError
		if !errors.As(r.Err, &missing) {
			t.Fatal(r.Err)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "count"))
	if err != nil || len(b) != 2 {
		t.Errorf("asked %d times (%v)", len(b)/2, err)
	}
}
