// Package program is read by the tests of optionuse.
package program

// Config has the fields whose readers are found.
type Config struct {
	Direct, Called, Method, Closure, Variable, Written, Unread string
}

// IsSet is a look-up by name.
func (c *Config) IsSet(name string) bool { return name != "" }

type runner interface{ run(c *Config) string }

type impl struct{}

func (impl) run(c *Config) string { return c.Method }

type other struct{}

func (*other) close(c *Config) string { return c.Unread }

var fromVariable = func(c *Config) string { return c.Variable }

func called(c *Config) string { return c.Called }

// First reads most fields.
func First(c *Config, r runner) string {
	c.Written = "x"
	f := func() string { return c.Closure }
	if c.IsSet("by-name") {
		return c.Direct
	}
	return called(c) + r.run(c) + f() + fromVariable(c)
}

// Second reads one field, and what First reads.
func Second(c *Config, r runner) string {
	return c.Unread + First(c, r)
}

var _ = []any{impl{}, (*other).close}
