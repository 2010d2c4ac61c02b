// Package pipeline is the flow of a run in one place: configuration, templates,
// graph, plan, build, publication, report, each handed on to the next. It holds
// no logic of its own beyond the order of things and the errors between them;
// what it calls knows nothing of it.
package pipeline
