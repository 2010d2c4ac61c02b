package buildkit

import (
	"fmt"
	"testing"
)

func TestDownloads(t *testing.T) {
	d := Dockerfile{Content: []byte(`FROM scratch
ARG V=1
ADD https://host/a.tar.gz /a
ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://host/pinned /b
ADD https://host/$V/c file /c
ADD https://host/repo.git#stable /d
ADD git@host:x/y.git /e
ADD https://host/repo.git#0123456789012345678901234567890123456789 /f
COPY https /g
`)}
	want := "[{https://host/a.tar.gz false } {https://host/repo.git true stable} {git@host:x/y.git true }]"
	if got := fmt.Sprint(d.Downloads()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
