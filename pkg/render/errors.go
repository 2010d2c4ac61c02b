package render

import (
	"fmt"
	"strings"
)

// TemplateError is a mistake that was found while an image was rendered. Err is a
// *jinja.Error with its place, unless a file could not be read.
type TemplateError struct {
	Template string // the image's template in the tree
	Place    string // the template's name in messages
	Err      error
}

func (e *TemplateError) Error() string { return e.Err.Error() }
func (e *TemplateError) Unwrap() error { return e.Err }

// Errors are the mistakes in the templates of a tree, sorted by the image's directory.
// A mistake that affects several images, such as one in a common macro, is listed once.
type Errors struct {
	Errs []error
	// Also contains, for each of Errs, the templates of the other images with it.
	Also [][]string
}

func (e *Errors) Error() string {
	var b strings.Builder
	for i, err := range e.Errs {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(err.Error())
		if n := len(e.Also[i]); n == 1 {
			fmt.Fprintf(&b, "\n  (also in %s)", e.Also[i][0])
		} else if n > 1 {
			fmt.Fprintf(&b, "\n  (also in %d other templates)", n)
		}
	}
	return b.String()
}

// Unwrap returns the errors.
func (e *Errors) Unwrap() []error { return e.Errs }

// Collect returns an *Errors of those that are not nil, or nil.
func Collect(errs []error) error {
	all := &Errors{}
	seen := map[string]int{}
	for _, err := range errs {
		if err == nil {
			continue
		}
		// The trace differs between images, the place does not.
		key, _, _ := strings.Cut(err.Error(), "\n  in ")
		i, ok := seen[key]
		if !ok {
			seen[key] = len(all.Errs)
			all.Errs = append(all.Errs, err)
			all.Also = append(all.Also, nil)
			continue
		}
		if te, ok := err.(*TemplateError); ok {
			all.Also[i] = append(all.Also[i], te.Place)
		}
	}
	if len(all.Errs) == 0 {
		return nil
	}
	return all
}
