package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
)

// verbs are commands of other tools, with the hint that names what does the same here. As
// the first word on the command line, wherever it is among options, they are not regular
// expressions.
var verbs = map[string]string{
	"clean":       "kolla-build gc frees space in the local store",
	"create":      "kolla-build [REGEX…] builds images",
	"delete":      "kolla-build remove REGEX… removes images from the local store",
	"destroy":     "kolla-build remove REGEX… removes images from the local store",
	"history":     "kolla-build logs shows the logs of the last builds, kolla-build images when images were built",
	"import":      "kolla-build load reads images from a file",
	"init":        "kolla-build --generate-config > kolla-build.conf starts a configuration",
	"login":       "kolla-build uses the logins of docker login, podman login and skopeo login",
	"logout":      "kolla-build uses the logins of docker login, podman login and skopeo login",
	"prune":       "kolla-build gc frees space in the local store",
	"pull":        "a build pulls its base image; kolla-build --pull checks for a newer one",
	"push":        "kolla-build --push --registry HOST [REGEX…] builds what has changed and pushes",
	"reconfigure": "kolla-build builds images; kolla-ansible deploys them",
	"setup":       "make quickstart builds a small set of images; kolla-build --generate-config > kolla-build.conf starts a configuration",
	"show":        "kolla-build explain IMAGE shows where an image comes from",
	"start":       "kolla-build [REGEX…] builds images, kolla-build registry serve runs a registry",
	"status":      "kolla-build plan shows what a build would do, kolla-build images what was built",
	"stop":        "a build or a registry ends with Ctrl-C, or with the signal TERM",
	"template":    "kolla-build render IMAGE prints a Dockerfile, kolla-build --template-only writes all of them",
	"test":        "kolla-build contract checks built images, kolla-build lint checks templates",
	"upgrade":     "kolla-build --refresh rebuilds images whose packages have changed",
}

// ambiguousVerbs are verbs that are also part of image names, such as export in
// ovs-exporter. After -- they select those images, and so they do after options if they are
// a whole word of a name or one of several regular expressions.
var ambiguousVerbs = map[string]string{
	"backup":  "kolla-build save writes images to a file; docs/backup.md lists what else to back up",
	"check":   "kolla-build lint checks templates, kolla-build plan shows what a build would do",
	"config":  "kolla-build --generate-config prints a sample file, kolla-build explain IMAGE where each setting comes from",
	"deploy":  "kolla-build builds and publishes images; kolla-ansible deploys them",
	"export":  "kolla-build save writes images to a file",
	"info":    "kolla-build explain IMAGE shows the inputs of an image, kolla-build images the built images",
	"inspect": "kolla-build explain IMAGE shows where an image comes from",
	"install": "apt-get or dnf installs the packages of `make release`; kolla-build [REGEX…] builds images",
	"ls":      "kolla-build images shows what was built, kolla-build --list-images what can be built",
	"ps":      "kolla-build images shows the built images; kolla-build does not manage containers",
	"publish": "kolla-build --push --registry HOST [REGEX…] builds what has changed and pushes",
	"rm":      "kolla-build remove REGEX… removes images from the local store",
	"rmi":     "kolla-build remove REGEX… removes images from the local store",
	"restore": "kolla-build load reads images from a file",
	"run":     "kolla-build builds images; docker run starts a container, kolla-ansible deploys them all",
	"search":  "kolla-build --list-images REGEX lists images that can be built, kolla-build images REGEX those that were built",
	"serve":   "kolla-build registry serve runs a registry",
	"sync":    "kolla-build copy FROM TO copies images between registries",
	"update":  "kolla-build --refresh rebuilds images whose packages have changed",
}

// foreignVerb returns an error if the first word of a command line is a command of another
// tool. Options and their values are not words. Ambiguous verbs after options are left to
// lateVerb, which knows the images.
func foreignVerb(args []string) error {
	at, word := cli.FirstWord(args, func(word string) (cli.Command, bool) {
		return cli.Command{}, verbs[word] != "" || ambiguousVerbs[word] != ""
	})
	switch {
	case verbs[word] != "":
		return unknownVerb(word, verbs[word])
	case at == 0 && ambiguousVerbs[word] != "":
		return unknownVerb(word, ambiguousHint(word))
	}
	return nil
}

// lateVerb returns an error if an ambiguous verb after options is the only regular expression
// of a build, as in "-b ubuntu run". It is a regular expression if it is a whole word of an
// image's name: backup selects cinder-backup, and export does not select ovs-exporter.
func lateVerb(words, images []string) error {
	if len(words) != 1 || ambiguousVerbs[words[0]] == "" {
		return nil
	}
	for _, name := range images {
		if slices.Contains(strings.Split(name, "-"), words[0]) {
			return nil
		}
	}
	return unknownVerb(words[0], ambiguousHint(words[0]))
}

func unknownVerb(word, hint string) error {
	return &config.Error{Message: fmt.Sprintf("unknown command %q", word), Hint: hint}
}

func ambiguousHint(word string) string {
	return ambiguousVerbs[word] + "; kolla-build -- " + word + " builds the images whose names contain it"
}
