// Package page makes the HTML report of a run: one file that needs no server and no
// other files.
//
// It shows a report.Run and must not know how a run works. The output of builds is
// untrusted: it passes report.Sanitize and html/template, and the content security
// policy of the page allows its own script only, by digest.
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

// WriteFile writes the page to a file atomically. Links to logs are relative, so that a
// directory with both can be moved or served.
func WriteFile(path string, run *report.Run) error {
	dir, err := filepath.Abs(filepath.Dir(path))
	if err == nil {
		err = atomicfile.Output(path, atomicfile.Options{}, func(w io.Writer) error { return write(w, run, dir) })
	}
	if err != nil {
		return fmt.Errorf("writing the HTML report: %w", err)
	}
	return nil
}

// write writes the page. dir is the directory that it will be stored in.
func write(w io.Writer, run *report.Run, dir string) error {
	v := newView(run, dir)
	v.CSS, v.Script = template.CSS(css), template.JS(script)
	v.Policy = fmt.Sprintf(
		"default-src 'none'; style-src '%s'; script-src '%s'; img-src data:; base-uri 'none'; form-action 'none'",
		digest(css), digest(script))
	// The template is executed in memory first: an error must not leave half a page.
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, v); err != nil {
		return err
	}
	_, err := b.WriteTo(w)
	return err
}

// digest returns the name of an inline text in a content security policy.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}
