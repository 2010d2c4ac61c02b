// Package cli owns the command line: how arguments are parsed, and the help, the
// completion and the manual page that are made from the commands and the option
// table. It must not know what a command does.
package cli
