// Package contract checks that images meet the expectations of a deployment: commands,
// health checks, files, users, Python modules and more. It reads the layers without
// starting a container. It must not know how images are built or what a deployment does.
//
// A contract is a table of rows; see ReadTable. Images are untrusted: all of their
// content is limited, and an unreadable file is a failed row, not an error.
package contract
