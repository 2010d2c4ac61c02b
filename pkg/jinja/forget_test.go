package jinja_test

import (
	"context"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/jinja"
)

// A template that was forgotten is compiled again, and one that is in use stays usable.
func TestForget(t *testing.T) {
	env := jinja.New(jinja.Config{Loader: jinja.Map{"a": "{% include 'b' %}!", "b": "b"}})
	first, err := env.Template("a")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "missing"} {
		env.Forget(name)
	}
	second, err := env.Template("a")
	if err != nil {
		t.Fatal(err)
	}
	if first == second {
		t.Error("the template was kept")
	}
	for _, tpl := range []*jinja.Template{first, second} {
		if out, err := tpl.Render(context.Background(), nil); err != nil || out != "b!" {
			t.Errorf("%q, %v", out, err)
		}
	}
}
