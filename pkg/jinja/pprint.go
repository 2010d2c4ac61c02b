package jinja

func pformat(fr *frame, v any) string { return reprIn(fr, v) }
