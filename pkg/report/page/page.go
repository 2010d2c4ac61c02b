// Package page makes the report of a run that is opened in a browser: one HTML
// file that fetches nothing and needs no server.
//
// It shows what report.Run holds and must not know how a run goes. All text that
// comes out of a build is untrusted: it passes report.Sanitize and html/template,
// and a content security policy in the page lets nothing run but its own script,
// by digest.
package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"path/filepath"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/pkg/report"
)

//go:embed page.html.tmpl
var pageText string

//go:embed page.css
var css string

//go:embed page.js
var script string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// WriteFile writes the page to a file, whole or not at all. Logs are linked
// relative to it, so that a directory that holds both can be moved or served.
func WriteFile(path string, run *report.Run) error {
	dir, err := filepath.Abs(filepath.Dir(path))
	if err == nil {
		err = atomicfile.Output(path, atomicfile.Options{}, func(w io.Writer) error { return Write(w, run, dir) })
	}
	if err != nil {
		return fmt.Errorf("writing the HTML report: %w", err)
	}
	return nil
}

// Write writes the page. dir is the directory that it will lie in.
func Write(w io.Writer, run *report.Run, dir string) error {
	v := newView(run, dir)
	v.CSS, v.Script = template.CSS(css), template.JS(script)
	v.Policy = fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; img-src data:; base-uri 'none'; form-action 'none'", digest(css), digest(script))
	// The template goes to memory first: what it cannot show must not leave half
	// a page.
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, v); err != nil {
		return err
	}
	_, err := b.WriteTo(w)
	return err
}

// digest is how a content security policy names an inline text.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
