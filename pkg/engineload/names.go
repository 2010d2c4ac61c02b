package engineload

import (
	"context"
	"fmt"
	"maps"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/engine"
)

// NamesTakenError reports names under which an engine has other images.
type NamesTakenError struct {
	Engine string
	Names  []string // sorted
}

// maxNamesShown bounds the names in a NamesTakenError's text.
const maxNamesShown = 5

// Error implements error.
func (e *NamesTakenError) Error() string {
	return fmt.Sprintf("%s has other images named %s", e.Engine, units.List(e.Names, maxNamesShown))
}

// Hint returns a hint for the user.
func (e *NamesTakenError) Hint() string {
	return "--replace gives the names to the images of the file; --tag and --rename load them under other names"
}

// checkNames returns an error if images would replace others of the engine or each other.
func checkNames(ctx context.Context, e *engine.Engine, images map[string]v1.Image, replace bool) error {
	if err := e.Refresh(ctx); err != nil {
		return err
	}
	references := map[string]string{} // by the engine's name
	var taken []string
	for _, ref := range slices.Sorted(maps.Keys(images)) {
		name, err := e.Name(ref)
		if err != nil {
			return err
		}
		if twin, ok := references[name]; ok {
			return usererr.Errorf("load them under different names: --tag, --rename",
				"%s and %s have the same name in %s: %s", twin, ref, e, name)
		}
		references[name] = ref
		if replace {
			continue
		}
		other, err := e.HasOther(ctx, ref, images[ref])
		if err != nil {
			return err
		}
		if other {
			taken = append(taken, ref)
		}
	}
	if len(taken) > 0 {
		return &NamesTakenError{Engine: e.String(), Names: taken}
	}
	return nil
}
