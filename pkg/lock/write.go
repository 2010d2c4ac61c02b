package lock

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const header = `# The inputs of a set of images, written by "kolla-build lock". Keep it under version
# control: "kolla-build lock --update" shows what has changed, "kolla-build fetch" gets the
# inputs, and "kolla-build --offline --inputs DIR" builds from them.
`

// Marshal returns the text of a lock as TOML. The same content always gives the same
// text.
func (l *Lock) Marshal() []byte {
	var w writer
	w.b.WriteString(header)
	w.number("version", int64(l.Version))
	w.number("compatibility-version", int64(l.Compatibility))
	w.table("[set]")
	w.text("base", l.Set.Base)
	w.text("base-tag", l.Set.BaseTag)
	w.text("install-type", l.Set.InstallType)
	w.text("openstack-release", l.Set.Release)
	for _, im := range l.Images {
		w.table("[[image]]")
		w.text("name", im.Name)
		w.text("key", im.Key.String())
		w.text("digest", im.Digest.String())
	}
	for _, b := range l.Bases {
		w.table("[[base-image]]")
		w.text("name", b.Name)
		w.text("platform", b.Platform)
		w.text("digest", b.Digest.String())
		w.number("size", b.Size)
	}
	for _, s := range l.Sources {
		w.table("[[source]]")
		w.text("section", s.Section)
		w.text("type", s.Type)
		w.text("location", s.Location)
		w.optional("reference", s.Reference)
		w.optional("commit", s.Commit)
		w.text("digest", s.Digest.String())
		w.number("size", s.Size)
		w.time("modified", s.Modified)
	}
	for _, f := range l.Files {
		w.table("[[file]]")
		w.text("url", f.URL)
		w.text("digest", f.Digest.String())
		w.number("size", f.Size)
		w.optional("type", f.Type)
		w.optional("encoding", f.Encoding)
		w.time("modified", f.Modified)
		w.list("images", f.Images)
	}
	for _, r := range l.Redirect {
		w.table("[[redirect]]")
		w.text("url", r.URL)
		w.text("to", r.To)
		w.number("status", int64(r.Status))
		w.list("images", r.Images)
	}
	for _, a := range l.Absent {
		w.table("[[absent]]")
		w.text("url", a.URL)
		w.number("status", int64(a.Status))
		w.list("images", a.Images)
	}
	for _, m := range l.Missed {
		w.table("[[not-captured]]")
		w.text("request", m.Request)
		w.text("image", m.Image)
		w.text("reason", m.Reason)
	}
	return w.b.Bytes()
}

type writer struct{ b bytes.Buffer }

func (w *writer) table(name string)          { fmt.Fprintf(&w.b, "\n%s\n", name) }
func (w *writer) number(key string, n int64) { fmt.Fprintf(&w.b, "%s = %d\n", key, n) }
func (w *writer) text(key, value string)     { fmt.Fprintf(&w.b, "%s = %s\n", key, quote(value)) }
func (w *writer) time(key string, t time.Time) {
	if !t.IsZero() {
		fmt.Fprintf(&w.b, "%s = %s\n", key, t.UTC().Format(time.RFC3339))
	}
}

func (w *writer) optional(key, value string) {
	if value != "" {
		w.text(key, value)
	}
}

func (w *writer) list(key string, values []string) {
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = quote(v)
	}
	fmt.Fprintf(&w.b, "%s = [%s]\n", key, strings.Join(quoted, ", "))
}

// quote writes a basic string of TOML. Characters that a terminal would not show are
// escaped.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case strconv.IsPrint(r):
			b.WriteRune(r)
		case r > 0xFFFF:
			fmt.Fprintf(&b, `\U%08X`, r)
		default:
			fmt.Fprintf(&b, `\u%04X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
