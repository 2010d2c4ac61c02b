package main

import (
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
)

// verbs are words of other tools, with what does the same here. As the first word on
// the command line they are not regular expressions.
var verbs = map[string]string{
	"clean":   "kolla-build gc frees space in the local store",
	"create":  "kolla-build [REGEX…] builds images",
	"delete":  "kolla-build remove REGEX… removes images from the local store",
	"import":  "kolla-build load reads images from a file",
	"init":    "kolla-build --generate-config > kolla-build.conf starts a configuration",
	"login":   "kolla-build uses the logins of docker login, podman login and skopeo login",
	"logout":  "kolla-build uses the logins of docker login, podman login and skopeo login",
	"prune":   "kolla-build gc frees space in the local store",
	"pull":    "a build pulls its base image; kolla-build --pull checks for a newer one",
	"push":    "kolla-build --push --registry HOST [REGEX…] builds what has changed and pushes",
	"show":    "kolla-build explain IMAGE shows where an image comes from",
	"status":  "kolla-build plan shows what a build would do, kolla-build images what was built",
	"upgrade": "kolla-build --refresh rebuilds images whose packages have changed",
}

// ambiguousVerbs are verbs that are also part of image names, such as export in
// ovs-exporter. After -- they select those images.
var ambiguousVerbs = map[string]string{
	"check":   "kolla-build lint checks templates, kolla-build plan shows what a build would do",
	"deploy":  "kolla-build builds and publishes images; kolla-ansible deploys them",
	"export":  "kolla-build save writes images to a file",
	"inspect": "kolla-build explain IMAGE shows where an image comes from",
	"publish": "kolla-build --push --registry HOST [REGEX…] builds what has changed and pushes",
	"serve":   "kolla-build registry serve runs a registry",
}

// foreignVerb returns the error for a command line whose first word that is neither an
// option nor the value of one is a word of another tool, nil for any other.
func foreignVerb(args []string) error {
	at, word := cli.FirstWord(args, func(word string) (cli.Command, bool) {
		return cli.Command{}, verbs[word] != "" || ambiguousVerbs[word] != ""
	})
	hint := verbs[word]
	if ambiguous := ambiguousVerbs[word]; ambiguous != "" && at == 0 {
		hint = ambiguous + "; kolla-build -- " + word + " builds the images whose names contain it"
	}
	if hint == "" {
		return nil
	}
	return &config.Error{Message: "there is no command " + word, Hint: hint}
}
