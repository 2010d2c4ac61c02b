// Package config owns what a user can say to kolla-build and how it is said:
// the option table, the command line, the environment, kolla-build.conf, the
// defaults that follow from other options, and the facts about base
// distributions, users and sources that are defaults of options.
//
// There is one table of options (Options). Flags, file keys, environment names,
// the help text, the sample configuration and the option reference are all made
// from it; an option that is not in the table does not exist.
//
// A value comes from the first of these that has one:
//
//  1. the command line,
//  2. the environment: KOLLA_BUILD_<OPTION>, then oslo.config's
//     OS_DEFAULT__<OPTION>, then a variable of the option's own such as
//     BUILDKIT_HOST,
//  3. the files: --config-dir and --config-file, last one first, then
//     ./kolla-build.conf, then /etc/kolla/kolla-build.conf,
//  4. the default, which may follow from other options.
//
// Files, values and interpolation read as oslo.config reads them, because users'
// files were written for it. Where oslo.config ignores a mistake, this package
// reports it with its place and a suggestion.
//
// The package must not know templates, images, registries or builders: it hands
// on a *Config, which nothing changes after Load returns.
package config
