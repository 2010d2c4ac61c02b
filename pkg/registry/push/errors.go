package push

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/internal/units"
)

// CommitError says why a set was not published, and what its tags refer to now. It is
// by reference, as in Tag.Ref.
type CommitError struct {
	Wanted   int              // tags of the set
	Failed   map[string]error // could not be verified or updated
	Untried  []string         // not updated because others failed, or because the run ended
	Restored []string         // had been updated and were restored
	// Stuck had been updated and could not be restored: they refer to images of the set
	// that was not published.
	Stuck map[string]error
	// Foreign were updated by another publisher meanwhile, and left to it.
	Foreign []string
	// Journal remembers what is stuck, and the next publication continues from it; "" if
	// there is nothing to continue with.
	Journal string
}

func newCommitError(wanted int) *CommitError {
	return &CommitError{Wanted: wanted, Failed: map[string]error{}, Stuck: map[string]error{}}
}

// failed reports whether anything is in the way of the set.
func (e *CommitError) failed() bool { return len(e.Failed)+len(e.Untried) > 0 }

// Error implements error.
func (e *CommitError) Error() string {
	var b strings.Builder
	switch {
	case len(e.Stuck) > 0:
		fmt.Fprintf(&b, "the tags were not updated together, and %d of %d could not be restored", len(e.Stuck), e.Wanted)
	case len(e.Restored) > 0:
		fmt.Fprintf(&b, "no tag was updated (%d wanted): %d had been updated and were restored", e.Wanted, len(e.Restored))
	default:
		fmt.Fprintf(&b, "no tag was updated (%d wanted)", e.Wanted)
	}
	list(&b, "", e.Failed)
	list(&b, "still refers to the new image: ", e.Stuck)
	for i, ref := range e.Foreign {
		if i == maxListed {
			fmt.Fprintf(&b, "\n  and %d more", len(e.Foreign)-i)
			break
		}
		fmt.Fprintf(&b, "\n  %s: another publisher updated it meanwhile; it was left as it is", ref)
	}
	return b.String()
}

// maxListed bounds the references in one error.
const maxListed = 5

func list(b *strings.Builder, what string, errs map[string]error) {
	for i, ref := range slices.Sorted(maps.Keys(errs)) {
		if i == maxListed {
			fmt.Fprintf(b, "\n  and %d more", len(errs)-i)
			return
		}
		fmt.Fprintf(b, "\n  %s: %s%s", ref, what, strings.TrimPrefix(errs[ref].Error(), ref+": "))
	}
}

// Unwrap returns the causes.
func (e *CommitError) Unwrap() []error {
	return append(slices.Collect(maps.Values(e.Failed)), slices.Collect(maps.Values(e.Stuck))...)
}

// Hint says what the user can do.
func (e *CommitError) Hint() string {
	switch {
	case len(e.Stuck) == 0:
		return "no tag was changed; run the command again when the cause is removed"
	case e.Journal != "":
		return "run the command again when the cause is removed: the next publication restores these tags first (" + e.Journal + " lists them)"
	}
	return "run the command again when the cause is removed: that publishes the whole set"
}

// ConflictError says that another publisher updates the same tags all the time.
type ConflictError struct {
	Ref  string // one of them
	Tags int    // how many
}

// Error implements error.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("another publisher is updating the same tags (%s, such as %s)", units.Count(e.Tags, "tag"), e.Ref)
}

// Hint says what the user can do.
func (e *ConflictError) Hint() string {
	return "let one machine at a time publish to these names, then run the command again"
}

// JournalError says that the journal of an unfinished publication cannot be read.
type JournalError struct {
	Path string
	Err  error
}

// Error implements error.
func (e *JournalError) Error() string {
	return fmt.Sprintf("reading publication journal %s: %v", e.Path, e.Err)
}

// Unwrap returns the cause.
func (e *JournalError) Unwrap() error { return e.Err }

// Hint says what the user can do.
func (e *JournalError) Hint() string {
	return "it belongs to a publication that did not end; remove the file, check what its tags refer to, and publish again"
}

// RecoverError says that an interrupted publication could not be ended.
type RecoverError struct {
	Started time.Time
	Path    string // its journal
	Err     error
}

// Error implements error.
func (e *RecoverError) Error() string {
	return fmt.Sprintf("ending the publication of %s, which was interrupted while its tags were updated: %v", e.Started.Local().Format("2006-01-02 15:04"), e.Err)
}

// Unwrap returns the cause.
func (e *RecoverError) Unwrap() error { return e.Err }

// Hint says what the user can do.
func (e *RecoverError) Hint() string {
	return "run the command again when the cause is removed, or remove " + e.Path + " to leave the tags as they are"
}
