package build

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/plan"
)

// Temporary is implemented by errors that may not occur again.
type Temporary interface {
	error
	Temporary() bool
}

// Detailed is implemented by errors that know where and why a build failed.
type Detailed interface {
	error
	Detail() Failure
}

func temporary(err error) bool {
	var t Temporary
	return errors.As(err, &t) && t.Temporary()
}

// failure returns what is reported about an error, with the number of attempts if
// there were several.
func failure(err error, tries int) *Failure {
	f := &Failure{Err: err}
	var d Detailed
	if errors.As(err, &d) {
		detail := d.Detail()
		f = &detail
	}
	if tries > 1 && f.Err != nil {
		f.Err = fmt.Errorf("%w (tried %d times)", f.Err, tries)
	}
	if d == nil {
		f.Hint = usererr.Hint(err)
	}
	if f.Hint == "" && strings.Contains(err.Error(), "no space left on device") {
		f.Hint = "the disk of the data directory is full: kolla-build gc removes what no stored image uses, --data-dir names " +
			"another place, and docs/sizing.md lists what builds need"
	}
	return f
}

// build builds an image, and repeats that until it succeeds, its failure is final, or
// the retries are used up. It also returns the number of attempts.
func (r *run) build(ctx context.Context, it *plan.Item) (Output, int, error) {
	r.opts.Emit(Event{Time: time.Now(), Kind: EventImageStart, Image: it.Image, Estimate: it.Estimate})
	if r.opts.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.opts.Timeout, fmt.Errorf("not built within %v", r.opts.Timeout))
		defer cancel()
	}
	started, seen := time.Now(), map[string]bool{}
	for tries := 1; ; tries++ {
		out, err := r.opts.Builder.Build(ctx, it, r.opts.Emit)
		if err == nil || ctx.Err() != nil || tries > r.opts.Retries {
			return out, tries, err
		}
		wait := backoff(tries - 1)
		pause := wait.Round(time.Second)
		var retry string
		switch {
		case temporary(err):
			retry = fmt.Sprintf("temporary fault, trying again in %v (%d of %d)", pause, tries, r.opts.Retries)
		case newFailure(err, seen):
			// How many attempts follow is unknown: another failure of this kind is final.
			retry = fmt.Sprintf("a command failed for no known reason, trying once more in %v", pause)
		}
		if retry == "" || r.opts.RetryTime > 0 && time.Since(started)+wait > r.opts.RetryTime {
			return out, tries, err
		}
		r.opts.Emit(Event{
			Time: time.Now(),
			Kind: EventMessage,
			Text: fmt.Sprintf("%s: %s: %v", it.Image, retry, firstLine(err)),
		})
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return out, tries, context.Cause(ctx)
		}
	}
}

// backoff returns how long to wait before another attempt. It doubles each time and has
// a random part, so that images that failed together are not retried together.
func backoff(attempt int) time.Duration {
	d := min(time.Second<<min(attempt, 5), 30*time.Second)
	return d/2 + rand.N(d)
}

func firstLine(err error) string {
	s, _, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	return s
}

// TransientFault reports whether the last lines of a step show a temporary fault of the
// network or of a server.
func TransientFault(tail []string) bool { return anyLine(tail, transientMessages()) }

// PermanentFault reports whether the last lines of a step show a mistake that another
// attempt would repeat.
func PermanentFault(tail []string) bool { return anyLine(tail, permanentMessages()) }

func anyLine(lines []string, re *regexp.Regexp) bool {
	for _, l := range lines {
		if re.MatchString(strings.ToLower(l)) {
			return true
		}
	}
	return false
}

// Repeatable is implemented by errors of commands whose output does not show
// whether they would fail again. Such a command is tried once more; a failure with
// the same signature is final.
type Repeatable interface {
	error
	// Signature is equal for failures of the same kind, "" if another attempt is
	// useless.
	Signature() string
}

// variableParts are the parts of a line that differ between two failures of the
// same kind: numbers, times, digests, addresses, and the random names of temporary files.
var variableParts = regexp.MustCompile(
	`(/var)?/tmp/[^\s'":,;)]+|\btmp[._-]?[A-Za-z0-9_]{6,}|0x[0-9a-f]+|[0-9a-f]{7,}|[0-9]+`)

// SignatureOf returns the signature of a step that failed, from its name, its exit
// code and the last lines of each stream of its output. The order of lines of different
// streams differs between two failures of the same kind.
func SignatureOf(step string, exitCode int, streams ...[]string) string {
	s := fmt.Sprintf("%s\n%d", step, exitCode)
	for _, lines := range streams {
		lines = lines[max(0, len(lines)-signatureLines):]
		s += "\n\n" + variableParts.ReplaceAllString(strings.Join(lines, "\n"), "#")
	}
	return s
}

// signatureLines is how many of the last lines of a stream are part of a signature: the
// cause is at the end, and earlier lines vary.
const signatureLines = 5

// newFailure reports whether an error is a failure that is worth another attempt, because
// none of the same kind has occurred. seen has the signatures of earlier ones.
func newFailure(err error, seen map[string]bool) bool {
	var c Repeatable
	if !errors.As(err, &c) || c.Signature() == "" || seen[c.Signature()] {
		return false
	}
	seen[c.Signature()] = true
	return true
}
