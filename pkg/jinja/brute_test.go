package jinja
import ("testing";"math/rand/v2")
func TestBrute(t *testing.T) {
	o := startOracle(t)
	for i := range 4000 {
		g := &generator{r: rand.New(rand.NewPCG(uint64(i), 5)), names: map[string]bool{}}
		r := &request{Templates: map[string]string{"main": "{% for z in x %}# c{{ ((z)|list|last)|max(attribute='age') }}x{% endfor %}"}, Main: "main", vars: map[string]any{"x": g.value("any", 2)}, Options: oracleOptions{Undefined: "strict"}}
		if d := o.compare(t, r); d != "" { t.Fatal(d) }
	}
}
