package jinja

import (
	"math"
	"strconv"
	"strings"
)

func init() {
	m := setMethods
	of := func(v any) *Dict { return v.(*setValue).d }
	// all collects what the arguments iterate over.
	all := func(fr *vframe, args []any) *Dict {
		d := newDict(0)
		for _, a := range args {
			for _, v := range collect(fr, a) {
				fr.alloc(64)
				d.set(fr, v, nil)
			}
		}
		return d
	}
	// filter makes a set of the members that another has, or has not.
	filter := func(fr *vframe, d, other *Dict, has bool) *Dict {
		fr.allocN(d.Len(), 64)
		return d.filter(other, has)
	}
	ops := map[string]func(fr *vframe, d *Dict, args []any) *Dict{
		"union": func(fr *vframe, d *Dict, args []any) *Dict {
			fr.allocN(d.Len(), 64)
			out := d.copy()
			out.update(all(fr, args))
			return out
		},
		"difference": func(fr *vframe, d *Dict, args []any) *Dict { return filter(fr, d, all(fr, args), false) },
		"intersection": func(fr *vframe, d *Dict, args []any) *Dict {
			for _, a := range args {
				d = filter(fr, d, all(fr, []any{a}), true)
			}
			if len(args) == 0 {
				return d.copy()
			}
			return d
		},
		"symmetric_difference": func(fr *vframe, d *Dict, args []any) *Dict {
			if len(args) != 1 {
				raiseType("set.symmetric_difference() takes exactly one argument (%d given)", len(args))
			}
			other := all(fr, args)
			out := filter(fr, d, other, false)
			out.update(filter(fr, other, d, false))
			return out
		},
	}
	for name, op := range ops {
		m.addRaw(name, func(fr *vframe, recv any, args []any, kw []kwArg) any {
			noKeywords(name, kw)
			return &setValue{op(fr, of(recv), args)}
		})
		update := name + "_update"
		if name == "union" {
			update = "update"
		}
		m.addRaw(update, func(fr *vframe, recv any, args []any, kw []kwArg) any {
			noKeywords(update, kw)
			recv.(*setValue).d = op(fr, of(recv), args)
			return nil
		})
	}
	m.add("add", "/object", func(fr *vframe, recv any, a []any) any {
		fr.alloc(64)
		of(recv).set(fr, a[0], nil)
		return nil
	})
	m.add("clear", "/", func(fr *vframe, recv any, _ []any) any {
		of(recv).clear()
		return nil
	})
	m.add("copy", "/", func(fr *vframe, recv any, _ []any) any {
		fr.allocN(of(recv).Len(), 64)
		return &setValue{of(recv).copy()}
	})
	m.add("discard", "/object", func(fr *vframe, recv any, a []any) any {
		of(recv).delete(fr, a[0])
		return nil
	})
	m.add("remove", "/object", func(fr *vframe, recv any, a []any) any {
		if _, ok := of(recv).delete(fr, a[0]); !ok {
			raiseKind(KindRuntime, "KeyError", "%s", repr(a[0]))
		}
		return nil
	})
	m.add("pop", "/", func(fr *vframe, recv any, _ []any) any {
		if key, _, ok := of(recv).popFirst(fr); ok {
			return key
		}
		raiseKind(KindRuntime, "KeyError", "'pop from an empty set'")
		return nil
	})
	m.add("isdisjoint", "/other", func(fr *vframe, recv any, a []any) any {
		return filter(fr, of(recv), all(fr, a), true).Len() == 0
	})
	m.add("issubset", "/other", func(fr *vframe, recv any, a []any) any {
		return filter(fr, of(recv), all(fr, a), false).Len() == 0
	})
	m.add("issuperset", "/other", func(fr *vframe, recv any, a []any) any {
		return filter(fr, all(fr, a), of(recv), false).Len() == 0
	})
}

// floatFromHex is float.fromhex.
func floatFromHex(fr *vframe, _ any, a []any) any {
	raw := strArg(a[0], "fromhex() argument")
	s := strings.ToLower(strings.TrimFunc(raw, isSpace))
	sign := ""
	if s != "" && (s[0] == '-' || s[0] == '+') {
		sign, s = s[:1], s[1:]
	}
	switch s {
	case "inf", "infinity", "nan":
	default:
		s = "0x" + strings.TrimPrefix(s, "0x")
		if !strings.Contains(s, "p") {
			s += "p0"
		}
	}
	f, err := strconv.ParseFloat(sign+s, 64)
	if strings.Contains(s, "_") || err != nil && !math.IsInf(f, 0) {
		raiseValue("invalid hexadecimal floating-point string")
	}
	if err != nil {
		raiseKind(KindRuntime, "OverflowError", "hexadecimal value too large to represent as a float")
	}
	return f
}
