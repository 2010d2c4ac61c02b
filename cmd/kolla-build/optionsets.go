package main

import "slices"

// The options that several commands read, by subject. TestCommandsDeclareWhatTheyRead
// compares what each command declares with what its code reads.
var (
	// baseOptions decide which distribution images are built on.
	baseOptions = []string{"base", "base-tag", "base-image", "base-arch", "base_package_type", "distro_package_manager"}

	// nameOptions decide the names of images.
	nameOptions = []string{"registry", "namespace", "image-name-prefix", "tag"}

	// variableOptions decide the variables of templates.
	variableOptions = slices.Concat(baseOptions, nameOptions, []string{
		"install-type", "openstack-release", "openstack-release-codename", "openstack-branch", "openstack-branch-slashed",
		"use-dumb-init", "docker-healthchecks", "clean_package_cache", "rpm_setup_config", "repos-yaml",
		"maintainer", "patches-path", "include-header", "include-footer"})

	// treeOptions name the templates.
	treeOptions = []string{"images-dir", "docker-dir", "template-override"}

	// lintOptions decide how templates are rendered.
	lintOptions = slices.Concat(variableOptions, treeOptions,
		[]string{"apt_sources_list", "apt_preferences", "build-args", "debian-arch", "platform",
			"profile", "skip-parents", "skip-existing", "enable-unbuildable", "locals-base"})

	// explainOptions decide how an image is configured.
	explainOptions = slices.Concat(variableOptions, treeOptions, []string{
		"regex", "profile", "skip-parents", "skip-existing", "enable-unbuildable", "rerun-failed", "allowed-to-fail",
		"debian-arch", "platform", "base-mirror", "bootstrap", "apt_sources_list", "apt_preferences",
		"tarballs-base", "tarballs-mirrors", "locals-base", "build-args",
		"also-tag", "retain", "push", "registry-insecure",
		"retries", "retry-time", "timeout", "cache", "refresh", "offline", "inputs", "pull", "squash", "compression",
		"network_mode", "allow", "secret", "ssh",
		"engine", "podman_base_url", "buildkit-addr", "buildkit-builder", "buildkitd", "data-dir"})

	// planOptions decide what a build would do.
	planOptions = slices.Concat(explainOptions, []string{"threads"})

	// nightlyOptions decide how a set is built, published and reported.
	nightlyOptions = slices.Concat(planOptions, noteOptions, []string{
		"allow-partial", "dry-run", "fail-fast", "push-threads",
		"image-memory", "image-timeout", "step-timeout", "cache-size", "min-free", "package-cache", "clamp-times",
		"debug", "quiet", "progress", "summary", "format", "logs-dir",
		"summary-json-file", "junit-file", "metrics-file", "report-html", "report-dir"})

	// lockOptions decide how a recorded set is built.
	lockOptions = slices.Concat(planOptions, []string{
		"allow-partial", "fail-fast", "push-threads",
		"image-memory", "image-timeout", "step-timeout", "cache-size", "min-free", "package-cache", "clamp-times",
		"debug", "quiet", "progress", "summary", "format", "logs-dir",
		"summary-json-file", "junit-file", "metrics-file", "report-html", "report-dir"})

	// noteOptions have no effect; a warning says so.
	noteOptions = []string{"keep", "buildkit", "squash-cleanup", "squash-tmp-dir", "infra-rename"}

	// storedOptions select images of the local store by their names.
	storedOptions = slices.Concat(nameOptions, []string{"data-dir"})

	// loadOptions decide where the images of a bundle go.
	loadOptions = slices.Concat(nameOptions, []string{"data-dir", "also-tag", "retain", "push", "registry-insecure",
		"engine", "podman_base_url", "retries", "threads", "timeout", "progress"})

	// registryOptions decide how the images of registry serve --load are named.
	registryOptions = []string{"namespace", "image-name-prefix", "tag", "data-dir", "also-tag", "retain", "threads",
		"timeout", "progress"}
)

// The help of options that do less in some commands than in a build.
var (
	registryHelp = map[string]string{"registry": "Registry in the images' names."}

	storedHelp = map[string]string{
		"registry": "Registry in the images' names.",
		"platform": "Platform of the images, such as linux/arm64.",
	}

	renderHelp = map[string]string{
		"registry":          "Registry in the images' names.",
		"platform":          "Platform to render for, such as linux/arm64. Without it, that is base-arch.",
		"openstack-release": "Use the facts of this OpenStack release, such as 2025.1. The default base tag follows from it.",
	}

	copyHelp = map[string]string{"threads": "Number of images to copy at the same time."}

	fetchHelp = map[string]string{
		"threads":    "Number of files to download at the same time.",
		"retries":    "Number of retries of a download whose failure may be temporary.",
		"retry-time": "Do not retry a download later than this after its first try. 0 is no limit.",
	}

	registryLoadHelp = map[string]string{
		"namespace":         "With --load: namespace of the images. That of the file if it is not set.",
		"image-name-prefix": "With --load: prefix of the names of images.",
		"tag":               "With --load: tag of the images. That of the file if it is not set.",
		"also-tag":          "With --load: further tags of the images.",
		"retain":            "With --load: keep this number of the newest tags of each image.",
		"threads":           "With --load: number of images to push at the same time.",
	}

	loadHelp = map[string]string{
		"threads": "Number of images to push at the same time.",
		"retries": "Number of times that an image is sent again if the engine restarts.",
	}
)
