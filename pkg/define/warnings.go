package define

import (
	"fmt"
	"strings"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/image"
)

// LintWarnings returns the warnings of BuildKit's linter about an image, with their places
// in templates and overrides.
func (im *Image) LintWarnings() []string {
	if im == nil {
		return nil
	}
	var warnings []string
	for _, w := range im.Warnings {
		text := w.String()
		if file, line := im.PlaceOf(w.Line); file != "" {
			text = fmt.Sprintf("%s:%d: %s", file, line, text)
		}
		warnings = append(warnings, text)
	}
	return warnings
}

// maxWarned is how many images a warning names.
const maxWarned = 3

// LintWarnings returns the warnings about images, each once: the lines of macros and overrides
// are in several images.
func LintWarnings(images []*Image) []string {
	var order []string
	imagesByText := map[string][]image.ID{}
	for _, im := range images {
		for _, text := range im.LintWarnings() {
			if imagesByText[text] == nil {
				order = append(order, text)
			}
			imagesByText[text] = append(imagesByText[text], im.ID)
		}
	}
	for i, text := range order {
		var names []string
		ids := imagesByText[text]
		for _, id := range ids[:min(len(ids), maxWarned)] {
			names = append(names, id.String())
		}
		if more := len(ids) - maxWarned; more > 0 {
			names = append(names, units.Count(more, "other image"))
		}
		order[i] = fmt.Sprintf("warning: %s (%s)", text, strings.Join(names, ", "))
	}
	return order
}
