package engine

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/kolla-build/kolla-build/internal/retry"
	"github.com/kolla-build/kolla-build/internal/units"
)

// defaultTimeout is how long an engine may take for a request.
const defaultTimeout = 2 * time.Minute

// transferTimeouts is how long a transfer may stand still, in times of Options.Timeout. Docker
// writes nothing while it unpacks layers, which took minutes for gigabytes on a slow disk.
const transferTimeouts = 15

// limited calls a function that sends a request, which must end within Options.Timeout.
func (e *Engine) limited(ctx context.Context, request func(context.Context) error) error {
	limit, cancel := context.WithTimeoutCause(ctx, e.opts.Timeout, &silentError{e.opts.Timeout})
	defer cancel()
	err := request(limit)
	if err != nil && limit.Err() != nil {
		return context.Cause(limit)
	}
	return err
}

// watchedImage is an image that an engine saves. A transfer that stands still ends.
type watchedImage struct {
	io.ReadCloser
	watch *retry.StallWatch
	fail  func(error) error
}

// Read implements io.Reader.
func (w *watchedImage) Read(p []byte) (int, error) {
	w.watch.Touch()
	n, err := w.ReadCloser.Read(p)
	w.watch.Pause()
	if cause := w.watch.Cause(err); isSilent(cause) {
		err = w.fail(cause)
	}
	return n, err
}

// Close implements io.Closer.
func (w *watchedImage) Close() error {
	defer w.watch.Stop()
	return w.ReadCloser.Close()
}

// silentError reports that an engine accepted a request and did not answer.
type silentError struct{ after time.Duration }

func (e *silentError) Error() string { return "no answer within " + units.Duration(e.after) }

// isSilent reports whether an engine did not answer in time. Such a request is not repeated: the
// engine may still be at work.
func isSilent(err error) bool {
	var silent *silentError
	var stalled *retry.StalledError
	return errors.As(err, &silent) || errors.As(err, &stalled)
}
