package report

import (
	"github.com/kolla-build/kolla-build/pkg/build"
)

// Result is what became of one image in a run: its build, and what was done with
// the image afterwards. Status, Reason and Failure are those of the whole run.
type Result struct {
	build.Result

	Pushed   bool            // its tags in the registry name Digest
	Moved    bool            // this run set or changed one of these tags
	Loaded   string          // the container engine that has it under Reference, "" if none
	Log      string          // path of its log file, "" if it has none
	Warnings []string        // findings of BuildKit's linter in its Dockerfile, with the places
	Packages []PackageChange // packages that differ from the last image of its name

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
