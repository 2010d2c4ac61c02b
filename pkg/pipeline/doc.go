// Package pipeline owns the order of a run: the sequence of stages, the values that are passed
// between them, and when a run stops or is repeated. It must not know how a stage works, nor
// flags and exit statuses.
//
// run.go has the stages in their order. settings.go resolves the options once, before them;
// session.go opens the store, the registry client and the engine. planned.go, built.go,
// published.go and reporter.go call the packages of the stages. preview.go has the commands
// that end before the build.
package pipeline
