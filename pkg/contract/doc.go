// Package contract checks images against what a deployment expects of them: commands,
// health checks, files, users, Python modules and more. It reads the layers where they
// are and starts nothing. It must not know how images are built or what a deployment does.
//
// A contract is a table of rows; see ReadTable. Images are untrusted: whatever they
// contain has a limit, and a file that cannot be read is a failed row and no error.
package contract
