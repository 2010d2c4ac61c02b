package method

import (
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// generatorAttr returns an attribute of a generator.
func generatorAttr(g *value.IterObject, name string) (any, bool) {
	bound := func(f func(fr *value.Frame, args []any) any) (any, bool) {
		return &value.Callable{
			Name: name,
			Kind: value.BuiltinFunction,
			Raw: func(fr *value.Frame, args []any, kw []value.Keyword) any {
				value.RejectKeywords("generator."+name, kw)
				return f(fr, args)
			},
		}, true
	}
	switch name {
	case "gi_running":
		return false, true
	case "gi_suspended":
		return g.HasStarted() && !g.Ended(), true
	case "gi_yieldfrom":
		return nil, true
	case "close":
		return bound(func(_ *value.Frame, args []any) any {
			if len(args) > 0 {
				raise.Type("generator.close() takes no arguments (%d given)", len(args))
			}
			g.Close()
			return nil
		})
	case "send":
		return bound(func(fr *value.Frame, args []any) any {
			if len(args) != 1 {
				raise.Type("generator.send() takes exactly one argument (%d given)", len(args))
			}
			if !g.HasStarted() && !g.Ended() && args[0] != nil {
				raise.Type("can't send non-None value to a just-started generator")
			}
			v, ok := g.Next(fr)
			if !ok {
				raise.Named("StopIteration", "")
			}
			return v
		})
	case "throw":
		// Templates cannot create exceptions.
		return bound(func(_ *value.Frame, args []any) any {
			if len(args) == 0 {
				raise.Type("throw expected at least 1 argument, got 0")
			}
			raise.Type("exceptions must be classes or instances deriving from BaseException, not %s", value.TypeName(args[0]))
			return nil
		})
	}
	return nil, false
}
