package bundle_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/bundle/save"
	"github.com/kolla-build/kolla-build/pkg/bundle/verify"
)

// fatDrivers mount an image of FAT: as a program, and in the kernel.
var fatDrivers = []struct {
	name           string
	mount, unmount func(image, dir string) []string
}{
	{"fusefat", func(image, dir string) []string { return []string{"fusefat", "-o", "rw+", image, dir} },
		func(_, dir string) []string { return []string{"fusermount", "-u", dir} }},
	{"kernel", func(image, dir string) []string { return []string{"mount", "-t", "vfat", "-o", "loop", image, dir} },
		func(_, dir string) []string { return []string{"umount", dir} }},
}

// A bundle can be saved to FAT, which has neither modes nor links, in all its forms.
func TestSaveToFAT(t *testing.T) {
	testenv.Slow(t)
	testenv.Program(t, "mkfs.vfat", "dosfstools")
	var missing []string
	for _, driver := range fatDrivers {
		t.Run(driver.name, func(t *testing.T) {
			work := t.TempDir()
			image, medium := filepath.Join(work, "image"), filepath.Join(work, "medium")
			if err := os.WriteFile(image, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(image, 48<<20); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(medium, 0o700); err != nil {
				t.Fatal(err)
			}
			if out, err := run(t, "mkfs.vfat", "-F", "32", image); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			out, err := run(t, driver.mount(image, medium)...)
			if err == nil {
				t.Cleanup(func() {
					command := driver.unmount(image, medium)
					if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
						t.Errorf("%v\n%s", err, out)
					}
				})
				err = os.WriteFile(filepath.Join(medium, "probe"), nil, 0o600)
			}
			if err != nil {
				missing = append(missing, fmt.Sprintf("%s: %v %s", driver.name, err, out))
				t.Skip(missing[len(missing)-1])
			}
			saveToFAT(t, medium)
		})
	}
	if len(missing) == len(fatDrivers) {
		testenv.Missing(t, "FAT cannot be mounted here: "+strings.Join(missing, "; "))
	}
}

// run runs a program that may be missing.
func run(t *testing.T, command ...string) (output []byte, err error) {
	return exec.CommandContext(t.Context(), command[0], command[1:]...).CombinedOutput()
}

// saveToFAT saves bundles to a medium and verifies them there.
func saveToFAT(t *testing.T, medium string) {
	s, entries := storetest.Fill(t)
	for range 2 { // the second replaces the first
		for name, opts := range map[string]save.Options{"set.tar": {}, "parts.tar": {Split: 70_000, Parity: 50}, "set/": {}} {
			sum, err := save.Bundle(t.Context(), s, entries, filepath.Join(medium, name)+name[len(filepath.Clean(name)):], opts)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			file := filepath.Join(medium, name)
			if len(sum.Parts) > 0 {
				file = sum.Parts[1]
			}
			if r, err := verify.Bundle(t.Context(), file, verify.Options{}); err != nil || !r.OK {
				t.Errorf("%s: %+v (%v)", name, r, err)
			}
		}
	}
}
