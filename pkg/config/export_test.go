package config

// Names that tests of the package from outside use; these tests parse command lines
// with pkg/cli, which imports this package.
var (
	ParseDict  = parseDict
	Format     = format
	FormatDict = formatDict
	HostArch   = hostArch
)
