package builtin

import (
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// urlPatterns are the expressions of the filter urlize. They are compiled when it is first
// called, because few templates use it.
type urlPatterns struct{ scheme, http, email, head, tail, spaces *regexp.Regexp }

var compiledURLPatterns = sync.OnceValue(func() urlPatterns {
	return urlPatterns{
		scheme: regexp.MustCompile(`^([\pL\pN_.+-]{2,}:(/){0,2})$`),
		http: regexp.MustCompile(`(?i)^((https?://|www\.)(([\pL\pN_%-]+\.)+)?([a-z]{2,63}|xn--[\pL\pN_%]{2,59})` +
			`|([\pL\pN_%-]{2,63}\.)+(com|net|int|edu|gov|org|info|mil)` +
			`|(https?://)((([\d]{1,3})(\.[\d]{1,3}){3})|(\[([\da-f]{0,4}:){2}([\da-f]{0,4}:?){1,6}\])))` +
			`(?::[\d]{1,5})?(?:[/?#]\S*)?\n?$`),
		email:  regexp.MustCompile(`^\S+@[\pL\pN_][\pL\pN_.-]*\.[\pL\pN_]+\n?$`),
		head:   regexp.MustCompile(`^([(<]|&lt;)+`),
		tail:   regexp.MustCompile(`([)>.,\n]|&gt;)+$`),
		spaces: regexp.MustCompile(`[\s\v\x1c-\x1f\x85\p{Z}]+`),
	}
})

// urlizeFilter is the filter urlize.
func urlizeFilter(fr *value.Frame, a []any) any {
	words := func(v any) []string {
		if v == nil || !value.Truth(v) {
			return nil
		}
		s, ok := value.AsStr(v)
		if !ok {
			raise.Named("AttributeError", "'%s' object has no attribute 'split'", value.TypeName(v))
		}
		return pystr.Split(s, -1, false)
	}
	rel := words(value.Or(a[4], nil))
	if value.OrBool(a[2], false) {
		rel = append(rel, "nofollow")
	}
	rel = append(rel, "noopener")
	slices.Sort(rel)
	rel = slices.Compact(rel)
	relAttr := ` rel="` + pystr.Escape(strings.Join(rel, " ")) + `"`
	targetAttr := ""
	if target := value.Or(a[3], nil); target != nil && value.Truth(target) {
		targetAttr = ` target="` + string(value.Escape(fr, target)) + `"`
	}
	var schemes []string
	if v := value.Or(a[5], nil); v != nil {
		for _, s := range value.Collect(fr, v) {
			scheme, ok := value.AsStr(s)
			if !ok {
				raise.Type("expected string or bytes-like object, got '%s'", value.TypeName(s))
			}
			if !compiledURLPatterns().scheme.MatchString(scheme) {
				raise.FilterArgument("%s is not a valid URI scheme prefix.", value.Repr(scheme))
			}
			schemes = append(schemes, scheme)
		}
	}
	trim := func(s string) string { return s }
	if v := value.Or(a[1], nil); v != nil {
		trim = func(s string) string {
			if value.Compare(fr, int64(pystr.Len(s)), v, ">") {
				cut, _ := value.AsStr(value.Slicing(fr, s, &value.Slice{nil, v, nil}))
				return cut + "..."
			}
			return s
		}
	}
	text := string(value.Escape(fr, a[0]))
	fr.Alloc(8 * len(text))
	fr.Work(len(text))
	var b strings.Builder
	for text != "" {
		loc := compiledURLPatterns().spaces.FindStringIndex(text)
		if loc == nil {
			loc = []int{len(text), len(text)}
		}
		b.WriteString(linkWord(text[:loc[0]], relAttr, targetAttr, schemes, trim))
		b.WriteString(text[loc[0]:loc[1]])
		text = text[loc[1]:]
	}
	if fr.Code.Autoescape() {
		return value.Markup(b.String())
	}
	return b.String()
}

// linkWord returns a word as a link if it is an address.
func linkWord(word, rel, target string, schemes []string, trim func(string) string) string {
	head := compiledURLPatterns().head.FindString(word)
	middle, tail := word[len(head):], ""
	if loc := compiledURLPatterns().tail.FindStringIndex(middle); loc != nil {
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
	case compiledURLPatterns().http.MatchString(middle):
		href := middle
		if !strings.HasPrefix(middle, "https://") && !strings.HasPrefix(middle, "http://") {
			href = "https://" + middle
		}
		middle = `<a href="` + href + `"` + rel + target + `>` + trim(middle) + `</a>`
	case strings.HasPrefix(middle, "mailto:") && compiledURLPatterns().email.MatchString(middle[7:]):
		middle = `<a href="` + middle + `">` + middle[7:] + `</a>`
	case strings.Contains(middle, "@") && !strings.HasPrefix(middle, "www.") && !strings.Contains(middle, ":") &&
		compiledURLPatterns().email.MatchString(middle):
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
