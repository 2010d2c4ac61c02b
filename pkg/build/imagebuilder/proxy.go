package imagebuilder

import (
	"regexp"

	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
)

// proxyVariables are passed on to builds, as upstream does. They change how
// something is fetched and not what, so they are in no key and in no image.
var proxyVariables = []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "FTP_PROXY", "ftp_proxy", "NO_PROXY", "no_proxy"}

// ProxyArgs returns the build arguments that the environment's proxy variables
// stand for.
func ProxyArgs(getenv func(string) string) map[string]string {
	args := map[string]string{}
	for _, name := range proxyVariables {
		if v := getenv(name); v != "" {
			args[name] = v
		}
	}
	return args
}

var runInstruction = regexp.MustCompile(`(?mi)^\s*RUN\s`)

func hasRun(d buildkit.Dockerfile) bool { return runInstruction.Match(d.Content) }
