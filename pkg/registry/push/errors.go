package push

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/internal/units"
)

// CommitError reports why a set was not published, and the state of its tags, which are
// given as in Tag.Ref.
type CommitError struct {
	Wanted   int              // tags of the set
	Failed   map[string]error // could not be verified or updated
	Untried  []string         // not updated because others failed or the run ended
	Restored []string         // had been updated and were restored
	// Stuck are tags that were updated and could not be restored: they refer to images
	// of the unpublished set.
	Stuck map[string]error
	// Foreign are tags that another publisher updated in the meantime. They were not
	// restored.
	Foreign []string
	// Journal is the file that records the stuck tags, from which the next publication
	// continues; "" if there are none.
	Journal string
}

func newCommitError(total int) *CommitError {
	return &CommitError{Wanted: total, Failed: map[string]error{}, Stuck: map[string]error{}}
}

// failed reports whether any tag prevents the publication.
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
	writeReferences(&b, "", e.Failed)
	writeReferences(&b, "still refers to the new image: ", e.Stuck)
	for i, ref := range e.Foreign {
		if i == maxListed {
			fmt.Fprintf(&b, "\n  and %d more", len(e.Foreign)-i)
			break
		}
		fmt.Fprintf(&b, "\n  %s: another publisher updated it in the meantime; it was not changed", ref)
	}
	return b.String()
}

// maxListed bounds the references in one error.
const maxListed = 5

func writeReferences(b *strings.Builder, title string, errs map[string]error) {
	for i, ref := range slices.Sorted(maps.Keys(errs)) {
		if i == maxListed {
			fmt.Fprintf(b, "\n  and %d more", len(errs)-i)
			return
		}
		fmt.Fprintf(b, "\n  %s: %s%s", ref, title, strings.TrimPrefix(errs[ref].Error(), ref+": "))
	}
}

// Unwrap returns the causes.
func (e *CommitError) Unwrap() []error {
	return append(slices.Collect(maps.Values(e.Failed)), slices.Collect(maps.Values(e.Stuck))...)
}

// Hint returns a hint for the user.
func (e *CommitError) Hint() string {
	switch {
	case len(e.Stuck) == 0:
		return "no tag was changed; correct the cause and run the command again"
	case e.Journal != "":
		return "correct the cause and run the command again: " +
			"the next publication restores these tags first (" + e.Journal + " lists them)"
	}
	return "correct the cause and run the command again: that publishes the whole set"
}

// ConflictError reports that another publisher keeps updating the same tags.
type ConflictError struct {
	Ref  string // one of them
	Tags int    // how many
}

// Error implements error.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("another publisher is updating the same tags (%s, such as %s)", units.Count(e.Tags, "tag"), e.Ref)
}

// Hint returns a hint for the user.
func (e *ConflictError) Hint() string {
	return "let one machine at a time publish to these names, then run the command again"
}

// TagsTakenError reports that tags that must not be replaced refer to other images. No tag was
// changed.
type TagsTakenError struct {
	Refs []string // sorted
}

// Error implements error.
func (e *TagsTakenError) Error() string {
	return "the registry has other images named " + units.List(e.Refs, maxListed)
}

// Hint returns a hint for the user.
func (e *TagsTakenError) Hint() string {
	return "--replace changes the tags to the new images; --tag, --namespace and --rename publish them under other names"
}

// JournalError reports that the journal of an unfinished publication cannot be read.
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

// Hint returns a hint for the user.
func (e *JournalError) Hint() string {
	return "the journal belongs to a publication that did not end; remove it, " +
		"check what the tags that it lists refer to, and publish again"
}

// RecoverError reports that an interrupted publication could not be completed or
// undone.
type RecoverError struct {
	Started time.Time
	Path    string // its journal
	Err     error
}

// Error implements error.
func (e *RecoverError) Error() string {
	return fmt.Sprintf("ending the publication of %s, which was interrupted while its tags were updated: %v",
		units.LocalTime(e.Started), e.Err)
}

// Unwrap returns the cause.
func (e *RecoverError) Unwrap() error { return e.Err }

// Hint returns a hint for the user.
func (e *RecoverError) Hint() string {
	return "correct the cause and run the command again, or remove " + e.Path + " to keep the tags as they are"
}
