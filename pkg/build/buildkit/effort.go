package buildkit

import (
	"strings"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// Estimated times of steps, judged by their text. Only the ratios matter: they decide
// which images start first when no build has been timed yet.
const (
	effortStep    = time.Second      // of any RUN, COPY or ADD
	effortIndex   = 10 * time.Second // of fetching a package index
	effortPackage = 3 * time.Second  // of each installed package
)

// effort estimates how long a Dockerfile's steps take.
func effort(stages []instructions.Stage) time.Duration {
	var d time.Duration
	for _, st := range stages {
		for _, cmd := range st.Commands {
			switch cmd := cmd.(type) {
			case *instructions.RunCommand:
				text := strings.Join(cmd.CmdLine, " ")
				for _, f := range cmd.Files {
					text += "\n" + f.Data
				}
				d += effortStep + commandEffort(text)
			case *instructions.CopyCommand, *instructions.AddCommand:
				d += effortStep
			}
		}
	}
	return d
}

// commandEffort counts the packages that a shell command installs: the words after
// "install" up to the end of the command, without options.
func commandEffort(text string) (d time.Duration) {
	installing := false
	for _, w := range strings.Fields(strings.ReplaceAll(text, "\\\n", " ")) {
		word := strings.TrimRight(w, "&|;")
		switch {
		case word == "":
		case word == "install" || strings.HasSuffix(word, "_install"):
			if !installing {
				d += effortIndex
			}
			installing = true
		case installing && !strings.HasPrefix(word, "-"):
			d += effortPackage
		}
		installing = installing && word == w
	}
	return d
}
