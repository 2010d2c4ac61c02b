package value

import (
	"slices"
)

// SortItems is sorted(items): stable, using < only. The slice is new.
func SortItems(fr *Frame, items []any, key func(any) any, reverse bool) []any {
	type entry struct{ key, val any }
	list := make([]entry, len(items))
	fr.AllocN(len(items), 48)
	for i, v := range items {
		list[i] = entry{v, v}
		if key != nil {
			list[i].key = key(v)
		}
	}
	less := func(a, b any) bool {
		fr.Step()
		return Compare(fr, a, b, "<")
	}
	if reverse {
		slices.Reverse(list)
	}
	if len(list) < 64 {
		// Binary insertion, as Python sorts short lists: the result differs from other methods if values have no order.
		run := 1
		if len(list) > 1 {
			if less(list[1].key, list[0].key) {
				for run = 2; run < len(list) && less(list[run].key, list[run-1].key); {
					run++
				}
				slices.Reverse(list[:run])
			} else {
				for run = 2; run < len(list) && !less(list[run].key, list[run-1].key); {
					run++
				}
			}
		}
		for ; run < len(list); run++ {
			pivot := list[run]
			lo, hi := 0, run
			for lo < hi {
				mid := (lo + hi) / 2
				if less(pivot.key, list[mid].key) {
					hi = mid
				} else {
					lo = mid + 1
				}
			}
			copy(list[lo+1:run+1], list[lo:run])
			list[lo] = pivot
		}
	} else {
		slices.SortStableFunc(list, func(a, b entry) int {
			if less(a.key, b.key) {
				return -1
			}
			if less(b.key, a.key) {
				return 1
			}
			return 0
		})
	}
	if reverse {
		slices.Reverse(list)
	}
	out := make([]any, len(list))
	for i := range list {
		out[i] = list[i].val
	}
	return out
}
