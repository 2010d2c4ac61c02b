package contract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/imagediff"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/storecmd"
)

// Options are the flags of the contract command.
type Options struct {
	Table      string // a file, "" for the built-in contract
	Exceptions string // a file that is added to the built-in exceptions
	JSON       bool
	Verbose    bool // also print rows that passed
}

// report is what the command prints about one image.
type report struct {
	Image     string   `json:"image"` // without registry, prefix and tag
	Reference string   `json:"reference"`
	Held      int      `json:"held"`
	Failed    int      `json:"failed"`
	Exempt    int      `json:"exempt"`
	Rows      []result `json:"rows"`
}

// Run is the contract command. It returns usererr.ErrReported if a row fails. Other
// errors are inconclusive.
func Run(ctx context.Context, cfg *config.Config, con *console.Console, opts Options) error {
	defer imagediff.LimitMemory()()
	return usererr.Inconclusive(run(ctx, cfg, con, opts))
}

func run(ctx context.Context, cfg *config.Config, con *console.Console, opts Options) error {
	table, exceptions, err := opts.read(ctx)
	if err != nil {
		return err
	}
	finder, err := imagediff.NewFinder(ctx, cfg, con, cfg.Args...)
	if err != nil {
		return err
	}
	defer finder.Close()
	s := finder.Store
	references, err := selectImages(cfg, con, s)
	if err != nil {
		return err
	}
	if len(references) == 0 {
		return usererr.Errorf("kolla-build contract IMAGE… names images; kolla-build images lists what is stored",
			"contract: no built images in %s", s.Dir())
	}
	reader := newReader(table)
	if s != nil {
		// /tmp is in memory on some systems. Unnamed files leave nothing in the store, which is only read.
		reader.tempDirs = append([]string{filepath.Join(s.Dir(), "tmp")}, reader.tempDirs...)
	}
	reports := []report{}
	failed, passed := 0, 0
	for _, ref := range references {
		found, err := finder.Find(ctx, ref)
		if err != nil {
			return err
		}
		im, err := reader.Open(ctx, imageName(found, cfg.ImageNamePrefix), found.Content())
		if err != nil {
			return err
		}
		r := report{Image: im.Name, Reference: found.Name, Rows: checkImage(im, table, exceptions)}
		for _, row := range r.Rows {
			switch row.Status {
			case statusHeld:
				r.Held++
			case statusFailed:
				r.Failed++
			case statusExempt:
				r.Exempt++
			}
		}
		passed, failed = passed+r.Held, failed+r.Failed
		if opts.JSON {
			reports = append(reports, r)
		} else if err := r.write(console.Printable(con.Stdout), opts.Verbose); err != nil {
			return err
		}
	}
	if opts.JSON {
		err = con.PrintJSON(reports)
	} else if len(references) > 1 {
		_, err = fmt.Fprintf(con.Stdout, "%s: %d held, %d failed\n", units.Count(len(references), "image"), passed, failed)
	}
	if err == nil && failed > 0 {
		err = usererr.ErrReported
	}
	return err
}

func (o Options) read(ctx context.Context) (*Table, []Exception, error) {
	exceptions, err := builtInExceptions()
	if err != nil {
		return nil, nil, err
	}
	if o.Exceptions != "" {
		var siteExceptions []Exception
		err := readFile(ctx, "exceptions", o.Exceptions,
			func(f io.Reader) (err error) { siteExceptions, err = ReadExceptions(f, o.Exceptions); return })
		if err != nil {
			return nil, nil, err
		}
		exceptions = append(siteExceptions, exceptions...)
	}
	if o.Table == "" {
		t, err := builtInTable()
		return t, exceptions, err
	}
	var t *Table
	err = readFile(ctx, "contract", o.Table, func(f io.Reader) (err error) { t, err = ReadTable(f, o.Table); return })
	return t, exceptions, err
}

// readFile reads a file that an option names.
func readFile(ctx context.Context, option, name string, read func(io.Reader) error) error {
	f, err := inputfile.Open(ctx, name)
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return usererr.Usage(fmt.Errorf("--%s %s: %w", option, name, pathErr.Err))
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return read(f)
}

// selectImages returns the images that the arguments name. An argument can be a regular
// expression for several images of the store; no arguments select all built images.
func selectImages(cfg *config.Config, con *console.Console, s *store.Store) ([]string, error) {
	var out []string
	args := cfg.Args
	if len(args) == 0 {
		args = []string{""}
	}
	for _, arg := range args {
		if strings.HasPrefix(arg, "oci:") || strings.ContainsAny(arg, "/@:") {
			out = append(out, arg)
			continue
		}
		entries, err := storecmd.FindBuilt(s, cfg, con, arg)
		if err != nil {
			if mistake := imagediff.FileMistake(arg); arg != "" && mistake != nil {
				return nil, mistake
			}
			return nil, err
		}
		for _, e := range entries {
			out = append(out, e.Name)
		}
	}
	return out, nil
}

// imageName returns the name of an image in rows.
func imageName(found imagediff.Image, prefix string) string {
	name := found.Name
	if rest, ok := strings.CutPrefix(name, "oci:"); ok {
		_, name, _ = strings.Cut(rest, ":")
	}
	repository, _, _ := imageref.Split(name)
	repository = repository[strings.LastIndexByte(repository, '/')+1:]
	return strings.TrimPrefix(repository, prefix)
}

func (r report) write(w io.Writer, verbose bool) error {
	line := fmt.Sprintf("%s: %d held, %d failed", r.Reference, r.Held, r.Failed)
	if r.Exempt > 0 {
		line += fmt.Sprintf(", %d exempt", r.Exempt)
	}
	if _, err := fmt.Fprintln(w, line); err != nil {
		return err
	}
	for _, row := range r.Rows {
		if row.Status != statusFailed && !verbose {
			continue
		}
		detail := ""
		if row.Detail != "" {
			detail = ": " + row.Detail
		}
		if _, err := fmt.Fprintf(w, "  %-7s %-11s %s%s\n", row.Status, row.Kind, row.Value, detail); err != nil {
			return err
		}
	}
	return nil
}
