package pipeline

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// typeVariable is the variable of images that has the install type.
const typeVariable = "KOLLA_INSTALL_TYPE="

// warnOtherType warns if names that the run changes are now those of images of the
// other install type: like with Kolla's tool, the default tag is the same for both.
func (s *session) warnOtherType(p *planned) {
	var names []string
	other := ""
	for _, it := range p.plan.Items {
		e, ok, err := s.store.Lookup(it.Reference)
		if err != nil || !ok || e.Digest == it.Digest || slices.Contains(names, it.Reference) {
			continue
		}
		if t := installType(s.store, e); t != "" && t != s.cfg.InstallType {
			names, other = append(names, it.Reference), t
		}
	}
	if len(names) == 0 {
		return
	}
	what := names[0] + " names"
	if len(names) > 1 {
		what = fmt.Sprintf("%s and %s name", names[0], units.Count(len(names)-1, "other tag"))
	}
	s.console.Notice("warning: %s %s images, and this run replaces them with %s images; another --tag or --namespace keeps both", what, other, s.cfg.InstallType)
}

// installType returns the install type of a stored image, "" if it has none.
func installType(s *store.Store, e store.Entry) string {
	img, err := s.Image(e.Digest)
	if err != nil {
		return ""
	}
	conf, err := img.ConfigFile()
	if err != nil {
		return ""
	}
	for _, v := range conf.Config.Env {
		if t, ok := strings.CutPrefix(v, typeVariable); ok {
			return t
		}
	}
	return ""
}
