package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/suggest"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/imageset"
)

// pick returns the command that a command line names, the arguments without its name, and
// how many of them precede it. The command is the first word that is neither an option nor
// the value of one, if it is the name of a command; what follows "--" is a regular
// expression. The word build names the build itself.
func pick(commands []*command, args []string) (c *command, rest []string, before int) {
	at, word := cli.FirstWord(args, described(commands), func(word string) (cli.Command, bool) {
		c := named(commands, word)
		if c == nil {
			return cli.Command{}, false
		}
		return c.Command, true
	})
	if word == "" {
		return find(commands, ""), args, 0
	}
	return named(commands, word), slices.Concat(args[:at], args[at+1:]), at
}

// named returns the command that a word on the command line names, nil if there is none.
func named(commands []*command, word string) *command {
	switch word {
	case "":
		return nil
	case "build":
		return find(commands, "")
	}
	return find(commands, word)
}

// didYouMean returns a hint with the command most similar to a word, else the other
// hint.
func didYouMean(commands []*command, word, other string) string {
	if n := suggest.Nearest(word, commandNames(commands)); n != "" {
		return fmt.Sprintf("did you mean kolla-build %s?", n)
	}
	return other
}

// plainWord matches words that may be meant as commands.
var plainWord = regexp.MustCompile(`^[A-Za-z]+(-[A-Za-z]+)*$`)

// checkWords checks the regular expressions of a build for words that may be meant as
// commands, and returns a warning or an error. What follows "--" is a regular expression.
func checkWords(commands []*command, cfg *config.Config, args []string) (warning string, err error) {
	if cfg.Command != "" || len(cfg.Args) == 0 || slices.Contains(args, "--") {
		return "", nil
	}
	images := imageset.Names(cfg)
	if len(images) == 0 {
		return "", nil // the build reports why
	}
	first := cfg.Args[0]
	switch matches := matchesAny(first, images); {
	case verbs[first] != "" && matches:
		return fmt.Sprintf("%q is read as a regular expression\n  hint: %s", first, verbHint(first)), nil
	case verbs[first] != "":
		return "", unknownVerb(first)
	case !matches && plainWord.MatchString(first):
		if err := unknownCommand(commands, cfg.Args, images); err != nil {
			return "", err
		}
	}
	if w := misplaced(commands, cfg.Args, images); w != "" {
		const after = "%q is a regular expression after other words\n  hint: a command comes before them: kolla-build %s …"
		return fmt.Sprintf(after, w, w), nil
	}
	return "", nil
}

// unknownCommand returns the error for a build whose first regular expression matches no
// image and is rather a command: "buid keystone" must not build keystone, and "launch" is not
// an image.
func unknownCommand(commands []*command, words, images []string) error {
	word, names := words[0], commandNames(commands)
	near, option := suggest.Nearest(word, names), config.Lookup(word)
	hint := ""
	switch {
	case option != nil && !option.Positional:
		hint = fmt.Sprintf("did you mean --%s?", option.Name)
	case near != "" && len(words) == 1:
		hint = nearNames(word, near, images)
	case near != "" && suggest.Nearest(word, slices.Concat(names, images)) == near:
		hint = fmt.Sprintf("did you mean kolla-build %s?", near)
	case near == "" && len(suggest.NearParts(word, images, 1)) == 0 &&
		!slices.ContainsFunc(words[1:], func(a string) bool { return matchesAny(a, images) }):
		hint = "kolla-build help lists the commands, kolla-build --list-images the images"
	default:
		return nil // the build suggests images, and warns if only some words match none
	}
	return &config.Error{
		Message: fmt.Sprintf("%q is not a command and matches none of the %d images", word, len(images)),
		Hint:    hint,
	}
}

// nearNames returns a hint with the images most similar to a word, and the most similar
// command.
func nearNames(word, command string, images []string) string {
	near := suggest.NearParts(word, images, 3)
	if len(near) == 0 {
		return fmt.Sprintf("did you mean kolla-build %s?", command)
	}
	return fmt.Sprintf("did you mean %s or kolla-build %s?", strings.Join(near, ", "), command)
}

// matchesAny reports whether a regular expression matches one of the names. It is true for
// one that is invalid, which the build reports.
func matchesAny(expression string, names []string) bool {
	patterns, err := imageset.CompilePatterns([]string{expression})
	if err != nil {
		return true
	}
	return slices.ContainsFunc(names, func(name string) bool {
		ok, err := patterns.Match(name)
		return ok || err != nil
	})
}

// misplaced returns the first word that is the name of a command and matches no image, as in
// "nova plan"; otherwise "". "nova list" selects aodh-listener.
func misplaced(commands []*command, words, images []string) string {
	for _, word := range words {
		if named(commands, word) != nil && !matchesAny(word, images) {
			return word
		}
	}
	return ""
}
