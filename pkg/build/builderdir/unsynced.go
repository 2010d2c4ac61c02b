package builderdir

import (
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/kolla-build/kolla-build/internal/inputfile"
)

// Unsynced notes that the content of a state directory may not be on disk yet. A
// note has the ID of the boot; one of an earlier boot means that the machine stopped
// before it was.
type Unsynced struct {
	state string
	notes []string // of this run, and of killed ones before it
}

func unsyncedDir(state string) string { return filepath.Join(state, "unsynced") }

func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}

// NoteUnsynced writes a note for this run. If it finds a note of an earlier boot, the
// content of the directory cannot be trusted and is removed, and lost is true.
func NoteUnsynced(state string) (u *Unsynced, lost bool, err error) {
	u = &Unsynced{state: state}
	old, _ := globIn(unsyncedDir(state), "*")
	boot := bootID()
	for _, note := range old {
		if id, err := inputfile.ReadRegular(note, inputfile.MaxState); err == nil && string(id) != boot {
			lost = true
		}
	}
	if lost {
		if err := empty(state); err != nil {
			return nil, true, err
		}
		old = nil
	}
	if err := os.MkdirAll(unsyncedDir(state), 0o700); err != nil {
		return nil, lost, err
	}
	note := filepath.Join(unsyncedDir(state), rand.Text())
	u.notes = append(old, note)
	f, err := os.Create(note)
	if err != nil {
		return nil, lost, err
	}
	_, err = f.WriteString(boot)
	if serr := f.Sync(); err == nil {
		err = serr
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return u, lost, err
}

// Flush starts a process that syncs what the daemon wrote and then removes the
// notes. It does not wait for it.
func (u *Unsynced) Flush() {
	cmd := exec.Command("/bin/sh",
		append([]string{"-c", `sync -f "$1" && shift && rm -f "$@"`, "sync", u.state}, u.notes...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if cmd.Start() == nil {
		_ = cmd.Process.Release()
	}
}
