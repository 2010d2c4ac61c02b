// Package pipeline owns the order of a run: the stages from rendering to reports,
// several platforms, nightly runs, and which reports are written where. It must
// not know how a stage works, nor flags and exit codes.
//
// run.go has the stages in their order. settings.go resolves the options once,
// before them; session.go opens what they work with. planned.go, built.go and
// published.go call the packages of the stages.
package pipeline
