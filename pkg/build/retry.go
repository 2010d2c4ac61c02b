package build

import (
	"errors"
	"math/rand/v2"
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

func failure(err error) *Failure {
	var d Detailed
	if errors.As(err, &d) {
		f := d.Detail()
		return &f
	}
	f := &Failure{Err: err}
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

// passingFaults are what package managers, pip and git print when a server or
// the network failed, as opposed to what was asked of them. In lower case.
var passingFaults = []string{
	"temporary failure resolving",
	"temporary failure in name resolution",
	"could not resolve host",
	"connection timed out",
	"connection reset by peer",
	"connection failed",
	"could not connect to",
	"failed to connect to",
	"unable to connect to",
	"hash sum mismatch",
	"file has unexpected size",
	"mirror sync in progress",
	"undetermined error",
	"read timed out",
	"connection broken",
	"tls handshake timeout",
	"unexpected disconnect while reading",
	"the remote end hung up unexpectedly",
	"429  too many requests",
	"http error 429",
	"500  internal server error",
	"502  bad gateway",
	"503  service unavailable",
	"504  gateway",
	"status code: 502",
	"status code: 503",
	"cannot download, all mirrors were already tried",
	"curl error (28)",
	"curl error (56)",
}

// PassingFault reports whether the last lines of a step speak of a fault of
// the network or of a server that may be gone the next time.
func PassingFault(tail []string) bool {
	for _, line := range tail {
		line = strings.ToLower(line)
		for _, f := range passingFaults {
			if strings.Contains(line, f) {
				return true
			}
		}
	}
	return false
}
