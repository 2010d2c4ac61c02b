package workspace

import (
	"os"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/inputfile"
)

// CheckWritable makes a directory, and a temporary file in it that it removes. Its
// error does not repeat the path.
func CheckWritable(dir string) error {
	if err := atomicfile.MkdirAll(dir, 0o755); err != nil {
		return inputfile.WithoutPath(err)
	}
	f, err := os.CreateTemp(dir, ".kolla-build-*")
	if err != nil {
		return inputfile.WithoutPath(err)
	}
	f.Close()
	return os.Remove(f.Name())
}
