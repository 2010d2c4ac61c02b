package emulator

import (
	"strings"
	"testing"
)

func TestEnvironment(t *testing.T) {
	tests := []struct{ native, arch, user, want string }{
		{"amd64", "arm64", "", "QEMU_CPU=cortex-a72"},
		{"amd64", "arm64", "max", "QEMU_CPU=max"},
		{"amd64", "s390x", "", ""},
		{"amd64", "s390x", "z14", "QEMU_CPU=z14"},
		{"arm64", "arm64", "max", ""},
		{"arm64", "amd64", "", ""},
	}
	for _, tt := range tests {
		getenv := func(name string) string {
			return map[string]string{"QEMU_CPU": tt.user}[name]
		}
		if got := strings.Join(Environment(tt.native, tt.arch, getenv), " "); got != tt.want {
			t.Errorf("%s on %s with QEMU_CPU=%q: %q, want %q", tt.arch, tt.native, tt.user, got, tt.want)
		}
	}
}
