// Package render is Kolla's side of rendering: it combines template trees, gives
// templates the variables, filters and functions of OpenStack Kolla's kolla-build,
// merges the users' overrides, and returns the rendered Dockerfiles with the files of
// their build contexts. [OpenTree] reads a [Tree], [Render] renders it for a
// configuration, [WriteTree] writes the result as --template-only does. [Lint] and
// [RenderFile] help to write overrides.
//
// It owns the names and the meaning of those variables and functions, the format of
// repos.yaml and upstream's layout of a work directory. It must not know the syntax of
// templates (see pkg/jinja), the order of images, sources, registries or builders.
package render
