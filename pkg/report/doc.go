// Package report shows a run to people and to programs: live progress, log files, and
// the summary at the end. It must not know builders, registries, templates or options:
// it shows only the content of events and results.
//
// Three parts, each usable alone:
//
//   - Progress draws events on a terminal, or prints them as lines or as JSON.
//   - Logs keeps a file per image, and the last lines of each step.
//   - Summary prints the result of every image, as text or as upstream's JSON.
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
// The output of builds is untrusted. It reaches the terminal only through
// Sanitize, and log files byte for byte.
package report
