package jinja

import (
	"regexp"
	"slices"
	"strings"
)

func markupFilters() {
	esc := positional("escape", "s", func(fr *vframe, a []any) any { return escape(fr, a[0]) })
	builtinFilters["escape"] = esc
	builtinFilters["e"] = esc
	addFilter("forceescape", "value", func(fr *vframe, a []any) any {
		s := str(fr, a[0])
		fr.alloc(len(s))
		return Markup(escapeString(s))
	})
	addFilter("safe", "value", func(fr *vframe, a []any) any { return markupOf(fr, a[0]) })
	addFilter("striptags", "value", func(fr *vframe, a []any) any { return stripTags(str(fr, a[0])) })
	addFilter("xmlattr", "d autospace=True", xmlattr)
	addFilter("urlize", "value trim_url_limit=None nofollow=False target=None rel=None extra_schemes=None", urlizeFilter)
}

func xmlattr(fr *vframe, a []any) any {
	d := mapping(fr, a[0])
	var items []string
	fr.work(d.Len())
	for k, v := range d.all() {
		if v == nil || IsUndefined(v) {
			continue
		}
		key, ok := asStr(k)
		if !ok {
			raiseType("expected string or bytes-like object, got '%s'", typeName(k))
		}
		if strings.ContainsAny(key, " \t\n\r\f\v/>=") {
			raiseValue("Invalid character in attribute name: %s", repr(key))
		}
		items = append(items, string(escape(fr, k))+`="`+string(escape(fr, v))+`"`)
	}
	s := joinStrings(fr, items, " ")
	if s != "" && optTrue(a[1], true) {
		s = " " + s
	}
	if fr.code.autoescape() {
		return Markup(s)
	}
	return s
}

var (
	uriScheme = regexp.MustCompile(`^([\pL\pN_.+-]{2,}:(/){0,2})$`)
	httpURL   = regexp.MustCompile(`(?i)^((https?://|www\.)(([\pL\pN_%-]+\.)+)?([a-z]{2,63}|xn--[\pL\pN_%]{2,59})` +
		`|([\pL\pN_%-]{2,63}\.)+(com|net|int|edu|gov|org|info|mil)` +
		`|(https?://)((([\d]{1,3})(\.[\d]{1,3}){3})|(\[([\da-f]{0,4}:){2}([\da-f]{0,4}:?){1,6}\])))` +
		`(?::[\d]{1,5})?(?:[/?#]\S*)?\n?$`)
	email     = regexp.MustCompile(`^\S+@[\pL\pN_][\pL\pN_.-]*\.[\pL\pN_]+\n?$`)
	urlHead   = regexp.MustCompile(`^([(<]|&lt;)+`)
	urlTail   = regexp.MustCompile(`([)>.,\n]|&gt;)+$`)
	urlSpaces = regexp.MustCompile(`[\s\v\x1c-\x1f\x85\p{Z}]+`)
)

func urlizeFilter(fr *vframe, a []any) any {
	words := func(v any) []string {
		if v == nil || !truth(v) {
			return nil
		}
		s, ok := asStr(v)
		if !ok {
			raiseKind(KindRuntime, "AttributeError", "'%s' object has no attribute 'split'", typeName(v))
		}
		return splitSpace(s, -1, false)
	}
	rel := words(opt(a[4], nil))
	if optTrue(a[2], false) {
		rel = append(rel, "nofollow")
	}
	rel = append(rel, "noopener")
	slices.Sort(rel)
	rel = slices.Compact(rel)
	relAttr := ` rel="` + escapeString(strings.Join(rel, " ")) + `"`
	targetAttr := ""
	if target := opt(a[3], nil); target != nil && truth(target) {
		targetAttr = ` target="` + string(escape(fr, target)) + `"`
	}
	var schemes []string
	if v := opt(a[5], nil); v != nil {
		for _, s := range collect(fr, v) {
			scheme, ok := asStr(s)
			if !ok {
				raiseType("expected string or bytes-like object, got '%s'", typeName(s))
			}
			if !uriScheme.MatchString(scheme) {
				raiseFilterArg("%s is not a valid URI scheme prefix.", repr(scheme))
			}
			schemes = append(schemes, scheme)
		}
	}
	trim := func(s string) string { return s }
	if v := opt(a[1], nil); v != nil {
		trim = func(s string) string {
			if order(fr, int64(runeLen(s)), v, ">") {
				cut, _ := asStr(slicing(fr, s, &sliceValue{nil, v, nil}))
				return cut + "..."
			}
			return s
		}
	}
	text := string(escape(fr, a[0]))
	fr.alloc(8 * len(text))
	fr.work(len(text))
	var b strings.Builder
	for text != "" {
		loc := urlSpaces.FindStringIndex(text)
		if loc == nil {
			loc = []int{len(text), len(text)}
		}
		b.WriteString(linkWord(text[:loc[0]], relAttr, targetAttr, schemes, trim))
		b.WriteString(text[loc[0]:loc[1]])
		text = text[loc[1]:]
	}
	if fr.code.autoescape() {
		return Markup(b.String())
	}
	return b.String()
}

// linkWord makes a link of a word that is an address.
func linkWord(word, rel, target string, schemes []string, trim func(string) string) string {
	head := urlHead.FindString(word)
	middle, tail := word[len(head):], ""
	if loc := urlTail.FindStringIndex(middle); loc != nil {
		middle, tail = middle[:loc[0]], middle[loc[0]:]
	}
	for _, pair := range [][2]string{{"(", ")"}, {"<", ">"}, {"&lt;", "&gt;"}} {
		open := strings.Count(middle, pair[0])
		if open <= strings.Count(middle, pair[1]) {
			continue
		}
		end := 0
		for range min(open, strings.Count(tail, pair[1])) {
			end += strings.Index(tail[end:], pair[1]) + len(pair[1])
		}
		middle += tail[:end]
		tail = tail[end:]
	}
	switch {
	case httpURL.MatchString(middle):
		href := middle
		if !strings.HasPrefix(middle, "https://") && !strings.HasPrefix(middle, "http://") {
			href = "https://" + middle
		}
		middle = `<a href="` + href + `"` + rel + target + `>` + trim(middle) + `</a>`
	case strings.HasPrefix(middle, "mailto:") && email.MatchString(middle[7:]):
		middle = `<a href="` + middle + `">` + middle[7:] + `</a>`
	case strings.Contains(middle, "@") && !strings.HasPrefix(middle, "www.") && !strings.Contains(middle, ":") && email.MatchString(middle):
		middle = `<a href="mailto:` + middle + `">` + middle + `</a>`
	default:
		for _, scheme := range schemes {
			if middle != scheme && strings.HasPrefix(middle, scheme) {
				middle = `<a href="` + middle + `"` + rel + target + `>` + middle + `</a>`
			}
		}
	}
	return head + middle + tail
}

// urlQuote quotes text for a URL: a path, or a query.
func urlQuote(fr *vframe, v any, query bool) string {
	s := ""
	if b, ok := v.(bytesValue); ok {
		s = string(b)
	} else {
		s = str(fr, v)
	}
	fr.alloc(3 * len(s))
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("_.-~", c) >= 0 || c == '/' && !query:
			b.WriteByte(c)
		case c == ' ' && query:
			b.WriteByte('+')
		default:
			const hex = "0123456789ABCDEF"
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

func urlencode(fr *vframe, a []any) any {
	if _, ok := asStr(a[0]); ok {
		return urlQuote(fr, a[0], false)
	}
	v := a[0]
	if d, ok := v.(*Dict); ok {
		v = &dictView{d, viewItems}
	}
	if indexed(v) != nil || iterableOf(fr, v) == nil {
		return urlQuote(fr, v, false)
	}
	var parts []string
	for _, item := range collect(fr, v) {
		kv := unpack(fr, item, 2)
		parts = append(parts, urlQuote(fr, kv[0], true)+"="+urlQuote(fr, kv[1], true))
	}
	return joinStrings(fr, parts, "&")
}
