package main

import (
	"fmt"

	"github.com/kolla-build/kolla-build/pkg/config"
)

// verbs are commands of other tools, with the hint that names what does the same here. As
// the first argument they are never regular expressions. After options they are, if they
// match an image: export selects ovs-exporter, as for Kolla's tool.
var verbs = map[string]string{
	"backup": "kolla-build save writes images to a file; docs/backup.md lists what else to back up",
	"check":  "kolla-build lint checks templates, kolla-build plan shows what a build would do",
	"clean":  "kolla-build gc frees space in the local store",
	"config": "kolla-build --generate-config prints a sample file, kolla-build explain IMAGE where each setting comes " +
		"from",
	"create":      "kolla-build [REGEX…] builds images",
	"delete":      "kolla-build remove REGEX… removes images from the local store",
	"deploy":      "kolla-build builds and publishes images; kolla-ansible deploys them",
	"destroy":     "kolla-build remove REGEX… removes images from the local store",
	"export":      "kolla-build save writes images to a file",
	"history":     "kolla-build logs shows the logs of the last builds, kolla-build images when images were built",
	"import":      "kolla-build load reads images from a file",
	"info":        "kolla-build explain IMAGE shows the inputs of an image, kolla-build images the built images",
	"init":        "kolla-build --generate-config > kolla-build.conf starts a configuration",
	"inspect":     "kolla-build explain IMAGE shows where an image comes from",
	"install":     "apt-get or dnf installs the packages of `make release`; kolla-build [REGEX…] builds images",
	"login":       "kolla-build uses the logins of docker login, podman login and skopeo login",
	"logout":      "kolla-build uses the logins of docker login, podman login and skopeo login",
	"ls":          "kolla-build images shows what was built, kolla-build --list-images what can be built",
	"prune":       "kolla-build gc frees space in the local store",
	"ps":          "kolla-build images shows the built images; kolla-build does not manage containers",
	"publish":     "kolla-build --push --registry HOST [REGEX…] builds what has changed and pushes",
	"pull":        "a build pulls its base image; kolla-build --pull checks for a newer one",
	"push":        "kolla-build --push --registry HOST [REGEX…] builds what has changed and pushes",
	"reconfigure": "kolla-build builds images; kolla-ansible deploys them",
	"restore":     "kolla-build load reads images from a file",
	"rm":          "kolla-build remove REGEX… removes images from the local store",
	"rmi":         "kolla-build remove REGEX… removes images from the local store",
	"run":         "kolla-build builds images; docker run starts a container, kolla-ansible deploys them all",

	"search": "kolla-build --list-images REGEX lists images that can be built, kolla-build images REGEX those that were " +
		"built",
	"serve": "kolla-build registry serve runs a registry",
	"setup": "make quickstart builds a small set of images; kolla-build --generate-config > kolla-build.conf starts a " +
		"configuration",
	"show":     "kolla-build explain IMAGE shows where an image comes from",
	"split":    "kolla-build save --split SIZE writes a bundle in parts",
	"start":    "kolla-build [REGEX…] builds images, kolla-build registry serve runs a registry",
	"status":   "kolla-build plan shows what a build would do, kolla-build images what was built",
	"stop":     "a build or a registry ends with Ctrl-C, or with the signal TERM",
	"sync":     "kolla-build copy FROM TO copies images between registries",
	"template": "kolla-build render IMAGE prints a Dockerfile, kolla-build --template-only writes all of them",
	"test":     "kolla-build contract checks built images, kolla-build lint checks templates",
	"update":   "kolla-build --refresh rebuilds images whose packages have changed",
	"upgrade":  "kolla-build --refresh rebuilds images whose packages have changed",
}

// foreignVerb returns an error if the first argument is a command of another tool.
func foreignVerb(args []string) error {
	if len(args) == 0 || verbs[args[0]] == "" {
		return nil
	}
	return unknownVerb(args[0])
}

func unknownVerb(word string) error {
	return &config.Error{Message: fmt.Sprintf("unknown command %q", word), Hint: verbHint(word)}
}

// verbHint returns what does the same as a command of another tool, and how to use its name
// as a regular expression.
func verbHint(word string) string {
	return verbs[word] + "; kolla-build -- " + word + " builds the images whose names contain it"
}
