package page

import (
	"fmt"
	"io"
	"strings"

	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/units"
)

// Limits of the logs in the page; the files are complete. The end of a log says why
// the image failed.
const (
	maxLog  = 256 << 10
	maxLogs = 6 << 20
)

// logReader reads logs for the page, up to a total size.
type logReader struct {
	dir    string // of the page
	budget int64
}

// read returns the end of a log file, safe to show, with the size of the file and
// what was omitted.
func (l *logReader) read(path string) (text, size, note string) {
	if path == "" {
		return "", "", ""
	}
	f, err := inputfile.OpenRegular(path)
	if err != nil {
		return "", "", ""
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() || st.Size() == 0 {
		return "", "", ""
	}
	size = units.Bytes(st.Size())
	limit := min(int64(maxLog), l.budget)
	if limit < 4<<10 {
		return "", size, "not included in this page; see the file"
	}
	skipped := st.Size() - limit
	if skipped > 0 {
		if _, err := f.Seek(skipped, io.SeekStart); err != nil {
			return "", size, ""
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return "", size, ""
	}
	l.budget -= int64(len(data))
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	if skipped > 0 {
		lines = lines[1:] // the first one is incomplete
		note = fmt.Sprintf("the first %s are omitted here; the file is complete", units.Bytes(skipped))
	}
	return cleanLines(lines), size, note
}
