package engineload

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/pkg/bootstrap"
	"github.com/kolla-build/kolla-build/pkg/engine"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// Origin is the store.Entry.Origin of images that were copied from an engine.
const Origin = "engine"

// Key returns the store.Entry.Key of an image that was copied from an engine. It
// contains the image's ID in the engine, which shows whether the copy is still current.
func Key(e *engine.Engine, reference string) string { return "engine:" + e.ID(reference) }

// Copy copies an image of the engine into the store under its reference. Such an image
// was built by another program, and images of this run depend on it.
func Copy(ctx context.Context, e *engine.Engine, s *store.Store, reference string, kind store.Kind) error {
	if err := copyImage(ctx, e, s, reference, kind); err != nil {
		return fmt.Errorf("copying %s from %s: %w", reference, e, err)
	}
	return nil
}

func copyImage(ctx context.Context, e *engine.Engine, s *store.Store, reference string, kind store.Kind) error {
	archive, err := atomicfile.Unnamed(os.TempDir()) // gone when this process is killed
	if err != nil {
		return err
	}
	defer archive.Close()
	content, err := e.Save(ctx, reference)
	if err != nil {
		return err
	}
	_, err = io.Copy(archive, content)
	if cerr := content.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	im, err := bootstrap.Import(ctx, s, fmt.Sprintf("/proc/self/fd/%d", archive.Fd()), bootstrap.ImportOptions{})
	if err != nil {
		return err
	}
	return s.Put(store.Entry{Name: reference, Digest: im.Digest, Kind: kind, Origin: Origin, Key: Key(e, reference)})
}
