package load

import (
	"os"

	"github.com/kolla-build/kolla-build/pkg/bundle"
)

// size returns the size of an input before it is read, 0 if it is not known.
func (in Input) size() int64 {
	var total int64
	for _, path := range append([]string{in.Path}, in.Parts...) {
		if len(in.Parts) > 0 && path == in.Path {
			continue
		}
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() {
			return 0
		}
		total += info.Size()
	}
	return total
}

// totalProgress adds up the progress of several files that are read one after another.
type totalProgress struct {
	report bundle.Progress
	sizes  map[string]int64 // of files that have not been read yet, by path; 0 if not known
	before int64            // bytes of the files that have been read
}

func newTotalProgress(inputs []Input, report bundle.Progress) *totalProgress {
	o := &totalProgress{report: report, sizes: map[string]int64{}}
	for _, in := range inputs {
		o.sizes[in.Path] = in.size()
	}
	return o
}

// of returns the progress function of a file.
func (o *totalProgress) of(in Input) bundle.Progress {
	if o.report == nil {
		return nil
	}
	var otherBytes int64
	sizesKnown := true
	for path, size := range o.sizes {
		if path != in.Path {
			otherBytes += size
			sizesKnown = sizesKnown && size > 0
		}
	}
	before := o.before
	return func(done, total int64) {
		if !sizesKnown || total == 0 {
			o.report(before+done, 0)
			return
		}
		o.report(before+done, before+total+otherBytes)
	}
}

// read notes that a file has been read.
func (o *totalProgress) read(in Input) {
	o.before += o.sizes[in.Path]
	delete(o.sizes, in.Path)
}

// Input is a bundle to load: a file, a directory, or "-" for stdin.
type Input struct {
	Path string
	// Parts are the files of a bundle that was split, in any order. Without them, Path
	// may be one of the files, and the others are found beside it.
	Parts []string
}
