package jinja
import ("testing";"fmt";"strings";"unicode")
func TestUni(t *testing.T) {
	o := startOracle(t)
	fmt.Println(unicode.Version)
	for _, m := range strings.Fields("upper lower title capitalize casefold swapcase isalpha isdigit isnumeric isdecimal isalnum isspace isprintable islower isupper istitle isidentifier") {
		bad := 0; first := ""
		for base := rune(0x80); base < 0x20000; base += 0x1000 {
			l := &List{}
			var rs []rune
			for r := base; r < base+0x1000; r++ { if r >= 0xd800 && r < 0xe000 { continue }; if !unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Z, unicode.C) {continue}; l.Items = append(l.Items, string(r)); rs = append(rs, r) }
			r := &request{Templates: map[string]string{"main": "{% for c in l %}{{ c."+m+"() }}\x01{% endfor %}"}, Main: "main", vars: map[string]any{"l": l}}
			r.Vars = wire(r.vars)
			w, g := strings.Split(o.ask(t, r).Text, "\x01"), strings.Split(r.ours().Text, "\x01")
			for i := range rs { if i < len(w) && i < len(g) && w[i] != g[i] { bad++; if bad < 40 { first += fmt.Sprintf(" %U:%s/%s", rs[i], w[i], g[i]) } } }
		}
		if bad > 0 { fmt.Println(m, bad, first) }
	}
}
