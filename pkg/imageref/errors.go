package imageref

import "fmt"

// Error reports which part of a name is invalid, and why.
type Error struct {
	Part       string // "registry", "namespace", "image-name-prefix", "tag", "image name", "image reference"
	Value      string // as written
	Problem    string
	Suggestion string // a valid value, or ""
}

// maxShown is how much of a value an error contains, in bytes. Names have at most 255
// bytes, but what should be a name may be a whole file.
const maxShown = 300

// Error implements error. The value is quoted, so that control characters and
// characters that change the direction of text are visible.
func (e *Error) Error() string {
	if len(e.Value) > maxShown {
		return fmt.Sprintf("%s that begins with %q: %s", e.Part, e.Value[:maxShown], e.Problem)
	}
	return fmt.Sprintf("%s %q: %s", e.Part, e.Value, e.Problem)
}

// Hint returns what the user can do, "" if there is nothing to add.
func (e *Error) Hint() string {
	if e.Suggestion == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", e.Suggestion)
}
