package push

import (
	"os"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// A record that could not be read again would stop all later publications: no commit begins with it.
func TestRecordThatIsTooLarge(t *testing.T) {
	testenv.Slow(t)
	j := &journal{dir: t.TempDir()}
	if err := j.begin([]*update{{Tag: Tag{Ref: strings.Repeat("x", maxRecord)}}}); err == nil {
		t.Error("more was written than can be read")
	}
	if files, err := os.ReadDir(j.dir); err != nil || len(files) > 0 {
		t.Errorf("the journal has %v (%v)", files, err)
	}
}
