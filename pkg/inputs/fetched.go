package inputs

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/inputfile"
)

// fetchedFile lists the files that fetch has written, a quoted path on each line. Other files in
// the directory belong to the user, whatever their names are.
const fetchedFile = ".fetched"

// maxFetched is the size of the longest list, in bytes.
const maxFetched = 256 << 20

// layoutIndex is the index of the base images.
const layoutIndex = "oci/index.json"

// layoutPath matches the paths that fetch gives to files. A list from elsewhere cannot name others.
var layoutPath = regexp.MustCompile(`^(mirror/[^/]+/.+|python/simple/([^/]+/)?index\.html|sources/[^/]+-[0-9a-f]{16}|` +
	`other/[0-9a-f]{64}|oci/blobs/sha(256|512)/[0-9a-f]{64,128}|` + regexp.QuoteMeta(layoutIndex) + `)$`)

// fetched is the list of the files that fetch has written.
type fetched struct {
	root *os.Root

	mu    sync.Mutex
	paths map[string]bool
	file  *os.File // nil until a path is added
}

func readFetched(root *os.Root) (*fetched, error) {
	l := &fetched{root: root, paths: map[string]bool{}}
	info, err := root.Lstat(fetchedFile)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err == nil && !info.Mode().IsRegular() {
		err = inputfile.ErrNotRegular
	}
	var f *os.File
	if err == nil {
		f, err = openIn(root, fetchedFile)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(root.Name(), fetchedFile), inputfile.WithoutPath(err))
	}
	defer f.Close()
	data, err := inputfile.ReadAll(f, f.Name(), maxFetched)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		// A power failure can leave a part of a line.
		name, err := strconv.Unquote(strings.TrimSuffix(line, "\n"))
		if err == nil && fs.ValidPath(name) && layoutPath.MatchString(name) {
			l.paths[name] = true
		}
	}
	return l, nil
}

// add adds a path before the file is written.
func (l *fetched) add(name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.paths[name] || !layoutPath.MatchString(name) {
		return nil
	}
	if l.file == nil {
		var err error
		if l.file, err = l.root.OpenFile(fetchedFile, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644); err != nil {
			return err
		}
	}
	l.paths[name] = true
	_, err := l.file.WriteString(strconv.Quote(name) + "\n")
	return err
}

// save replaces the list, after paths were removed.
func (l *fetched) save(dir string) error {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(l.paths)) {
		b.WriteString(strconv.Quote(name) + "\n")
	}
	return atomicfile.WriteFile(filepath.Join(dir, fetchedFile), []byte(b.String()), atomicfile.Options{Mode: 0o644})
}

func (l *fetched) close() {
	if l.file != nil {
		l.file.Close()
	}
}
