// Package source gets what images are built from besides packages: sources from
// a url, a git repository or this machine, with their plugins and additions.
// It hands on archives: files with stable bytes, named and laid out as
// OpenStack Kolla's templates expect them in an image's build context
// (<image>-archive, plugins-archive, additions-archive).
//
// It owns the cache of downloads, which is addressed by content: what has not
// moved is not fetched again. It knows nothing of configuration files, templates
// or builders; where a source lies is told to it in a Spec, with all variables
// put in.
//
//	f, err := source.New(source.Options{CacheDir: dir, Arch: "amd64"})
//	files, err := f.Archives(ctx, source.Request{Image: "keystone-base", Source: &spec})
//
// Credentials in a location (https://user:token@host/…) are used and nowhere
// shown: not in archives, errors or log lines.
package source
