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
	// keep makes a set of the members of one that a function wants.
	keep := func(fr *vframe, d *Dict, want func(hash any) bool) *Dict {
		fr.allocN(d.n, 64)
		out := newDict(0)
		for i := range d.ents {
			if e := &d.ents[i]; e.live && want(e.hash) {
				out.put(e.key, e.hash, nil)
			}
		}
		return out
	}
	// unite adds the members of one to another.
	unite := func(d, more *Dict) *Dict {
		for i := range more.ents {
			if e := &more.ents[i]; e.live {
				d.put(e.key, e.hash, nil)
			}
		}
		return d
	}
	ops := map[string]func(fr *vframe, d *Dict, args []any) *Dict{
		"union": func(fr *vframe, d *Dict, args []any) *Dict {
			fr.allocN(d.n, 64)
			return unite(d.copy(), all(fr, args))
		},
		"difference": func(fr *vframe, d *Dict, args []any) *Dict {
			drop := all(fr, args)
			return keep(fr, d, func(hash any) bool { return drop.find(hash) < 0 })
		},
		"intersection": func(fr *vframe, d *Dict, args []any) *Dict {
			for _, a := range args {
				other := all(fr, []any{a})
				d = keep(fr, d, func(hash any) bool { return other.find(hash) >= 0 })
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
			only := keep(fr, d, func(hash any) bool { return other.find(hash) < 0 })
			return unite(only, keep(fr, other, func(hash any) bool { return d.find(hash) < 0 }))
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
		fr.allocN(of(recv).n, 64)
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
		d := of(recv)
		for i := range d.ents {
			if e := d.ents[i]; e.live {
				fr.work(i >> 3)
				d.delete(fr, e.key)
				return e.key
			}
		}
		raiseKind(KindRuntime, "KeyError", "'pop from an empty set'")
		return nil
	})
	m.add("isdisjoint", "/other", func(fr *vframe, recv any, a []any) any {
		other := all(fr, a)
		return keep(fr, of(recv), func(hash any) bool { return other.find(hash) >= 0 }).n == 0
	})
	m.add("issubset", "/other", func(fr *vframe, recv any, a []any) any {
		other := all(fr, a)
		return keep(fr, of(recv), func(hash any) bool { return other.find(hash) < 0 }).n == 0
	})
	m.add("issuperset", "/other", func(fr *vframe, recv any, a []any) any {
		return keep(fr, all(fr, a), func(hash any) bool { return of(recv).find(hash) < 0 }).n == 0
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
