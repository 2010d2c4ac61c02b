// Package workspace opens the resources of commands according to the configuration: the
// local store, a client for registries, and the caches in the data directory. It must
// not know how commands use them.
package workspace

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/usererr"
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

// CheckDataDir returns an error if there is no data directory to use: no home directory to
// have it in, or a file in its place. Commands that read or write files in it without a
// store call this first.
func CheckDataDir(cfg *config.Config) error {
	if cfg.DataDir == "" {
		return usererr.Errorf("set HOME, or give --data-dir", "data-dir: there is no home directory")
	}
	info, err := os.Stat(cfg.DataDir)
	if !errors.Is(err, syscall.ENOTDIR) && (err != nil || info.IsDir()) {
		return nil
	}
	hint := "a part of the path is a file; set --data-dir to another directory"
	if cfg.Origin("data-dir").Kind == config.OriginDefault {
		return usererr.Errorf(hint, "data-dir: %s: not a directory", cfg.DataDir)
	}
	return cfg.Mistake("data-dir", hint, "not a directory")
}

// OpenStore opens the local store, and creates it if needed. The caller must
// close it.
func OpenStore(cfg *config.Config) (*store.Store, error) {
	if err := CheckDataDir(cfg); err != nil {
		return nil, err
	}
	return store.Open(StoreDir(cfg))
}

// OpenExistingStore opens the local store for a command that needs an existing one. If
// there is none, the error is a *store.OpenError with ProblemMissing.
func OpenExistingStore(cfg *config.Config) (*store.Store, error) {
	if err := CheckDataDir(cfg); err != nil {
		return nil, err
	}
	if !store.Exists(StoreDir(cfg)) {
		return store.OpenReadOnly(StoreDir(cfg))
	}
	return OpenStore(cfg)
}

// OpenStoreForReading opens the local store for a command that must not change it. It creates
// and writes nothing, and works for a store without write permission, such as root's. If there
// is none, the error is a *store.OpenError with ProblemMissing.
func OpenStoreForReading(cfg *config.Config) (*store.Store, error) {
	if err := CheckDataDir(cfg); err != nil {
		return nil, err
	}
	return store.OpenReadOnly(StoreDir(cfg))
}

// OpenStoreForCopying opens the local store for a command that copies its images elsewhere. Such
// a command writes large temporary files to the store and records which blobs it has verified.
// Without write permission, the store is opened for reading only.
func OpenStoreForCopying(cfg *config.Config) (*store.Store, error) {
	s, err := OpenExistingStore(cfg)
	var unusable *store.OpenError
	if errors.As(err, &unusable) && unusable.Problem == store.ProblemNotWritable {
		return OpenStoreForReading(cfg)
	}
	return s, err
}

// RegistryClient returns a client for registries. The caller must close it.
func RegistryClient(ctx context.Context, cfg *config.Config, con *console.Console) (*registry.Client, error) {
	client, err := registry.New(ctx, registry.Options{
		Insecure:  cfg.RegistryInsecure,
		UserAgent: "kolla-build/" + con.Version,
		Timeout:   time.Duration(max(1, cfg.Timeout)) * time.Second,
	})
	if errors.Is(err, registry.ErrInsecureHost) {
		err = cfg.UsageIfTyped("registry-insecure", err)
	}
	return client, err
}

// PackageReader returns a reader of the packages in images. It caches the packages of
// layers in the data directory.
func PackageReader(cfg *config.Config) *packages.Reader {
	return &packages.Reader{CacheDir: filepath.Join(cfg.DataDir, "packages")}
}

// Naming returns the configured registry, namespace, prefix and tag of images. Its
// Normalize method returns the form that names use.
func Naming(cfg *config.Config) imageref.Naming {
	return imageref.Naming{Registry: cfg.Registry, Namespace: cfg.Namespace, Prefix: cfg.ImageNamePrefix, Tag: cfg.Tag}
}

// NamesRegistry reports whether the configuration names a registry, also as the beginning of
// the namespace.
func NamesRegistry(cfg *config.Config) bool {
	naming, _, err := Naming(cfg).Normalize()
	return cfg.Registry != "" || err == nil && naming.Registry != ""
}

// NormalNaming returns the normalized Naming, and prints the changes to the user's
// input.
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
