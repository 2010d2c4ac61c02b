// Package pipeline owns the order of a run: which stage follows which, what the later ones are
// given, and when a run stops or starts over. It must not know how a stage works, nor flags and
// exit statuses.
//
// run.go has the stages in their order. settings.go resolves the options once, before them;
// session.go opens what they work with. planned.go, built.go, published.go and reporter.go call
// the packages of the stages. preview.go has the commands that end before the build.
package pipeline
