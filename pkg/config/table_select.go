package config

import "github.com/kolla-build/kolla-build/pkg/facts"

// This file and table_build.go contain the option table, group by group. Names, short
// forms, defaults, choices and bounds of Kolla's options are upstream's of July 2026;
// those of older releases are from the last release that had them. The first sentence
// of a help text stands alone in the short help and in completion.

var selectOptions = []*Option{
	{Name: "regex", Kind: Multi, Positional: true, Arg: "REGEX", Group: GroupSelect, From: Upstream,
		Help: "Build the images whose names match, and their parents. Several expressions can be given, and each matches " +
			"anywhere in a name. Without any, and without a profile, all images are built."},
	{Name: "profile", Short: "p", Kind: Multi, Arg: "NAME", Values: ValuesProfiles, Group: GroupSelect, From: Upstream, Common: true,
		Help: "Build a named set of images. The sets are infra, main, aux, default, and those of the [profiles] section. " +
			"Repeatable. Ignored if regular expressions are given."},
	{Name: "skip-parents", Kind: Bool, Default: "false", Group: GroupSelect, From: Upstream,
		Help: "Do not build images that have children. They are used as they were built before."},
	{Name: "skip-existing", Kind: Bool, Default: "false", Group: GroupSelect, From: Upstream,
		Help: "Do not build images whose name and tag exist already."},
	{Name: "enable-unbuildable", Kind: Bool, Default: "false", Group: GroupSelect, From: Upstream,
		Help: "Include images that are known not to build on this distribution and architecture."},
	{Name: "allowed-to-fail", Kind: List, Arg: "IMAGE,…", Group: GroupSelect, From: UpstreamFile,
		Help: "Images whose failure does not fail the run."},
	{Name: "list-images", Kind: Bool, Default: "false", Group: GroupSelect, From: Upstream, Common: true,
		Help: "List the selected images and exit. Needs no builder."},
	{Name: "list-dependencies", Short: "l", Kind: Bool, Default: "false", Group: GroupSelect, From: Upstream,
		Help: "Print the selected images as a JSON tree of parents and children and exit. Needs no builder."},
	{Name: "save-dependency", Kind: String, Arg: "FILE", Group: GroupSelect, From: Upstream, NonEmpty: true,
		Help: "Write the graph of images to a file and exit. A name that ends in .svg gives a picture, .mmd Mermaid, any " +
			"other Graphviz, as images.dot. Needs no builder."},
	{Name: "dry-run", Kind: Bool, Default: "false", Group: GroupSelect, From: Ours,
		Help: "Show what would be built, and why, and exit. Add --format json for JSON. Needs no builder. The command plan does the same."},
	{Name: "template-only", Kind: Bool, Default: "false", Group: GroupSelect, From: Upstream,
		Help: "Render the Dockerfiles into the working directory and exit. Needs no builder."},
}

var baseOptions = []*Option{
	{Name: "base", Short: "b", Kind: String, Default: "rocky", Choices: facts.DistroNames(), Arg: "DISTRO", Group: GroupBase,
		From: Upstream, Common: true,
		Help: "Distribution of the images."},
	{Name: "base-tag", Kind: String, Default: "latest", DefaultText: "latest, which means the default of the distribution " +
		"and the OpenStack release", Arg: "TAG", Values: ValuesTags, Group: GroupBase, From: Upstream,
		derive: deriveBaseTag,
		Help:   "Tag of the base image. TAG@sha256:DIGEST pins it."},
	{Name: "base-image", Kind: String, DefaultText: "the distribution's own image", Arg: "NAME", Group: GroupBase, From: Upstream,
		derive: deriveBaseImage,
		Help:   "Base image without its tag. It is a repository in a registry, or the path of an OCI layout or a tarball."},
	{Name: "base-arch", Kind: String, DefaultText: "the host's architecture", Choices: []string{"x86_64", "aarch64"},
		Arg: "ARCH", Group: GroupBase, From: Upstream,
		derive: func(r *resolver) (string, error) { return r.hostArch, nil },
		Help:   "Architecture of the images."},
	{Name: "debian-arch", Kind: String, DefaultText: "follows from base-arch", Choices: []string{"amd64", "arm64"},
		Arg: "ARCH", Group: GroupBase, From: Upstream,
		derive: deriveDebianArch,
		Help:   "Debian's name of the architecture. It is used in addresses of downloads."},
	{Name: "platform", Kind: String, Arg: "OS/ARCH", Suggestions: words("linux/amd64", "linux/arm64"), Group: GroupBase, From: Upstream,
		Help: "Platform to build for, such as linux/arm64. Several are separated by commas. Without it, images are built for base-arch."},
	{Name: "base-mirror", Kind: String, Arg: "URL", Group: GroupBase, From: Ours,
		DefaultText: "the mirror in the host's package configuration",
		Help:        "Package mirror to bootstrap a base image from."},
	{Name: "bootstrap", Kind: String, Default: "auto", Choices: []string{"auto", "never"}, Arg: "WHEN", Group: GroupBase, From: Ours,
		Help: "Whether to bootstrap a base image whose registry is unreachable. With auto, a Debian or Ubuntu image is " +
			"made from a package mirror."},
	{Name: "base_package_type", Kind: String, DefaultText: "follows from base", Arg: "TYPE", Group: GroupBase, From: UpstreamFile,
		derive: deriveDistro(func(d facts.Distro) string { return d.PackageType }),
		Help:   "Package format of the distribution: deb or rpm."},
	{Name: "distro_package_manager", Kind: String, DefaultText: "follows from base", Arg: "COMMAND", Group: GroupBase, From: UpstreamFile,
		derive: deriveDistro(func(d facts.Distro) string { return d.PackageManager }),
		Help:   "Package manager to call in Dockerfiles."},
	{Name: "repos-yaml", Kind: String, Arg: "FILE", Group: GroupBase, From: Upstream,
		Help: "File of package repositories that replaces or extends the default ones."},
	{Name: "apt_sources_list", Kind: String, Arg: "FILE", Group: GroupBase, From: UpstreamFile,
		Help: "A sources.list for Debian and Ubuntu images."},
	{Name: "apt_preferences", Kind: String, Arg: "FILE", Group: GroupBase, From: UpstreamFile,
		Help: "An apt preferences file for Debian and Ubuntu images."},
	{Name: "rpm_setup_config", Kind: List, Arg: "FILE,…", Group: GroupBase, From: UpstreamFile,
		Help: "Repositories to set up in the base image first. They are files or URLs that end in .rpm or .repo."},
	{Name: "clean_package_cache", Kind: Bool, Default: "true", Group: GroupBase, From: UpstreamFile,
		Help: "Remove the package manager's cache from the images."},
	{Name: "use-dumb-init", Kind: Bool, Default: "true", Group: GroupBase, From: Upstream,
		Help: "Run the images' commands under dumb-init."},
	{Name: "docker-healthchecks", Kind: Bool, Default: "true", Group: GroupBase, From: Upstream,
		Help: "Add the health check scripts to the images."},
}

var releaseOptions = []*Option{
	{Name: "openstack-release", Kind: String, DefaultText: "that of images-dir, or of the Kolla beside the program, otherwise " + facts.Master,
		Arg: "NAME", Suggestions: suggestedReleases, Group: GroupRelease, From: Upstream, Common: true,
		derive: deriveRelease,
		Help:   "Build this OpenStack release, such as 2025.1. The default base tag, the sources and other facts follow from it."},
	{Name: "openstack-release-codename", Kind: String, DefaultText: "follows from openstack-release", Arg: "NAME",
		Group: GroupRelease, From: Upstream,
		derive: deriveCodename,
		Help:   "Name of the release in Debian's and Ubuntu's OpenStack archives."},
	{Name: "openstack-branch", Kind: String, DefaultText: "follows from openstack-release", Arg: "BRANCH", Group: GroupRelease, From: Upstream,
		derive: deriveBranch("-"),
		Help:   "Branch in the names of source archives, such as stable-2026.1. Setting openstack-release is usually better."},
	{Name: "openstack-branch-slashed", Kind: String, DefaultText: "follows from openstack-release", Arg: "BRANCH",
		Group: GroupRelease, From: Upstream,
		derive: deriveBranch("/"),
		Help:   "Branch as git names it, such as stable/2026.1. Setting openstack-release is usually better."},
	{Name: "install-type", Short: "t", Aliases: []string{"type"}, Kind: String, Default: "source",
		Choices: []string{"source", "binary"}, Arg: "TYPE", Group: GroupRelease, From: UpstreamOlder, Common: true,
		Help: "Install from source, or from packages (binary)."},
	{Name: "tarballs-base", Kind: String, Default: "https://tarballs.opendev.org", Arg: "URL", Group: GroupRelease, From: Upstream,
		Help: "Server of OpenStack's source archives."},
	{Name: "tarballs-mirrors", Kind: List, Arg: "URL,…", Group: GroupRelease, From: Ours,
		Help: "Mirrors of tarballs-base, tried in order if it fails."},
	{Name: "locals-base", Kind: String, Default: "./", Arg: "DIR", Group: GroupRelease, From: Upstream,
		Help: "Directory that relative paths of local sources start from."},
	{Name: "patches-path", Kind: String, Arg: "DIR", Group: GroupRelease, From: Upstream,
		Help: "Directory of patches, with a subdirectory and a series file per image."},
}

// suggestedReleases returns the newest OpenStack releases, for completion.
func suggestedReleases() []string { return facts.Releases()[:5] }

var treeOptions = []*Option{
	{Name: "images-dir", Kind: String, Arg: "DIR", DefaultText: "the tree inside the program", Group: GroupTree, From: Ours,
		Help: "Use this template tree instead of the built-in one, such as the directory docker of a checkout of Kolla. Its " +
			"release is then the default of openstack-release."},
	{Name: "docker-dir", Short: "D", Kind: Multi, Arg: "DIR", Group: GroupTree, From: Upstream,
		Help: "Add a template tree, which takes precedence over the others. Repeatable."},
	{Name: "template-override", Kind: Multi, Arg: "FILE", Group: GroupTree, From: Upstream,
		Help: "Apply a file of template overrides. Repeatable."},
	{Name: "work-dir", Kind: String, Arg: "DIR", DefaultText: "a temporary directory", Group: GroupTree, From: Upstream,
		Help: "Write the rendered Dockerfiles here and keep them."},
	{Name: "build-args", Kind: Dict, Arg: "K:V,…", Group: GroupTree, From: Upstream,
		Help: "Build arguments for every Dockerfile, such as http_proxy."},
	{Name: "maintainer", Kind: String, Default: "Kolla Project (https://launchpad.net/kolla)", Arg: "TEXT",
		Group: GroupTree, From: UpstreamFile,
		Help: "Content of the maintainer label."},
}
