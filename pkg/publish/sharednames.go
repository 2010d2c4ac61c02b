package publish

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// typeVariable is the variable of images that has the install type.
const typeVariable = "KOLLA_INSTALL_TYPE="

// WarnOtherType warns if names that a plan changes belong to images of another install
// type, because the default tag is the same for both, as in Kolla's tool.
func WarnOtherType(con *console.Console, s *store.Store, p *plan.Plan, installType string) {
	var names []string
	other := ""
	for _, it := range p.Items {
		e, ok, err := s.Lookup(it.Reference)
		if err != nil || !ok || e.Digest == it.Digest || slices.Contains(names, it.Reference) {
			continue
		}
		if t := installTypeOf(s, e); t != "" && t != installType {
			names, other = append(names, it.Reference), t
		}
	}
	if len(names) == 0 {
		return
	}
	subject := names[0] + " names"
	if len(names) > 1 {
		subject = fmt.Sprintf("%s and %s name", names[0], units.Count(len(names)-1, "other tag"))
	}
	con.Notice("warning: %s %s images, and this run replaces them with %s images; another --tag or --namespace keeps both",
		subject, other,
		installType)
}

// installTypeOf returns the install type of a stored image, "" if it has none.
func installTypeOf(s *store.Store, e store.Entry) string {
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
