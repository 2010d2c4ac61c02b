package workspace

import (
	"errors"
	"io/fs"
	"os"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
)

// CheckWritable makes a directory, and a temporary file in it that it removes. Its
// error does not repeat the path.
func CheckWritable(dir string) error {
	if err := atomicfile.MkdirAll(dir, 0o755); err != nil {
		return reason(err)
	}
	f, err := os.CreateTemp(dir, ".kolla-build-*")
	if err != nil {
		return reason(err)
	}
	f.Close()
	return os.Remove(f.Name())
}

// reason is the error of a file operation without the operation and the path,
// which the caller has named.
func reason(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
