package jinja

import (
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/method"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// UndefinedUse is an undefined name, attribute or item whose value a render printed, compared
// or iterated over. The tests that ask whether a value exists are not uses: "is defined", the
// filter default, and conditions.
type UndefinedUse struct {
	Place             // where the template names it
	Column     int    // 1-based
	Name       string // the name, "" for an attribute or item
	Object     string // the variable that lacks the attribute or item, "" if it has no name
	Message    string // what is undefined
	Hint       string // an existing name that is similar, or ""
	SourceLine string
}

// undefinedUses collects the uses of a render, each place once.
type undefinedUses struct {
	st   *state
	seen map[*value.Origin]bool
	uses []UndefinedUse
}

// maxUndefinedUses is how many uses a render reports.
const maxUndefinedUses = 1000

func (c *undefinedUses) add(u *Undefined) {
	at := u.Origin()
	if c.seen[at] || len(c.uses) == maxUndefinedUses {
		return
	}
	if c.seen == nil {
		c.seen = map[*value.Origin]bool{}
	}
	c.seen[at] = true
	t := at.Template.(*Template)
	use := UndefinedUse{Message: u.Message(), Place: Place{Template: t.name}, Object: at.Object}
	use.Line, use.Column = t.lineColumn(at.Pos)
	line := t.src[t.lines[use.Line-1]:]
	use.SourceLine, _, _ = strings.Cut(line, "\n")
	if obj, name := u.Element(); obj != nil {
		use.Hint = method.SuggestElement(u)
		if at.Object != "" {
			use.Message = value.Repr(at.Object) + " has no attribute or item " + value.Repr(name)
		}
	} else if use.Name, _ = name.(string); use.Name != "" {
		use.Hint = raise.Suggest(use.Name, c.visibleNames())
	}
	c.uses = append(c.uses, use)
}

// visibleNames returns the names that have values in any frame of the stack: the value may have
// been passed to a macro.
func (c *undefinedUses) visibleNames() []string {
	var names []string
	for _, fr := range c.st.Stack {
		names = append(names, frameOf(fr).visibleNames()...)
	}
	return names
}
