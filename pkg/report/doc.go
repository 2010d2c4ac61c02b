// Package report shows a run to people and to programs: live progress, log
// files, and the summary at the end. It consumes build events and results and
// hands nothing back.
//
// Three parts, each usable alone:
//
//   - Progress draws events on a terminal, or prints them as lines or as JSON.
//   - Logs keeps one file per image, and the last lines of each step.
//   - Summary prints what became of every image, as text or as upstream's JSON.
//
// A run feeds the first two through Tee, Logs first, since Logs completes the
// results (log path, last lines of output) that Progress then shows:
//
//	logs := report.NewLogs(report.LogsOptions{Dir: dir, OnError: warn})
//	progress := report.NewProgress(report.ProgressOptions{Out: os.Stderr, Mode: mode})
//	results := run(ctx, logs.Completing(progress.Handle))
//	logs.Close()
//	progress.Close()
//	report.Summary{Results: results}.WriteText(os.Stdout, report.TextOptions{})
//
// It must not know builders, registries, templates or options: what it shows is
// in the events. Whatever comes out of a build is untrusted; it reaches the
// terminal only through Sanitize, and log files as the bytes that came.
package report
