package storecmd

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/printable"
	"github.com/kolla-build/kolla-build/internal/transfer"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/contents"
	"github.com/kolla-build/kolla-build/pkg/bundle/parts"
	"github.com/kolla-build/kolla-build/pkg/bundle/verify"
)

// VerifyOptions are the options of Verify.
type VerifyOptions struct {
	VerifyKey string // file of the public key that must have signed the bundle, "" for none
	EachPart  bool   // look at the parts that are given only, not at what they contain together
	JSON      bool
	Progress  string // how progress is shown: a value of the option --progress
}

// Verify examines a bundle and prints what is wrong with it. files are a file, a directory
// or the parts of one bundle.
func Verify(ctx context.Context, con *console.Console, files []string, o VerifyOptions) error {
	if o.EachPart && o.VerifyKey != "" {
		return usererr.Usage(usererr.Errorf("omit --each: it verifies parts separately, and the signature covers all of them",
			"--each and --verify-key exclude each other"))
	}
	set, err := partsOf("verify", files)
	if err != nil {
		return err
	}
	opts := verify.Options{EachPart: o.EachPart, Parts: set}
	if opts.VerifyKey, err = readVerifyKey(ctx, o.VerifyKey); err != nil {
		return err
	}
	progress := transfer.Start(con, "verifying", o.Progress)
	opts.Progress = progress.Update
	report, err := verify.Bundle(ctx, files[0], opts)
	progress.Stop()
	if err != nil {
		return err
	}
	if o.JSON {
		err = con.PrintJSON(report)
	} else {
		err = writeReport(con.Stdout, report)
	}
	if err == nil && !report.OK {
		err = usererr.ErrReported
	}
	return err
}

// readVerifyKey reads the public key that --verify-key names, if it does.
func readVerifyKey(ctx context.Context, path string) (ed25519.PublicKey, error) {
	if path == "" {
		return nil, nil
	}
	key, err := bundle.ReadVerifyKey(ctx, path)
	if err != nil {
		return nil, usererr.Usage(fmt.Errorf("--verify-key: %w", err))
	}
	return key, nil
}

// goodParts counts the undamaged parts.
func goodParts(p *verify.PartsReport) string {
	text := units.Count(len(p.Good), "part")
	if p.Parity > 0 {
		text += " (parity parts included)"
	}
	return text
}

// writeReport prints what was found: a line for each problem, and a summary.
func writeReport(w io.Writer, report *verify.Report) error {
	if p := report.Parts; p != nil {
		for _, line := range p.Problems {
			fmt.Fprintln(w, printable.Quoted(line))
		}
		switch {
		case p.Restored:
			fmt.Fprintf(w, "everything can be restored from the other parts\n")
		case p.Needed > 0:
			fmt.Fprintf(w, "%s; %s undamaged\n", parts.NeededText(p.Needed, p.Data), goodParts(p))
		default:
			fmt.Fprintf(w, "%s undamaged\n", goodParts(p))
		}
	}
	for _, p := range report.Problems {
		fmt.Fprintln(w, problemText(p))
	}
	if report.Parts != nil && len(report.Images)+report.Blobs == 0 {
		return nil // parts alone
	}
	affected := map[string]bool{}
	for _, p := range report.Problems {
		for _, image := range p.Images {
			affected[image] = true
		}
	}
	if len(affected) > 0 {
		fmt.Fprintf(w, "%d of %s affected:\n", len(affected), units.Count(len(report.Images), "image"))
		for _, name := range slices.Sorted(maps.Keys(affected)) {
			fmt.Fprintf(w, "  %s\n", printable.Quoted(name))
		}
	}
	notes := []string{
		units.Count(len(report.Images), "image"), units.Count(report.Blobs, "blob"), units.Bytes(report.Bytes),
	}
	if report.Required > 0 {
		notes = append(notes, "a delta: it requires "+units.Count(report.Required, "blob"))
	}
	if !report.Manifest {
		notes = append(notes, "no manifest: names and tags have no checksum")
	}
	switch report.Signed {
	case "verified":
		notes = append(notes, "signature verified")
	case "unverified":
		notes = append(notes, "signed, not verified without --verify-key")
	}
	state := "undamaged"
	if p := report.Parts; p != nil && p.Restored {
		state = "complete with the restored parts"
	}
	if !report.OK {
		state = units.Count(len(report.Problems), "problem")
	}
	_, err := fmt.Fprintf(w, "%s: %s (%s)\n", printable.Quoted(report.Bundle), state, strings.Join(notes, ", "))
	return err
}

func problemText(p verify.Problem) string {
	s := p.Kind
	if p.File != "" {
		s += " " + printable.Quoted(p.File)
	}
	if p.Role != "" {
		s += " (" + p.Role + ")"
	}
	if p.Detail != "" {
		s += ": " + printable.Quoted(p.Detail)
	}
	if n := len(p.Images); n > 0 {
		s += "; " + units.Count(n, "image") + " affected"
	}
	return s
}

// partsOf returns the files of a bundle in parts, and nil for a bundle that is one file or directory.
// One of the parts may be damaged so that it is not recognized.
func partsOf(command string, files []string) ([]string, error) {
	if len(files) == 1 {
		return nil, nil
	}
	isDir := func(file string) bool {
		info, err := os.Stat(file)
		return err == nil && info.IsDir()
	}
	if slices.ContainsFunc(files, isDir) || !slices.ContainsFunc(files, parts.IsPart) {
		return nil, usererr.Usage(usererr.Errorf("name whole bundles one at a time",
			"%s takes one bundle, or the parts of one", command))
	}
	return files, nil
}

// List prints what is in a bundle. files are as for Verify.
func List(ctx context.Context, con *console.Console, files []string, asJSON bool) error {
	set, err := partsOf("list", files)
	if err != nil {
		return err
	}
	listed, err := contents.List(ctx, files[0], set, nil)
	if err != nil {
		return err
	}
	if asJSON {
		return con.PrintJSON(listed)
	}
	for _, name := range listed.Extra {
		con.Notice("%s: %s does not belong to the bundle", printable.Quoted(listed.Bundle), printable.Quoted(name))
	}
	w := console.NewTable(con.Stdout)
	fmt.Fprintln(w, "NAME\tPLATFORM\tDIGEST\tSIZE\tOWN")
	for _, image := range listed.Images {
		fmt.Fprintf(w, "%s\t%s\t%.19s\t%s\t%s\n", printable.Quoted(image.Name), strings.Join(image.Platforms, ","),
			image.Digest, units.Bytes(image.Size), units.Bytes(image.Own))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(con.Stdout, "\n%s, %s, %s (%s without sharing layers)\n", units.Count(len(listed.Images), "image"),
		units.Count(listed.Blobs, "blob"), units.Bytes(listed.Bytes), units.Bytes(listed.Bytes+listed.Shared))
	if d := listed.Delta; d != nil {
		from := ""
		if d.Since != "" {
			from = " of " + d.Since
		}
		fmt.Fprintf(con.Stdout, "a delta: it requires %s%s, %s\n", units.Count(len(d.Requires), "blob"), from,
			units.Bytes(d.Bytes))
	}
	if listed.Tool != "" {
		fmt.Fprintf(con.Stdout, "saved by %s", listed.Tool)
		for _, key := range slices.Sorted(maps.Keys(listed.Configuration)) {
			fmt.Fprintf(con.Stdout, ", %s %s", printable.Quoted(key), printable.Quoted(listed.Configuration[key]))
		}
		fmt.Fprintln(con.Stdout)
	}
	if listed.Signed {
		fmt.Fprintln(con.Stdout, "signed; kolla-build verify --verify-key FILE verifies the signature")
	}
	return nil
}
