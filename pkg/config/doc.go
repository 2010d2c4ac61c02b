// Package config owns the configuration: the option table, values and their defaults,
// the environment and kolla-build.conf. It must not know the syntax of the command
// line, nor templates, images, registries or builders.
//
// There is one table of options (Options). Flags, file keys, environment names, help,
// the sample configuration and the option reference are all generated from it; an
// option that is not in the table does not exist.
//
// The value of an option is taken from the first of these that has one:
//
//  1. the command line,
//  2. the environment: KOLLA_BUILD_<OPTION>, then oslo.config's
//     OS_DEFAULT__<OPTION>, then a variable of the option's own such as
//     BUILDKIT_HOST,
//  3. the files: --config-dir and --config-file, last one first; without
//     --config-file, ./kolla-build.conf, then the system's file, such as
//     /etc/kolla/kolla-build.conf,
//  4. the default, which can follow from other options.
//
// Files, values and interpolation are read as oslo.config reads them, because users'
// files were written for it. Where oslo.config ignores a mistake, this package
// reports it with its place and a suggestion.
package config
