package hostile

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/config"
)

// variables are those that the program, its libraries or git read. Those that say where this test
// finds files are not among them.
var variables = []string{
	"HOME", "TMPDIR", "PATH", "LANG", "LC_ALL", "TZ", "TERM", "COLUMNS", "LINES", "NO_COLOR", "CLICOLOR_FORCE", "CI",
	"GITHUB_ACTIONS", "USER", "SHELL", "PWD",
	"http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "no_proxy", "NO_PROXY", "SSL_CERT_FILE",
	"SSL_CERT_DIR",
	"DOCKER_CONFIG", "DOCKER_HOST", "DOCKER_AUTH_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "CONTAINER_HOST",
	"BUILDKIT_HOST", "REGISTRY_AUTH_FILE",
	"CONTAINERS_REGISTRIES_CONF", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_DATA_HOME",
	"SOURCE_DATE_EPOCH",
	"SSH_AUTH_SOCK", "SSH_ASKPASS", "GIT_SSH_COMMAND", "GIT_DIR", "GIT_WORK_TREE", "GIT_CONFIG_COUNT",
	"GIT_CONFIG_GLOBAL", "GIT_PROXY_COMMAND", "GIT_TRACE",
	"GIT_EXEC_PATH", "GIT_TEMPLATE_DIR", "GIT_ASKPASS", "GIT_CURL_VERBOSE", "GIT_ALLOW_PROTOCOL", "GOMAXPROCS",
	"GODEBUG",
	"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_EXPORTER", "NOTIFY_SOCKET", "LISTEN_FDS",
	"KOLLA_BUILD_NO_SUCH_OPTION", "KOLLA_BUILD_CONFIG_FILE", "KOLLA_BUILD_CONFIG_DIR",
}

// environmentCase runs a command that starts no builder with arbitrary variables.
func environmentCase(rnd *rand.Rand, env *environment) hostileCase {
	c := planWithSource("[base-plugin-x]\ntype = git\nlocation = http://" + env.server + "/x.git\nreference = master\n")
	if rnd.IntN(2) == 0 {
		c.args = pick(rnd, [][]string{
			{"images"}, {"lint", "--images-dir", "tree"}, {"render", "-b", "debian", "--images-dir", "tree", "base"},
			{"version"}, {"help", "build"},
			{"--show-config"}, {"gc"}, {"save", "--output", "out.tar"}, {"diff", "healthy-a:1", "healthy-b:1"},
			{"diff", env.server + "/x:a", env.server + "/x:b", "--timeout", "2"},
			{"load", "nothing.tar"}, {"logs"}, {"inventory", "--output", "out.json"}, {"completion", "bash"},
			{"contract", "healthy-a:1"},
		})
	}
	c.kind = "environment"
	options := config.Options()
	for range 1 + rnd.IntN(6) {
		name := pick(rnd, variables)
		if rnd.IntN(4) == 0 {
			o := pick(rnd, options)
			if strings.HasSuffix(o.Name, "dir") || strings.HasSuffix(o.Name, "file") ||
				strings.Contains(o.Name, "output") || o.Name == "engine" {
				continue // they say where files are
			}
			name = "KOLLA_BUILD_" + strings.ToUpper(strings.ReplaceAll(o.Name, "-", "_"))
		}
		value := strings.ReplaceAll(pick(rnd, values), "\x00", "")
		switch rnd.IntN(4) {
		case 0:
			value = pick(rnd, []string{
				"/dev/null", "/dev/zero", "/nonexistent", "/proc/self/mem", "fifo", "/dev/full", "1", "999999999", "-1",
				"1e9", "0x7fffffffffffffff", "http://" + env.server, "socks5://127.0.0.1:1", "unix:///dev/null",
				"tcp://" + env.server, "://", "%zz", "{}", strings.Repeat("[", 100_000),
			})
		case 1:
			value = strings.Repeat(pick(rnd, []string{"a", "a,", "/", ":", "\u202e", "\x1b[2J", "*."}), 1+rnd.IntN(30_000))
		}
		if name == "PATH" {
			value += ":" + os.Getenv("PATH") // this test needs it too
		}
		if name == "TMPDIR" && !filepath.IsAbs(value) {
			continue // relative to a directory in which nothing may be written
		}
		c.env = append(c.env, name+"="+value)
	}
	return c
}

// largeFileCase runs the program with a large file that a user may name or another may have
// written.
func largeFileCase(rnd *rand.Rand, env *environment) hostileCase {
	size := pick(rnd, []int{100 << 10, 250 << 10, 1000 << 10, 3 << 20, 15 << 20, 63 << 20})
	var kind string
	var s shape
	c := planWithSource("[base-plugin-x]\ntype = url\nlocation = http://" + env.server + "/x.git\n")
	reads := [][]string{{"diff", env.server + "/x:a", env.server + "/x:b", "--timeout", "2"}}
	kind = pick(rnd, []string{"conf", "repos", "vars", "lock", "inventory", "auth", "registries",
		"dockerconfig", "fragment", "verify"})
	switch kind {
	case "conf":
		s = pick(rnd, iniShapes)
		reads = [][]string{{"--show-config", "--config-file", "large"},
			{"lint", "--config-file", "large", "--images-dir", "tree"}}
	case "fragment":
		s, reads = pick(rnd, iniShapes), [][]string{{"--show-config", "--config-dir", "."}}
	case "repos":
		s = pick(rnd, yamlShapes)
		reads = [][]string{{"render", "-b", "debian", "--images-dir", "tree", "--repos-yaml", "large", "base"}}
	case "vars":
		s = pick(rnd, append(yamlShapes, jsonShapes...))
		reads = [][]string{{"render", "--vars", "large", "tree/base/Dockerfile.j2"}}
	case "lock":
		s, reads = pick(rnd, tomlShapes), [][]string{{"fetch", "--lock", "large", "--output", "out-inputs", "--timeout", "2"}}
	case "inventory":
		s, reads = pick(rnd, jsonShapes), [][]string{{"save", "--since", "large", "--output", "out.tar"}}
	case "verify":
		s, reads = pick(rnd, jsonShapes), [][]string{{"verify", "large"}, {"list", "large"}, {"load", "large"}}
	case "auth":
		s, c.env = pick(rnd, jsonShapes), []string{"REGISTRY_AUTH_FILE=large"}
	case "registries":
		s, c.env = pick(rnd, tomlShapes), []string{"CONTAINERS_REGISTRIES_CONF=large"}
	case "dockerconfig":
		s, c.env = pick(rnd, jsonShapes), []string{"DOCKER_CONFIG=."}
	}
	c.kind, c.args = "large "+kind, pick(rnd, reads)
	c.title = fmt.Sprintf("%.40q, then %.40q, %d bytes", s.head, s.unit, size)
	prepare := c.prepare
	c.prepare = func(dir string) error {
		for _, name := range []string{"large", "config.json", "large.conf"} {
			if err := s.write(filepath.Join(dir, name), size); err != nil {
				return err
			}
		}
		return prepare(dir)
	}
	return c
}
