package jinja

func wordwrapFilter(fr *frame, a []any) any { return a[0] }
