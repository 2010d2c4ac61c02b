package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
)

// Result is the result of a real build of an image: one line of docs/images.tsv.
type Result struct {
	Image, Suite, Type, Arch string
	Status                   string  // built or failed
	Size                     int64   // bytes of its compressed layers, with those of its parents
	Own                      int64   // bytes of the layers that it adds to its parent
	Seconds                  float64 // of the build
	// rows of the contract that passed and failed, such as "62/0"; "" if it was not checked
	Contract string
	Commit   string // of this repository; "" for builds that recorded none, before decision 21
	Error    string // the first line
}

const header = "image\tsuite\ttype\tarch\tstatus\tsize\town\tseconds\tcontract\tcommit\terror\n"

func (r Result) key() string { return strings.Join([]string{r.Image, r.Suite, r.Type, r.Arch}, "\t") }

func readResults(path string) ([]Result, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Result
	for i, line := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		if i == 0 {
			if line+"\n" != header {
				return nil, fmt.Errorf("%s: line 1 is not the header", path)
			}
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != 11 {
			return nil, fmt.Errorf("%s:%d: %d columns instead of 11", path, i+1, len(f))
		}
		r := Result{
			Image:    f[0],
			Suite:    f[1],
			Type:     f[2],
			Arch:     f[3],
			Status:   f[4],
			Contract: f[8],
			Commit:   f[9],
			Error:    f[10],
		}
		var errs [3]error
		r.Size, errs[0] = strconv.ParseInt(f[5], 10, 64)
		r.Own, errs[1] = strconv.ParseInt(f[6], 10, 64)
		r.Seconds, errs[2] = strconv.ParseFloat(f[7], 64)
		if err := errors.Join(errs[:]...); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, i+1, err)
		}
		out = append(out, r)
	}
	return out, nil
}

func writeResults(path string, results []Result) error {
	slices.SortFunc(results, func(a, b Result) int { return cmp.Compare(a.key(), b.key()) })
	var b bytes.Buffer
	b.WriteString(header)
	for _, r := range results {
		fmt.Fprintf(&b, "%s\t%s\t%d\t%d\t%.0f\t%s\t%s\t%s\n", r.key(), r.Status, r.Size, r.Own, r.Seconds, r.Contract,
			r.Commit, r.Error)
	}
	return atomicfile.WriteFile(path, b.Bytes(), atomicfile.Options{Mode: 0o644})
}

// summaryImage has the fields of an image in the summary of a run that record reads.
type summaryImage struct {
	Name      string
	Status    string
	Unchanged bool
	Canceled  bool
	Parent    string
	Size      int64
	Duration  float64
	Failure   struct{ Error string }
}

// record adds the images of a run of commit to the results. An image that the run did not have to
// build keeps the figures of its build.
func record(path string, to Target, commit, summaryFile, contractFile string) error {
	var summary struct{ Built, Failed []summaryImage }
	if err := readJSON(summaryFile, &summary); err != nil {
		return err
	}
	checked := map[string]string{}
	if contractFile != "" {
		var images []struct {
			Image        string
			Held, Failed int
		}
		if err := readJSON(contractFile, &images); err != nil {
			return err
		}
		for _, im := range images {
			checked[im.Image] = fmt.Sprintf("%d/%d", im.Held, im.Failed)
		}
	}
	results, err := readResults(path)
	if err != nil {
		return err
	}
	rows := map[string]int{}
	for i, r := range results {
		rows[r.key()] = i
	}
	sizes := map[string]int64{}
	for _, im := range summary.Built {
		sizes[im.Name] = im.Size
	}
	// A parent that this run did not need has been recorded before.
	for _, r := range results {
		if _, ok := sizes[r.Image]; !ok && r.Suite == to.Tag && r.Type == to.InstallType && r.Arch == to.Arch {
			sizes[r.Image] = r.Size
		}
	}
	for _, im := range slices.Concat(summary.Built, summary.Failed) {
		r := Result{
			Image:   im.Name,
			Suite:   to.Tag,
			Type:    to.InstallType,
			Arch:    to.Arch,
			Status:  "built",
			Size:    im.Size,
			Seconds: im.Duration,
			Commit:  commit,
		}
		r.Own = im.Size - sizes[im.Parent]
		i, seen := rows[r.key()]
		if im.Status == "parent_error" || im.Canceled {
			continue // not tried
		}
		if im.Status != "built" {
			r.Status, r.Error = "failed", firstLine(im.Failure.Error)
			r.Size, r.Own = 0, 0
		}
		if im.Unchanged && seen {
			r.Seconds = results[i].Seconds
			r.Contract = results[i].Contract
			r.Commit = results[i].Commit
		}
		if c, ok := checked[im.Name]; ok {
			r.Contract = c
		}
		if seen {
			results[i] = r
		} else {
			rows[r.key()] = len(results)
			results = append(results, r)
		}
	}
	return writeResults(path, results)
}

func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// firstLine returns the first line of a message, without tabs.
func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	s = strings.ReplaceAll(s, "\t", " ")
	const most = 200
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return s
}
