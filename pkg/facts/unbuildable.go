package facts

import (
	"slices"
	"strings"
)

// Target has the settings that decide whether an image can be built.
type Target struct {
	OpenStack   string // OpenStack release
	Distro      string
	BaseTag     string // tag of the base image
	Arch        string // x86_64 or aarch64
	InstallType string // binary or source
	BuiltIn     bool   // the templates are the built-in ones
}

// Unbuildable returns the images that cannot be built for a target, with the reason.
// Their descendants cannot be built either and are not listed.
func Unbuildable(t Target) map[string]string {
	release, _ := LookupRelease(t.OpenStack)
	marks, _ := parse("data/unbuildable.conf")
	entries := slices.Clone(marks.Entries)
	for _, r := range slices.Backward(release.chain()) {
		entries = append(entries, r.unbuildable...)
	}
	type mark struct{ image, condition string }
	var order []mark
	reasons := map[mark]string{}
	for _, e := range entries {
		m := mark{e.Section, e.Key}
		if _, seen := reasons[m]; !seen {
			order = append(order, m)
		}
		reasons[m] = e.Value
	}
	distro, _ := LookupDistro(t.Distro)
	words := []string{
		"any", t.Distro, distro.PackageType, release.DistroRelease(t.Distro, t.BaseTag).Name, t.Arch, t.InstallType,
	}
	if t.BuiltIn {
		words = append(words, "builtin")
	}
	images := map[string]string{}
	for _, m := range order {
		if _, marked := images[m.image]; !marked && reasons[m] != "" && conditionHolds(m.condition, words) {
			images[m.image] = reasons[m]
		}
	}
	return images
}

// conditionHolds reports whether all words of a condition such as "deb+binary" describe the
// target.
func conditionHolds(condition string, words []string) bool {
	for word := range strings.SplitSeq(condition, "+") {
		if !slices.Contains(words, word) {
			return false
		}
	}
	return true
}
