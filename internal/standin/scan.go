package standin

import (
	"os"
	"regexp"
	"slices"
	"strings"
)

// InstalledBy returns the arguments that a rendered Dockerfile passes to a command,
// such as the packages for kolla_apt_install, without options and URLs, sorted, each
// once. $NAME is replaced from env; arguments with an unknown name are omitted.
func InstalledBy(dockerfile, command string, env map[string]string) []string {
	call := regexp.MustCompile(`(?m)(?:^|\s)` + regexp.QuoteMeta(command) + `[ \t]+([^&|;\n]*)`)
	var out []string
	for _, m := range call.FindAllStringSubmatch(joined(dockerfile), -1) {
		for _, word := range strings.Fields(m[1]) {
			known := true
			word = os.Expand(word, func(name string) string {
				v, ok := env[name]
				known = known && ok
				return v
			})
			if known && !strings.HasPrefix(word, "-") && !strings.ContainsAny(word, ":/") {
				out = append(out, word)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Env returns the variables that the ENV instructions of a rendered Dockerfile set,
// without those whose values are in quotes.
func Env(dockerfile string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(joined(dockerfile)) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != "ENV" {
			continue
		}
		for _, w := range words[1:] {
			if k, v, ok := strings.Cut(w, "="); ok && !strings.HasPrefix(v, "\"") {
				out[k] = v
			}
		}
	}
	return out
}

// joined returns a Dockerfile with each instruction on one line and without the
// comments within RUN instructions.
func joined(dockerfile string) string {
	var lines []string
	for line := range strings.Lines(dockerfile) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			lines = append(lines, strings.TrimRight(line, "\n"))
		}
	}
	return strings.ReplaceAll(strings.Join(lines, "\n"), "\\\n", " ")
}
