package imagebuilder

import (
	"regexp"

	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
)

// proxyVariables are passed on to builds, as upstream does. They affect how something
// is fetched but not the result, so they are not part of keys or images.
var proxyVariables = []string{
	"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "FTP_PROXY", "ftp_proxy", "NO_PROXY", "no_proxy",
}

// ProxyArgs returns the environment's proxy variables as build arguments.
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
