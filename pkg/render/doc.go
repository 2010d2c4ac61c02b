// Package render is Kolla's side of rendering: it lays template trees over each
// other, gives templates the variables, filters and functions that OpenStack
// Kolla's kolla-build gives them, merges users' overrides, and hands on the
// rendered Dockerfiles with the files that each one copies.
//
// It owns the names and the meaning of those variables and functions
// (customizable, handle_repos, debian_package_install, raise_error, env,
// parent_template), the format of repos.yaml, and upstream's layout of a work
// directory. It must not know the template language (pkg/jinja does), the order
// in which images are built, sources, registries or builders.
//
// A [Tree] is read once with [OpenTree]; [Render] makes its Dockerfiles for one
// configuration; [WriteTree] writes them as --template-only does. [Lint] and
// [RenderFile] are the tools for people who write overrides.
package render
