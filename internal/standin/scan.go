package standin

import (
	"regexp"
	"slices"
	"strings"
)

// InstalledBy returns the words that a rendered Dockerfile hands to a command,
// such as the packages that kolla_apt_install shall install, without options
// and addresses; sorted, each once.
func InstalledBy(dockerfile, command string) []string {
	// A RUN goes over many lines, with comments between them.
	var lines []string
	for line := range strings.Lines(dockerfile) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			lines = append(lines, strings.TrimRight(line, "\n"))
		}
	}
	text := strings.ReplaceAll(strings.Join(lines, "\n"), "\\\n", " ")
	call := regexp.MustCompile(`(?m)(?:^|\s)` + regexp.QuoteMeta(command) + `[ \t]+([^&|;\n]*)`)
	var out []string
	for _, m := range call.FindAllStringSubmatch(text, -1) {
		for _, word := range strings.Fields(m[1]) {
			if !strings.HasPrefix(word, "-") && !strings.ContainsAny(word, ":/$") {
				out = append(out, word)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
