package jinja

import (
	"context"
	"errors"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// renderError renders a template from a string and returns its error.
func renderError(t *testing.T, cfg Config, src string) *Error {
	t.Helper()
	tmpl, err := New(cfg).Parse("t", src)
	if err == nil {
		var text string
		if text, err = tmpl.Render(context.Background(), nil); err == nil {
			t.Errorf("%s: no error, but %q", src, clip(text))
			return nil
		}
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%s: not an *Error: %v", src, err)
	}
	return e
}

// TestLimits renders templates that would exhaust the process.
func TestLimits(t *testing.T) {
	testenv.Slow(t)
	for _, src := range []string{
		"{{ 'a' * 10**9 }}",
		"{{ [0] * 10**9 }}",
		"{{ (9**9)**(9**9) }}",
		"{{ 10**300000 * 10**300000 }}",
		"{{ '%1000000000d' % 1 }}",
		"{{ '%*d' % (2000000000, 1) }}",
		"{{ '%.1000000000f' % 1.5 }}",
		"{{ '{:1000000000}'.format(1) }}",
		"{{ '{:.1000000000f}'.format(1.5) }}",
		"{{ 'x'.center(10**9) }}",
		"{{ 'x'|center(10**9) }}",
		"{{ 'x'.zfill(10**9) }}",
		"{{ 'x'.ljust(10**9, 'é') }}",
		"{{ '\\t'.expandtabs(10**9) }}",
		"{{ 'a\\nb'|indent(10**9) }}",
		"{{ [1, [2, [3]]]|tojson(10**9) }}",
		"{{ range(200000) }}",
		"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
		"{% macro m(x) %}{% call m(x) %}{{ caller() }}{% endcall %}{% endmacro %}{{ m(1) }}",
		"{% include 't' %}",
		"{% import 'self' as s with context %}",
		"{% block a %}{{ self.a() }}{% endblock %}",
		"{% set l = [1] %}{% for x in l %}{% do l.append(x) %}{% endfor %}",
		"{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
		"{% for a in range(100000) %}{% for b in range(100000) %}" + strings.Repeat("x", 100) + "{% endfor %}{% endfor %}",
		"{% set ns = namespace(s='aaaaaaaaaa') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
		"{% set ns = namespace(s=[1]) %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
		"{% set ns = namespace(s=2) %}{% for i in range(100) %}{% set ns.s = ns.s * ns.s %}{% endfor %}",
		"{% set ns = namespace(s='a') %}{% for i in range(100) %}{% set ns.s = ns.s|replace('a', 'aaaaaaaaaaaaaaaa') %}{% endfor %}",
		"{% set ns = namespace(s='a') %}{% for i in range(100) %}{% set ns.s = (ns.s ~ ns.s)|urlencode|e %}{% endfor %}",
		"{% set ns = namespace(s='<') %}{% for i in range(100) %}{% set ns.s = ns.s|tojson|e ~ ns.s %}{% endfor %}",
		"{% set ns = namespace(l=[]) %}{% for i in range(1000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
		"{% set ns = namespace(l=[]) %}{% for i in range(1000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l|tojson }}",
		"{% set ns = namespace(l=[]) %}{% for i in range(1000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l|pprint }}",
		"{% set ns = namespace(l=[], m=[]) %}{% for i in range(1000) %}{% set ns.l = [ns.l] %}{% set ns.m = [ns.m] %}{% endfor %}{{ ns.l == ns.m }}",
		"{% set ns = namespace(l=()) %}{% for i in range(1000) %}{% set ns.l = (ns.l,) %}{% endfor %}{{ {ns.l: 1} }}",
		"{% set a = [] %}{% set b = [] %}{% do a.append(b) %}{% do b.append(a) %}{{ a == b }}",
		"{% set a = [] %}{% do a.append(a) %}{% set b = [] %}{% do b.append(b) %}{{ a < b }}",
		"{% set d = {} %}{% for i in range(100000) %}{% for j in range(1000) %}{% do d.update({i * 1000 + j: 'xxxxxxxxxxxxxxxxxxxxxxxx'}) %}{% endfor %}{% endfor %}",
		"{% set l = range(90000)|list %}{% for x in l %}{% if -1 in l %}{% endif %}{% endfor %}",
		"{% set l = range(90000)|list %}{% for x in l %}{% set m = l|sort %}{% endfor %}",
		"{{ lipsum(10**6, min=10**5, max=10**6) }}",
		"{{ [[1]] * 100000 * 1000 }}",
		"{{ range(90000)|batch(10**9, 'x')|list }}",
		"{{ ('x' * 1000 ~ ' ') * 10**6 }}",
		"{{ ('%s' * 10**6) % (('x' * 1000,) * 10**6) }}",
		strings.Repeat("(", 10000) + "{{ " + strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000) + " }}",
		"{{ " + strings.Repeat("-", 5000) + "1 }}",
		"{{ " + strings.Repeat("not ", 5000) + "1 }}",
		"{{ " + strings.Repeat("1 if 1 else ", 5000) + "1 }}",
		"{{ 1" + strings.Repeat(" + 1", 100000) + " }}",
		"{{ x" + strings.Repeat(".a", 100000) + " }}",
		"{{ x" + strings.Repeat("|e", 100000) + " }}",
		"{{ " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + " }}",
		strings.Repeat("{% if 1 %}", 5000) + strings.Repeat("{% endif %}", 5000),
		strings.Repeat("{% for x in y %}", 5000) + strings.Repeat("{% endfor %}", 5000),
	} {
		start := time.Now()
		loader := Map{"t": src, "self": "{% import 'self' as s with context %}"}
		limits := Limits{Steps: 3_000_000, Memory: 64 << 20, Output: 8 << 20}
		e := renderError(t, Config{Loader: loader, Extensions: Extensions{Do: true}, Limits: limits}, src)
		if e != nil && e.Kind != KindLimit {
			t.Errorf("%s: error of kind %s: %v", clip(src), e.Kind, e)
		}
		if d := time.Since(start); d > 20*time.Second {
			t.Errorf("%s took %v", clip(src), d)
		} else if d > 2*time.Second {
			t.Logf("%.60s took %v", src, d)
		}
	}
}

// TestStepsOfText renders templates that would search long texts and lists for hours
// without building anything. They soon end at the limit of steps.
func TestStepsOfText(t *testing.T) {
	testenv.Slow(t)
	for _, use := range []string{
		"'y' in s", "s in s", "s == q", "s < q", "s.count('y')", "s.find('y')", "s.rfind('y')", "s.replace('y', 'z')|length",
		"s.split('y')|length", "s.startswith('y')", "s.isdigit()", "s.strip('y')|length", "s|length", "s[5]", "u[5]",
		"s is lower", "s|int", "s|float",
		"s|wordcount", "s|trim('y')|length", "d[s]", "s in d", "{s: 1}|length", "(s, 1) in d", "s|title|length",
		"s|striptags|length", "s|e|length",
		"s.encode()|length", "s.translate({})|length", "'%s' % s == 1", "'{}'.format(s) == 1",
		"s.partition('y')|length", "s|urlize|length",
		"l.count(-1)", "-1 in l", "l == m", "l|sum", "l|max", "l|sort|length", "l|join|length",
		"l|unique|list|length", "l.reverse()",
		"l|map('string')|list|length", "l|select('eq', 1)|list|length", "b + b > b", "b == c", "b * b == c", "(b / c) == 1",
		"d[b]", "b.bit_count()", "d|dictsort|length",
		"(l, l) == (m, m)", "l|batch(2)|list|length", "l|slice(2)|list|length", "l.copy()|length", "dd == de",
		"'%x' % b == 1", "2.5 ** 0.3",
	} {
		src := "{% set s = 'x' * 1000000 %}{% set q = 'x' * 999999 ~ 'y' %}{% set u = 'é' * 500000 %}{% set l = " +
			"range(90000)|list %}{% set m = range(90000)|list %}" +
			"{% set b = 7 ** 300000 %}{% set c = 7 ** 300000 + 1 %}{% set d = {'x': 1, 'y': 2} %}{% set dd = dict(l|batch(2)) %}{% set de = dict(l|batch(2)) %}" +
			"{% for i in range(100000) %}{% for j in range(1000) %}{% if " + use + " %}{% endif %}{% endfor %}{% endfor %}"
		start := time.Now()
		e := renderError(t, Config{Limits: Limits{Steps: 2_000_000}}, src)
		elapsed := time.Since(start)
		if e != nil && e.Kind != KindLimit {
			t.Errorf("%s: error of kind %s: %v", use, e.Kind, e)
		}
		if t.Logf("%-40s %v", use, elapsed.Round(time.Millisecond)); elapsed > 60*time.Second {
			t.Errorf("%s took %v", use, elapsed)
		}
	}
}

// TestContext ends renders by their context.
func TestContext(t *testing.T) {
	const endless = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}"
	tmpl, err := New(Config{Limits: Limits{Steps: 1 << 60}}).Parse("t", "one\n"+endless)
	if err != nil {
		t.Fatal(err)
	}
	for want, make := range map[error]func() (context.Context, context.CancelFunc){
		context.DeadlineExceeded: func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), 20*time.Millisecond)
		},
		context.Canceled: func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			return ctx, cancel
		},
	} {
		ctx, cancel := make()
		_, err := tmpl.Render(ctx, nil)
		cancel()
		var e *Error
		if !errors.As(err, &e) || e.Kind != KindCanceled || !errors.Is(err, want) {
			t.Errorf("%v: %v", want, err)
		}
	}
}

// TestMemory measures the memory of renders in which an integer argument asks for far
// too much: it is little more than the limit.
func TestMemory(t *testing.T) {
	testenv.Slow(t)
	const limit = 64 << 20
	for _, src := range []string{
		"{{ [1]|slice(10**10, 'x')|list }}", "{{ [1]|slice(10**10)|list }}", "{{ [1]|batch(10**10, 'x')|list }}",
		"{{ 'x'.center(10**10) }}", "{{ 'x'|center(10**10) }}",
		"{{ 'x'.ljust(10**10) }}", "{{ 'x'.rjust(10**10, 'é') }}", "{{ 'x'.zfill(10**10) }}",
		"{{ 'a\nb'|indent(10**10) }}", "{{ '\t'.expandtabs(10**10) }}",
		"{{ '%1000000000d' % 1 }}", "{{ '%*d' % (1000000000, 1) }}", "{{ '%.1000000000d' % 1 }}",
		"{{ '%.1000000000f' % 1.5 }}", "{{ '{:1000000000}'.format(1) }}",
		"{{ '{:01000000000,}'.format(1) }}", "{{ '{:.1000000000f}'.format(1.5) }}", "{{ 'x' * 10**10 }}",
		"{{ [1] * 10**10 }}", "{{ (1,) * 10**10 }}", "{{ 'x'.encode() * 10**10 }}",
		"{{ lipsum(10**10) }}", "{{ lipsum(1, max=10**10, min=10**9) }}", "{{ range(10**10) }}",
		"{{ (1).to_bytes(10**10, 'big') }}", "{{ 7 ** 10**10 }}", "{{ 2.0 ** 10**10 }}",
		"{{ [1]|tojson(10**10) }}", "{{ 'x'.encode().center(10**10) }}", "{{ 'x'.encode().zfill(10**10) }}",
		"{{ 12|round(-10**9) }}", "{{ 12|round(10**9, 'ceil') }}",
		"{{ 'a b'|wordwrap(10**10) }}", "{{ 'a b'|truncate(10**10) }}", "{{ 'ab'.encode().hex('-', 10**9) }}",
		"{{ 'x'|replace('', 'y' * 10**6)|replace('', 'z' * 10**6) }}",
		"{{ ['x' * 10**6] * 10**6 }}", "{{ (['x' * 10**6] * 10**5)|join }}",
		"{{ 'f' * 10**7 is defined and ('f' * 10**7)|int(base=16) }}",
	} {
		runtime.GC()
		var before runtime.MemStats
		runtime.ReadMemStats(&before)
		peak, stop := before.HeapSys-before.HeapReleased, make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapSys-m.HeapReleased)
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond):
				}
			}
		}()
		tmpl, err := New(Config{Limits: Limits{Memory: limit, Output: limit}}).Parse("t", src)
		if err == nil {
			_, err = tmpl.Render(t.Context(), nil)
		}
		close(stop)
		<-done
		// The heap may contain as much garbage as live memory, and a growing list is
		// in it twice.
		if used := int64(peak) - int64(before.HeapSys-before.HeapReleased); used > 6*limit {
			t.Errorf("%s took %d MiB, with a limit of %d MiB (%v)", src, used>>20, limit>>20, err)
		}
	}
}

// TestOwnLimits sets low limits.
func TestOwnLimits(t *testing.T) {
	for name, c := range map[string]struct {
		limits Limits
		src    string
	}{
		"depth":  {Limits{Depth: 5}, "{% macro m(n) %}{{ m(n - 1) if n }}{% endmacro %}{{ m(6) }}"},
		"range":  {Limits{Range: 5}, "{{ range(6) }}"},
		"output": {Limits{Output: 5}, "123456"},
		"steps":  {Limits{Steps: 5}, "{% for i in range(6) %}{% endfor %}"},
		"memory": {Limits{Memory: 100}, "{{ x ~ 'x' * 60 }}{{ x ~ 'y' * 60 }}"},
	} {
		if e := renderError(t, Config{Limits: c.limits}, c.src); e != nil && e.Kind != KindLimit {
			t.Errorf("%s: error of kind %s: %v", name, e.Kind, e)
		}
	}
}

// TestFilteredLoopIsCompiledOnce renders a loop with a filter from several
// goroutines: rendering changes nothing of the compiled template.
func TestFilteredLoopIsCompiledOnce(t *testing.T) {
	tmpl, err := New(Config{}).Parse("t", "{% for a, (b, c) in pairs if a > 1 %}{{ a }}{{ b }}{{ c }} {% endfor %}{% for "+
		"x in range(5) if x is odd %}{{ loop.index }}{{ x }} {% endfor %}")
	if err != nil {
		t.Fatal(err)
	}
	pairs := []any{Tuple{1, Tuple{2, 3}}, Tuple{2, Tuple{3, 4}}, Tuple{5, Tuple{6, 7}}}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if got, err := tmpl.Render(t.Context(), map[string]any{"pairs": pairs}); err != nil || got != "234 567 11 23 " {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	wg.Wait()
}

// TestDefaultOutput checks that the text of a render is limited without an option: the readers of
// a Dockerfile take a multiple of its size.
func TestDefaultOutput(t *testing.T) {
	for n, want := range map[int]bool{4: false, 5: true} {
		tmpl, err := New(Config{}).Parse("t", strings.Repeat("{{ 'RUN x\n' * 300000 }}", n))
		if err != nil {
			t.Fatal(err)
		}
		_, err = tmpl.Render(t.Context(), nil)
		var limit *Error
		if exceeded := errors.As(err, &limit) && limit.Kind == KindLimit; exceeded != want {
			t.Errorf("%d times 1.8 MB: %v", n, err)
		}
	}
}
