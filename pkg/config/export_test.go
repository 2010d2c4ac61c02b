package config

// Exported for tests in package config_test, which cannot be in this package because they
// use pkg/cli, which imports it.
var (
	ParseDict  = parseDict
	Format     = format
	FormatDict = formatDict
	HostArch   = hostArch
)
