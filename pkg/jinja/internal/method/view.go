package method

import (
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

func rangeAndViewMethods() {
	rangeMethods.Add("index", "/value", func(fr *value.Frame, recv any, a []any) any {
		r := recv.(*value.Range)
		if !value.Contains(fr, r, a[0]) {
			raise.Value("%s is not in range", value.Repr(a[0]))
		}
		x, _, _ := value.AsInt(a[0])
		return (x - r.Start) / r.Step
	})
	rangeMethods.Add("count", "/value", func(fr *value.Frame, recv any, a []any) any {
		if value.Contains(fr, recv, a[0]) {
			return int64(1)
		}
		return int64(0)
	})
	viewMethods.Add("isdisjoint", "/other", func(fr *value.Frame, recv any, a []any) any {
		for _, v := range value.Collect(fr, a[0]) {
			if value.Contains(fr, recv, v) {
				return false
			}
		}
		return true
	})
}
