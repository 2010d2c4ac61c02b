package build

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"time"
)

// Temporary is what an error implements that may pass by itself.
type Temporary interface {
	error
	Temporary() bool
}

// Detailed is what an error implements that knows where and why a build failed.
type Detailed interface {
	error
	Detail() Failure
}

func temporary(err error) bool {
	var t Temporary
	return errors.As(err, &t) && t.Temporary()
}

// failure makes what is shown of an error. An image that was tried several times
// says so.
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
	if d != nil {
		return f
	}
	var h interface {
		error
		Hint() string
	}
	if errors.As(err, &h) {
		f.Hint = h.Hint()
	}
	return f
}

// backoff is how long to wait before a further try, doubled each time and
// spread, so that images that failed together do not come back together.
func backoff(attempt int) time.Duration {
	d := min(time.Second<<min(attempt, 5), 30*time.Second)
	return d/2 + rand.N(d)
}

func firstLine(err error) string {
	s, _, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	return s
}

// PassingFault reports whether the last lines of a step speak of a fault of
// the network or of a server that may be gone the next time.
func PassingFault(tail []string) bool { return anyLine(tail, passingWords) }

// FinalFault reports whether the last lines of a step speak of a mistake that
// another try would make again.
func FinalFault(tail []string) bool { return anyLine(tail, finalWords) }

func anyLine(lines []string, re *regexp.Regexp) bool {
	for _, l := range lines {
		if re.MatchString(strings.ToLower(l)) {
			return true
		}
	}
	return false
}

// Repeatable is what the error of a command implements about which nobody can
// tell by what it said whether it would fail again. It is tried once more; if
// that ends with the same signature, it is how this command ends.
type Repeatable interface {
	error
	// Signature is equal for failures of the same kind, "" if another try is
	// of no use.
	Signature() string
}

// changing are the parts of a line that differ between two like failures:
// numbers, times, digests, addresses.
var changing = regexp.MustCompile(`0x[0-9a-f]+|[0-9a-f]{7,}|[0-9]+`)

// SignatureOf makes a signature of a step and the last lines that it printed.
func SignatureOf(step string, exitCode int, tail []string) string {
	if n := len(tail); n > signatureLines {
		tail = tail[n-signatureLines:]
	}
	return fmt.Sprintf("%s\n%d\n%s", step, exitCode, changing.ReplaceAllString(strings.Join(tail, "\n"), "#"))
}

// signatureLines is how many of a step's last lines tell its failure from
// another: the cause stands at the end, and what comes before varies.
const signatureLines = 5

// retryReason reports whether another try is worth it, and why. seen holds the
// signatures of earlier tries.
func retryReason(err error, seen map[string]bool) (string, bool) {
	if temporary(err) {
		return "a passing fault", true
	}
	var c Repeatable
	if !errors.As(err, &c) || c.Signature() == "" || seen[c.Signature()] {
		return "", false
	}
	seen[c.Signature()] = true
	return "a command failed, which may have been chance", true
}
