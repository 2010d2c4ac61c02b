package config

var namesOptions = []*Option{
	{Name: "registry", Kind: String, Arg: "HOST[:PORT]", Group: GroupNames, From: Upstream, Common: true,
		Help: "Registry in image names and target of --push."},
	{Name: "namespace", Short: "n", Kind: String, Default: "kolla", Arg: "NAME", Group: GroupNames, From: Upstream,
		Help: "Namespace in the images' names."},
	{Name: "image-name-prefix", Kind: String, Arg: "TEXT", Group: GroupNames, From: Upstream,
		Help: "Prefix of every image's name."},
	{Name: "tag", Kind: String, DefaultText: "RELEASE-BASE-BASETAG, such as master-debian-trixie", Arg: "TAG",
		Group: GroupNames, From: Upstream, Common: true,
		derive: deriveTag,
		Help:   "Tag of the images."},
	{Name: "also-tag", Kind: Multi, Arg: "TAG", Group: GroupNames, From: Ours,
		Help: "Publish the set under a further tag, such as nightly. All tags of a set change together, when every image " +
			"has been published. Repeatable."},
	{Name: "retain", Kind: String, Arg: "COUNT|AGE", Group: GroupNames, From: Ours,
		Help: "Keep this many dated sets, such as 14, or those of an age, such as 30d or 8w. After a publication, older " +
			"tags of the same form as this run's dated tag are deleted from the registry and the store. --keep=14 is the same."},
	{Name: "allow-partial", Kind: Bool, Default: "false", Group: GroupNames, From: Ours,
		Help: "Publish the images that succeeded although others failed. Only images whose parents succeeded are " +
			"published. Without this option, a run with failures changes no tag."},
	{Name: "push", Kind: Bool, Default: "false", Group: GroupNames, From: Upstream, Common: true,
		Help: "Push the images to the registry."},
	{Name: "push-threads", Kind: Int, DefaultText: "as many as --threads", Min: 1, Arg: "N", Group: GroupNames, From: Upstream,
		derive: derivePushThreads,
		Help:   "Number of images to push at the same time."},
	{Name: "registry-insecure", Kind: List, Arg: "HOST,…", Group: GroupNames, From: Ours,
		Help: "Use plain HTTP for these registries."},
}

var buildOptions = []*Option{
	{Name: "threads", Short: "T", Kind: Int, Default: "8", Min: 1, Arg: "N", Group: GroupBuild, From: Upstream,
		Help: "Number of images to build at the same time."},
	{Name: "retries", Short: "r", Kind: Int, Default: "3", Min: 0, Arg: "N", Group: GroupBuild, From: Upstream,
		Help: "Number of retries of an image whose failure may be temporary."},
	{Name: "timeout", Kind: Int, Default: "120", Min: 1, Arg: "SECONDS", Group: GroupBuild, From: Upstream,
		Help: "Time limit for an answer to a request."},
	{Name: "image-timeout", Kind: Int, Default: "0", Min: 0, Arg: "SECONDS", Group: GroupBuild, From: Ours,
		Help: "Time limit for one image, retries included. 0 is no limit. A step that hangs is stopped."},
	{Name: "step-timeout", Kind: Int, Default: "0", Min: 0, Arg: "SECONDS", Group: GroupBuild, From: Ours,
		Help: "Time limit for one step of an image. 0 is no limit. A step that hangs is stopped and retried once."},
	{Name: "retry-time", Kind: Int, Default: "900", Min: 0, Arg: "SECONDS", Group: GroupBuild, From: Ours,
		Help: "Do not retry an image later than this after its first try. 0 is no limit."},
	{Name: "rerun-failed", Kind: Bool, Default: "false", Group: GroupBuild, From: Ours, CommandLineOnly: true,
		Help: "Build the images that the last run did not finish. These are the images that failed or were not reached."},
	{Name: "image-memory", Kind: Size, Default: "512M", Arg: "SIZE", Group: GroupBuild, From: Ours,
		Help: "Memory that must be available for each image being built. 0 is no bound besides --threads."},
	{Name: "fail-fast", Kind: Bool, Default: "false", Group: GroupBuild, From: Ours,
		Help: "Stop at the first image that fails. Without this option, all images that do not depend on it are built."},
	{Name: "cache", Kind: Bool, Default: "true", Group: GroupBuild, From: Upstream,
		Help: "Use the builder's cache of steps."},
	{Name: "package-cache", Kind: Bool, Default: "false", Group: GroupBuild, From: Ours,
		Help: "Share one cache of packages among all steps that call apt, dnf or pip. It is a cache mount in the builder, " +
			"also where templates do not ask for one, and never part of an image."},
	{Name: "refresh", Kind: Bool, Default: "false", Group: GroupBuild, From: Ours,
		Help: "Rebuild images whose package repositories or downloads have changed. Their descendants are rebuilt as well."},
	{Name: "offline", Kind: Bool, Default: "false", Group: GroupBuild, From: Ours,
		Help: "Build without a network, from --inputs. Base images and sources come from that directory, and steps reach " +
			"nothing but a proxy that serves it. Inputs that are missing are reported before anything is built."},
	{Name: "inputs", Kind: String, Arg: "DIR", Group: GroupBuild, From: Ours,
		Help: "Directory of inputs for --offline, which kolla-build fetch makes."},
	{Name: "clamp-times", Kind: Bool, Default: "true", Group: GroupBuild, From: Ours,
		Help: "Set files in layers that are newer than the image's created time to that time. The same inputs then give the same digests."},
	{Name: "compression", Kind: String, Default: "gzip", Arg: "ALGORITHM[:LEVEL]",
		Suggestions: words("gzip", "zstd", "estargz"), Group: GroupBuild, From: Ours,
		Help: "Compression of layers: gzip (levels 1 to 9), zstd (1 to 22), or estargz (1 to 9) for lazy pulling. " +
			"Consumers of zstd need Docker 23, containerd 1.5 or Podman 3.3."},
	{Name: "pull", Kind: Bool, Default: "true", Group: GroupBuild, From: Upstream,
		Help: "Check the registry for a newer base image."},
	{Name: "keep", Kind: Bool, Default: "false", Group: GroupBuild, From: Upstream,
		NoteValue: "true", Note: "--keep has no effect: BuildKit does not keep the containers of failed steps; the output " +
			"of the step is in the image's log",
		Redirect: keepMeansRetain,
		Help:     "Keep the containers of failed steps. BuildKit has none. With a number or an age, as --keep=14, it means --retain."},
	{Name: "squash", Kind: Bool, Default: "false", Group: GroupBuild, From: Upstream,
		Help: "Merge the layers that an image adds to its parent into one. Files that a later step deletes then take no space."},
	{Name: "squash-cleanup", Kind: Bool, Default: "true", Group: GroupBuild, From: UpstreamFile,
		NoteValue: "false", Note: "--nosquash-cleanup has no effect: the unsquashed image has no name, and kolla-build gc removes it",
		Help: "Remove the unsquashed image. It never has a name, and kolla-build gc removes its layers."},
	{Name: "squash-tmp-dir", Kind: String, Arg: "DIR", Group: GroupBuild, From: UpstreamFile,
		Note: "squash-tmp-dir has no effect: layers are squashed inside the store (--data-dir)",
		Help: "Temporary directory for squashing. Not used: layers are squashed inside the store."},
	{Name: "network_mode", Kind: String, Default: "host", Arg: "MODE", Suggestions: words("host", "none", "default"),
		Group: GroupBuild, From: Upstream,
		Help: "Network of build steps: host, none or default. The default is the builder's own."},
	{Name: "allow", Kind: Multi, Arg: "ENTITLEMENT", Suggestions: words("network.host", "security.insecure"), Group: GroupBuild, From: Ours,
		Help: "Allow steps more than a sandbox: network.host for RUN --network=host, security.insecure for RUN " +
			"--security=insecure. The host's network needs it only with --buildkit-addr or another --network_mode than host. Repeatable."},
	{Name: "secret", Kind: Multi, Arg: "id=NAME[,src=FILE|,env=VARIABLE]", Group: GroupBuild, From: Ours, NonEmpty: true,
		Help: "Secret for RUN --mount=type=secret,id=NAME, from a file or a variable of the environment. It is part of no " +
			"image and no key: a changed secret rebuilds nothing. Repeatable."},
	{Name: "ssh", Kind: Multi, Arg: "default|ID[=PATH]", Group: GroupBuild, From: Ours, NonEmpty: true,
		Help: "SSH agent for RUN --mount=type=ssh: the agent of SSH_AUTH_SOCK, the socket of another agent, or private keys " +
			"without a passphrase. Repeatable."},
}

var builderOptions = []*Option{
	{Name: "engine", Kind: String, Default: "docker", Choices: []string{"docker", "podman", "containerd", "none"},
		Arg: "NAME", Group: GroupBuilder, From: Upstream, Common: true,
		DefaultText: "docker, if it is running and nothing is pushed",
		Help: "Load into docker, podman, containerd or none. The named engine must be running. Without this " +
			"option, images are loaded into Docker if it is running and they are not pushed."},
	{Name: "podman_base_url", Kind: String, Default: "unix:///run/podman/podman.sock", Arg: "URL", Group: GroupBuilder, From: Upstream,
		Help: "Address of Podman's service, for --engine podman. Without this option, and without a service there, the podman command is used."},
	{Name: "buildkit", Kind: Bool, Default: "true", Group: GroupBuilder, From: Upstream,
		Note: "--nobuildkit has no effect: images are always built by BuildKit", NoteValue: "false",
		Help: "Build with BuildKit. Images are always built with it."},
	{Name: "buildkit-builder", Kind: String, Arg: "NAME", Group: GroupBuilder, From: Upstream,
		Help: "Use a builder of docker buildx with the docker-container driver. It is short for --buildkit-addr " +
			"docker-container://buildx_buildkit_NAME0."},
	{Name: "buildkit-addr", Kind: String, Arg: "URL", Env: []string{"BUILDKIT_HOST"}, Group: GroupBuilder, From: Ours,
		DefaultText: "none: a builder is started and stopped",
		derive:      deriveBuildkitAddr,
		Help: "Use a running BuildKit. The address begins with unix://, tcp://, docker-container://, " +
			"podman-container://, kube-pod:// or ssh://."},
	{Name: "buildkitd", Kind: String, Arg: "FILE", Group: GroupBuilder, From: Ours,
		DefaultText: "buildkitd next to this program, or in PATH",
		Help:        "BuildKit daemon to start if no address is given."},
	{Name: "cache-size", Kind: Size, Default: "0", Arg: "SIZE", Group: GroupBuilder, From: Ours,
		DefaultText: "80 % of the disk",
		Help:        "Maximum size of the builder's cache. The least recently used entries are removed first."},
	{Name: "min-free", Kind: Size, Default: "0", Arg: "SIZE", Group: GroupBuilder, From: Ours,
		DefaultText: "a twentieth of the disk, at most 5 GB",
		Help: "Free space to keep on the disk of the data directory. Below it the builder's cache is pruned and no " +
			"further image is started."},
	{Name: "data-dir", Kind: String, Arg: "DIR", Group: GroupBuilder, From: Ours, NonEmpty: true, Common: true,
		DefaultText: "/var/lib/kolla-build for root, else $XDG_DATA_HOME/kolla-build or ~/.local/share/kolla-build",
		derive:      deriveDataDir,
		Help:        "Directory of the store, builder and sources. The registry's images are stored there as well."},
}

var outputOptions = []*Option{
	{Name: "progress", Kind: String, Default: "auto", Choices: []string{"auto", "plain", "tty", "json", "quiet"},
		Arg: "STYLE", Group: GroupOutput, From: Ours,
		Help: "Style of progress: plain (lines), tty (a live display), json (JSON lines), quiet (failures only), " +
			"or auto, which is tty on a terminal and plain elsewhere."},
	{Name: "quiet", Short: "q", Kind: Bool, Default: "false", Group: GroupOutput, From: Upstream,
		Help: "Do not print the images' logs."},
	{Name: "debug", Short: "d", Kind: Bool, Default: "false", Group: GroupOutput, From: Upstream,
		Help: "Print more about what is done."},
	{Name: "logs-dir", Kind: String, Arg: "DIR", Group: GroupOutput, From: Upstream,
		Help: "Write the log of each image to this directory, as IMAGE.log, and not to the data directory."},
	{Name: "summary", Kind: Bool, Default: "true", Group: GroupOutput, From: Upstream,
		Help: "Print a summary at the end."},
	{Name: "format", Short: "f", Kind: String, Default: "json", Choices: []string{"json", "none"}, Arg: "FORMAT",
		Group: GroupOutput, From: Upstream,
		Help: "Format of the summary for programs: json or none. Without this option, JSON is not printed to a terminal, " +
			"nor where standard output and standard error are the same file, such as the log of a job."},
	{Name: "summary-json-file", Kind: String, Arg: "FILE", DefaultText: "standard output", Group: GroupOutput, From: Upstream,
		Help: "Write the JSON summary to this file."},
	{Name: "report-html", Kind: String, Arg: "FILE", Group: GroupOutput, From: Ours, NonEmpty: true,
		Help: "Write a report of the run for a browser. It is one file with the dependency graph, a timeline, what " +
			"changed, and the logs of failed images."},
	{Name: "junit-file", Kind: String, Arg: "FILE", Group: GroupOutput, From: Ours, NonEmpty: true,
		Help: "Write the results as JUnit XML, for CI systems."},
	{Name: "metrics-file", Kind: String, Arg: "FILE", Group: GroupOutput, From: Ours, NonEmpty: true,
		Help: "Write counts, times and sizes as OpenMetrics text. The textfile collector of Prometheus' node_exporter reads it."},
	{Name: "report-dir", Kind: String, Arg: "DIR", Group: GroupOutput, From: Ours, NonEmpty: true,
		Help: "Write all reports and logs to a dated directory in DIR. DIR/latest is a link to it, and the newest 30 are " +
			"kept. Options for single files take precedence."},
}

var configOptions = []*Option{
	{Name: "config-file", Kind: Multi, Arg: "FILE", Group: GroupConfig, From: Upstream, CommandLineOnly: true, Common: true,
		Help: "Read a configuration file. The default files, such as /etc/kolla/kolla-build.conf and ./kolla-build.conf, are then not read. " +
			"Repeatable; later files take precedence."},
	{Name: "config-dir", Kind: Multi, Arg: "DIR", Group: GroupConfig, From: Upstream, CommandLineOnly: true,
		Help: "Read the *.conf files of a directory, sorted by name. Those of the default directory, such as /etc/kolla/kolla-build.conf.d, are then not read. " +
			"Repeatable."},
	{Name: "strict", Kind: Bool, Default: "false", Group: GroupConfig, From: Ours,
		Help: "Treat unknown keys and sections in configuration files as errors."},
	{Name: "generate-config", Kind: Bool, Default: "false", Group: GroupConfig, From: Ours, CommandLineOnly: true,
		Help: "Print a commented sample configuration and exit."},
	{Name: "help", Short: "h", Kind: Bool, Default: "false", Group: GroupConfig, From: Upstream, CommandLineOnly: true,
		Help: "Print help and exit."},
	{Name: "version", Kind: Bool, Default: "false", Group: GroupConfig, From: Upstream, CommandLineOnly: true,
		Help: "Print the version of the program in one line and exit. The command version prints more."},
}

var olderOptions = []*Option{
	{Name: "include-header", Short: "i", Kind: String, Arg: "FILE", Group: GroupOlder, From: UpstreamOlder,
		Help: "File to insert at the beginning of the base image's Dockerfile. A template override does the same."},
	{Name: "include-footer", Short: "I", Kind: String, Arg: "FILE", Group: GroupOlder, From: UpstreamOlder,
		Help: "File to append to the Dockerfiles of images without children. A template override does the same."},
	{Name: "infra-rename", Kind: Bool, Default: "false", Group: GroupOlder, From: UpstreamOlder,
		Note: "--infra-rename has no effect: image names do not contain the install type", NoteValue: "true",
		Help: "Use \"infra\" as install type in the names of images that are the same for both types. Image names do not " +
			"contain the install type any more."},
}
