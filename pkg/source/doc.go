// Package source fetches the sources of images: archives from URLs, git
// repositories and local files, with their plugins and additions. It owns the
// layout of these archives, as OpenStack Kolla's templates expect them in a build
// context (<image>-archive, plugins-archive, additions-archive), and the cache of
// downloads. It must not know configuration files, templates or builders.
//
//	f, err := source.New(source.Options{CacheDir: dir, Arch: "amd64"})
//	files, err := f.Archives(ctx, source.Request{Image: "keystone-base", Source: &spec})
//
// The same content gives the same bytes on every machine. Credentials in a location
// (https://user:token@host/…) never appear in archives, errors, log lines or the
// arguments of other programs.
package source
