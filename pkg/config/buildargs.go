package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// argName matches the names of build arguments that Dockerfiles can refer to.
var argName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// argPair matches a part of build arguments that begins like a pair, and its name.
var argPair = regexp.MustCompile(`^\s*([A-Za-z_][A-Za-z0-9_]*)\s*[:=]`)

// hostAndPort matches a host with a port, which looks like a pair. Names of arguments have capitals or
// underscores.
var hostAndPort = regexp.MustCompile(`^\s*[a-z0-9.-]+:[0-9]{2,5}\s*$`)

const noProxyHint = "a value has no commas: export no_proxy=HOST,HOST instead; " +
	"steps get the proxy variables of the environment"

// dictHint returns the hint for build arguments that are not key:value pairs.
func dictHint(value string) string {
	parts := strings.Split(value, ",")
	for i, part := range parts {
		if name, text, ok := strings.Cut(part, "="); ok && !strings.Contains(name, ":") {
			parts[i] = name + ":" + text
		}
	}
	corrected := strings.Join(parts, ",")
	args, err := parseDict(corrected)
	switch {
	case noProxyList(value):
		return noProxyHint
	case corrected != value && err == nil && len(unusableArgs(args)) == 0:
		return fmt.Sprintf("write %s; pairs are separated by commas", corrected)
	}
	return "write key:value pairs with commas between them"
}

// noProxyList reports whether build arguments set no_proxy to more than one host: whether no
// pair follows its comma, or one that is a host and a port.
func noProxyList(value string) bool {
	_, isList := afterNoProxy(value)
	return isList
}

// afterNoProxy returns what follows the first host of no_proxy if that is a host as well.
func afterNoProxy(value string) (part string, isHost bool) {
	inNoProxy := false
	for part := range strings.SplitSeq(value, ",") {
		pair := argPair.FindStringSubmatch(part)
		if inNoProxy && (pair == nil || hostAndPort.MatchString(part)) {
			return strings.TrimSpace(part), true
		}
		inNoProxy = pair != nil && strings.EqualFold(pair[1], "no_proxy")
	}
	return "", false
}

// unusableArgs returns the names of build arguments that Dockerfiles cannot refer to.
func unusableArgs(args map[string]string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(args)), argName.MatchString)
}

// checkBuildArgs warns of build arguments that Dockerfiles cannot refer to, and of a port that is
// the value of an argument. They are no errors, as the Python tool and container engines accept them.
func (l *loader) checkBuildArgs() {
	g := l.lastOf("build-args")
	unusable := unusableArgs(l.c.BuildArgs)
	if len(unusable) == 0 {
		if host, found := afterNoProxy(g.text); found {
			problem := fmt.Sprintf("%q is an argument, not a host of no_proxy", host)
			l.warnings = append(l.warnings, Warning(*g.err("build-args", problem, noProxyHint)))
		}
		return
	}
	hint := "a value has no commas, and names consist of letters, digits and underscores"
	if noProxyList(g.text) {
		hint = noProxyHint
	}
	message := fmt.Sprintf("Dockerfiles cannot refer to an argument named %q", unusable[0])
	if n := len(unusable) - 1; n > 0 {
		message += fmt.Sprintf(" (and %d more)", n)
	}
	l.warnings = append(l.warnings, Warning(*g.err("build-args", message, hint)))
}
