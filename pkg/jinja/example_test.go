package jinja_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/pkg/jinja"
)

func Example() {
	env := jinja.New(jinja.Config{
		Loader: jinja.Map{
			"base.j2": "# {{ title }}\n{% block body %}{% endblock %}",
			"page.j2": "{% extends 'base.j2' %}{% block body %}{% for p in ports if p > 1024 %}{{ p | hex }} {% endfor %}{% endblock %}",
		},
		Filters: map[string]jinja.Func{
			"hex": func(c *jinja.Call) (any, error) { return fmt.Sprintf("%#x", c.Args[0]), nil },
		},
	})
	tmpl, err := env.Template("page.j2") // compiled once, kept
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := tmpl.Render(context.Background(), map[string]any{"title": "Ports", "ports": []int{80, 5000, 8774}})
	fmt.Println(text, err)
	// Output:
	// # Ports
	// 0x1388 0x2246  <nil>
}

// An error has its place, the line, the chain that led there and often a hint.
func ExampleError() {
	env := jinja.New(jinja.Config{})
	_, err := env.Parse("motd.j2", "Welcome to {{ host }}\n{{ name | uper }}")
	fmt.Println(err)
	var e *jinja.Error
	fmt.Println(errors.As(err, &e), e.Kind, e.Line, e.Column)
	// Output:
	// motd.j2:2:11: No filter named 'uper'.
	//     {{ name | uper }}
	//               ^
	//   hint: did you mean "upper"?
	// true syntax 2 11
}

// Untrusted templates end at a limit, or with the context.
func ExampleLimits() {
	env := jinja.New(jinja.Config{Loader: jinja.FS(os.DirFS(".")), Limits: jinja.Limits{Steps: 1000, Output: 1 << 20}})
	tmpl, err := env.Parse("loop.j2", "{% for i in range(100000) %}{% endfor %}")
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err = tmpl.Render(ctx, nil)
	first, _, _ := strings.Cut(err.Error(), "\n")
	fmt.Println(first)
	// Output: loop.j2:1:8: the template takes more than 1000 steps
}
