package save

import (
	"context"
	"errors"

	"github.com/kolla-build/kolla-build/internal/retry"
)

// damagedReads bounds how often content of a source is read that arrives damaged.
var damagedReads = retry.Policy{Retries: 3}

// retryReads repeats what reads a source while the source reports, with a *retry.Error, that
// reading the same content again may succeed.
func retryReads(ctx context.Context, attempt func() error) error {
	err := damagedReads.Do(ctx, func() error {
		err := attempt()
		var known *retry.Error
		if err != nil && !errors.As(err, &known) {
			err = &retry.Error{Err: err}
		}
		return err
	})
	var last *retry.Error
	if errors.As(err, &last) && err == error(last) && !last.Again {
		return last.Err
	}
	return err
}
