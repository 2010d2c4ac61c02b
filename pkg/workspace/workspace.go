// Package workspace opens what commands work with, as the configuration says: the
// local store, a client for registries, and the caches in the data directory. It
// must not know what commands do with them.
package workspace

import (
	"errors"
	"path/filepath"
	"time"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/packages"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// StoreDir returns the directory of the local store.
func StoreDir(cfg *config.Config) string { return filepath.Join(cfg.DataDir, "store") }

// BuilderDir returns the directory with the state of the builder that is started.
func BuilderDir(cfg *config.Config) string { return filepath.Join(cfg.DataDir, "buildkit") }

// OpenStore opens the local store, and creates it if needed. The caller must
// close it.
func OpenStore(cfg *config.Config) (*store.Store, error) { return store.Open(StoreDir(cfg)) }

// OpenExistingStore opens the local store for a command that makes no sense without
// one. If there is none, the error is a *store.OpenError with ProblemMissing.
func OpenExistingStore(cfg *config.Config) (*store.Store, error) {
	if !store.Exists(StoreDir(cfg)) {
		return store.OpenReadOnly(StoreDir(cfg))
	}
	return OpenStore(cfg)
}

// OpenStoreForReading opens the local store for a command that changes nothing in
// it, and does not create it. It succeeds for a store that this user may not write
// to, such as root's.
func OpenStoreForReading(cfg *config.Config) (*store.Store, error) {
	s, err := OpenExistingStore(cfg)
	var unusable *store.OpenError
	if errors.As(err, &unusable) && unusable.Problem == store.ProblemNotWritable {
		return store.OpenReadOnly(StoreDir(cfg))
	}
	return s, err
}

// RegistryClient returns a client for registries. The caller must close it.
func RegistryClient(cfg *config.Config, con *console.Console) (*registry.Client, error) {
	return registry.New(registry.Options{Insecure: cfg.RegistryInsecure, UserAgent: "kolla-build/" + con.Version,
		Timeout: time.Duration(max(1, cfg.Timeout)) * time.Second})
}

// PackageReader returns a reader of the packages in images. It caches what layers
// contain in the data directory.
func PackageReader(cfg *config.Config) *packages.Reader {
	return &packages.Reader{CacheDir: filepath.Join(cfg.DataDir, "packages")}
}

// Naming returns how the images of a run are named, as the user configured it.
// Its Normalize method gives the form that names have.
func Naming(cfg *config.Config) imageref.Naming {
	return imageref.Naming{Registry: cfg.Registry, Namespace: cfg.Namespace, Prefix: cfg.ImageNamePrefix, Tag: cfg.Tag}
}

// NormalNaming returns Naming in the form that names of images have, and prints what
// differs from what the user wrote.
func NormalNaming(cfg *config.Config, con *console.Console) (imageref.Naming, error) {
	naming, notes, err := Naming(cfg).Normalize()
	if err != nil {
		return naming, err
	}
	for _, note := range notes {
		con.Notice("%s", note)
	}
	return naming, nil
}

// NormalizeNames sets the registry and the namespace of cfg to those of NormalNaming.
func NormalizeNames(cfg *config.Config, con *console.Console) error {
	naming, err := NormalNaming(cfg, con)
	if err != nil {
		return err
	}
	cfg.Registry, cfg.Namespace = naming.Registry, naming.Namespace
	return nil
}
