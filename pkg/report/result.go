package report

import (
	"github.com/kolla-build/kolla-build/pkg/build"
)

// Result is the result of an image in a run: of its build, and of the later stages.
// Status, Reason and Failure are for the whole run.
type Result struct {
	build.Result

	Pushed      bool   // its tags in the registry name Digest
	TagsChanged bool   // this run set or changed one of these tags
	Loaded      string // the container engine that has it under Reference, "" if none
	Log         string // path of its log file, "" if it has none
	// findings of BuildKit's linter in its Dockerfile and patches that may be lost, with the places
	Warnings []string
	Packages []PackageChange // packages that differ from the previous image of the same name

	// NotRequested marks an unbuildable image that no expression or profile named:
	// only the complete lists of the tree have it.
	NotRequested bool
}

// PackageChange is a package that two images have in different versions. From is
// empty for a new package, To for a removed one.
type PackageChange struct {
	Name string `json:"name"`
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
}
