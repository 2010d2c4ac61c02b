package facts

// archNames maps architectures of OCI platforms to their names in Kolla's templates,
// which are the kernel's, and in Debian.
var archNames = map[string][2]string{
	"amd64":   {"x86_64", "amd64"},
	"arm64":   {"aarch64", "arm64"},
	"386":     {"i686", "i386"},
	"arm":     {"armv7l", "armhf"},
	"ppc64le": {"ppc64le", "ppc64el"},
	"riscv64": {"riscv64", "riscv64"},
	"s390x":   {"s390x", "s390x"},
}

// ArchNames returns the names that Kolla (base_arch) and Debian (debian_arch) use for
// an architecture of OCI platforms, such as arm64.
func ArchNames(arch string) (baseArch, debianArch string, ok bool) {
	n, ok := archNames[arch]
	return n[0], n[1], ok
}

// DebianArchOf returns Debian's name of an architecture that Kolla calls baseArch.
func DebianArchOf(baseArch string) (string, bool) {
	for _, n := range archNames {
		if n[0] == baseArch {
			return n[1], true
		}
	}
	return "", false
}
