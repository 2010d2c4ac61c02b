// Package cli owns the command line: how arguments are parsed, and the help, the
// completion and the manual page, which are generated from the commands and the option
// table. It must not know the implementation of any command.
package cli
