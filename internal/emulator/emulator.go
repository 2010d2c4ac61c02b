// Package emulator owns what programs of another architecture need from the emulator
// that runs them. It must not know images or builders.
package emulator

// cpuVariable names the processor that QEMU emulates in its user mode.
const cpuVariable = "QEMU_CPU"

// processors are the values of cpuVariable, by Go's name of the architecture. QEMU's
// default for arm64 computes the cipher of pointer authentication when a function is
// called and when it returns: programs of current distributions take ten times as long.
// Every version of QEMU has this processor, unlike the options of the default one.
var processors = map[string]string{"arm64": "cortex-a72"}

// Environment returns the variables, as NAME=VALUE, for programs of an architecture on a
// machine of the architecture native; none if it runs them itself. Architectures have
// their names in Go. A variable that getenv finds takes precedence.
func Environment(native, arch string, getenv func(string) string) []string {
	if native == arch {
		return nil
	}
	value := getenv(cpuVariable)
	if value == "" {
		value = processors[arch]
	}
	if value == "" {
		return nil
	}
	return []string{cpuVariable + "=" + value}
}
