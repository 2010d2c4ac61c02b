package standin

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Wheel is a pure Python package for any Python 3.
type Wheel struct {
	Name, Version string
	Requires      []string          // as in Requires-Dist
	Scripts       []string          // commands that print their name and the version
	Files         map[string]string // modules and their data, by path
	Data          map[string]string // files below the root of the environment, by path
}

var separators = regexp.MustCompile(`[-_.]+`)

// normalize returns a project's name as it is in the index (PEP 503).
func normalize(name string) string { return strings.ToLower(separators.ReplaceAllString(name, "-")) }

func (w Wheel) dist() string {
	return strings.ReplaceAll(normalize(w.Name), "-", "_") + "-" + w.Version
}

// module is the Python module of each stand-in, besides Files.
func module(name string) string { return strings.ReplaceAll(normalize(name), "-", "_") }

// FileName returns the name of the wheel, which describes it to pip.
func (w Wheel) FileName() string { return w.dist() + "-py3-none-any.whl" }

func (w Wheel) metadata() string {
	s := fmt.Sprintf("Metadata-Version: 2.1\nName: %s\nVersion: %s\nSummary: stand-in\n", w.Name, w.Version)
	for _, r := range w.Requires {
		s += "Requires-Dist: " + r + "\n"
	}
	return s
}

// contents returns all files except RECORD.
func (w Wheel) contents() map[string]string {
	info := w.dist() + ".dist-info/"
	out := map[string]string{
		info + "METADATA": w.metadata(),
		info + "WHEEL":    "Wheel-Version: 1.0\nGenerator: standin\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
		module(w.Name) + "/__init__.py": fmt.Sprintf(
			"import os, sys\n\n__version__ = %q\n\n\ndef main():\n    print(os.path.basename(sys.argv[0]), __version__, "+
				"*sys.argv[1:])\n", w.Version),
	}
	if len(w.Scripts) > 0 {
		var b strings.Builder
		b.WriteString("[console_scripts]\n")
		for _, s := range w.Scripts {
			fmt.Fprintf(&b, "%s = %s:main\n", s, module(w.Name))
		}
		out[info+"entry_points.txt"] = b.String()
	}
	maps.Copy(out, w.Files)
	for name, text := range w.Data {
		out[w.dist()+".data/data/"+name] = text
	}
	return out
}

// Bytes returns the wheel file.
func (w Wheel) Bytes() []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	add := func(name, text string) {
		f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store, Modified: stamp})
		if err == nil {
			_, err = f.Write([]byte(text))
		}
		if err != nil {
			panic("standin: " + err.Error()) // writing to memory does not fail
		}
	}
	files := w.contents()
	var record strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		sum := sha256.Sum256([]byte(files[name]))
		fmt.Fprintf(&record, "%s,sha256=%s,%d\n", name, base64.RawURLEncoding.EncodeToString(sum[:]), len(files[name]))
		add(name, files[name])
	}
	name := w.dist() + ".dist-info/RECORD"
	add(name, record.String()+name+",,\n")
	z.Close()
	return b.Bytes()
}
