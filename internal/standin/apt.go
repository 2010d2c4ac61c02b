package standin

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// An aptRepo is an unsigned repository with one component, main. Sources refer to
// it with "Trusted: yes".
type aptRepo struct {
	suite string
	debs  map[string]Deb // by name
	files map[string][]byte

	// modified is the time of every file in HTTP: apt only downloads files that
	// are newer than its own.
	modified time.Time
}

// architectures are the architectures of the index. Each package is for all of them.
var architectures = []string{"amd64", "arm64"}

func newAptRepo(suite string, debs map[string]Deb, modified time.Time) *aptRepo {
	r := &aptRepo{suite: suite, debs: debs, files: map[string][]byte{}, modified: modified}
	var index bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(debs)) {
		data := debs[name].Bytes()
		file := "pool/" + debs[name].fileName()
		r.files[file] = data
		fmt.Fprintf(&index, "%sFilename: %s\nSize: %d\nSHA256: %x\n\n", debs[name].control(), file, len(data),
			sha256.Sum256(data))
	}
	indexes := map[string][]byte{}
	for _, arch := range architectures {
		indexes["main/binary-"+arch+"/Packages"] = index.Bytes()
		indexes["main/binary-"+arch+"/Packages.gz"] = gz(index.Bytes())
	}
	var release strings.Builder
	fmt.Fprintf(&release,
		"Origin: Standin\nLabel: Standin\nSuite: %s\nCodename: %s\nDate: %s\nArchitectures: %s\nComponents: main\nSHA256:\n",
		suite, suite, modified.Format(time.RFC1123), strings.Join(architectures, " "))
	for _, name := range slices.Sorted(maps.Keys(indexes)) {
		fmt.Fprintf(&release, " %x %d %s\n", sha256.Sum256(indexes[name]), len(indexes[name]), name)
		r.files["dists/"+suite+"/"+name] = indexes[name]
	}
	r.files["dists/"+suite+"/Release"] = []byte(release.String())
	return r
}

func (r *aptRepo) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	data, ok := r.files[strings.TrimPrefix(req.URL.Path, "/")]
	if !ok {
		http.NotFound(w, req)
		return
	}
	serve(w, req, data, r.modified)
}

func gz(data []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(data) //nolint:errcheck // memory
	z.Close()
	return b.Bytes()
}
