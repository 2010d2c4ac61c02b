package buildkit

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/dockerfile"
)

// A COPY of a file that does not exist is found when the Dockerfile is
// converted, unless only BuildKit can know.
func TestMissingCopy(t *testing.T) {
	files := []ContextFile{{Path: "conf/nova.conf", Mode: 0o644}, {Path: "run.sh", Mode: 0o755},
		{Path: "empty", Mode: fs.ModeDir | 0o755}}
	for text, want := range map[string]string{
		"FROM scratch\nCOPY run.sh /\nCOPY conf /etc/\nCOPY conf/nova.conf /x\nCOPY /run.sh ./conf/ /y/\nCOPY . /all\nCOPY empty /e": "",
		"FROM scratch\nCOPY nosuch /\n":            "x/Dockerfile:2: COPY nosuch: the build context has no such file; it has conf/nova.conf, run.sh\n  COPY nosuch /",
		"FROM scratch\nADD run.sh \\\n  con /y/\n": "x/Dockerfile:2: ADD con: the build context has no such file",
		"FROM scratch\nARG V=1\nCOPY file-$V nos* [n]osuch /y/\nADD https://example.org/x git@example.org:x/y.git /z/\n": "",
		"FROM scratch AS unused\nCOPY nosuch /\nFROM scratch\nCOPY run.sh /\n":                                           "",
		"FROM scratch AS used\nCOPY nosuch /\nFROM scratch\nCOPY --from=used /nosuch /\n":                                "x/Dockerfile:2: COPY nosuch",
		"FROM scratch AS used\nCOPY nosuch /\nFROM Used\n":                                                               "x/Dockerfile:2: COPY nosuch",
		"FROM scratch AS one\nCOPY run.sh /\nFROM scratch\nCOPY --from=one /nosuch /\nCOPY --from=0 /other /\n":          "",
		"FROM scratch\nCOPY <<EOF /etc/made\nhello\nEOF\n":                                                               "",
	} {
		d := Dockerfile{Name: "x", Path: "x/Dockerfile", Content: []byte(text), Context: files}
		file, err := d.parse()
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		got := ""
		if err := checkCopies(d, file, nil); err != nil {
			var de *dockerfile.Error
			if !errors.As(err, &de) {
				t.Errorf("%q: %T", text, err)
			}
			got = err.Error()
		}
		if want == "" && got != "" || !strings.HasPrefix(got, want) {
			t.Errorf("%q:\ngot  %q\nwant %q", text, got, want)
		}
	}
	d := Dockerfile{Path: "x", Content: []byte("FROM scratch\nCOPY a /\n")}
	file, err := d.parse()
	if err != nil {
		t.Fatal(err)
	}
	if err := checkCopies(d, file, nil); err == nil || !strings.Contains(err.Error(), "it is empty") {
		t.Errorf("an empty context: %v", err)
	}
}
