// Command catalogue chooses the images that `make catalogue` builds, records the results and writes
// docs/images.md. It knows the template tree and the facts about distributions; it must not build
// anything itself.
//
// usage:
//
//	catalogue list [-suite trixie] [-type binary] [-shard 2/8|ci]  print the images, one a line
//	catalogue record -summary FILE [-contract FILE] [-commit ID] [-suite …] [-type …]  add a run to docs/images.tsv
//	catalogue sources -mirror URL [-suite …] DIR                   print the [sections] of Debian's tarballs
//	catalogue kolla -checkout DIR -out DIR                         prepare Kolla's own templates
//	catalogue matrix                                               write docs/images.md
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "catalogue:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("no command: list, record, sources, kolla or matrix")
	}
	f := flag.NewFlagSet(args[0], flag.ContinueOnError)
	suite := f.String("suite", "trixie", "Debian's release: trixie or bookworm")
	arch := f.String("arch", "x86_64", "architecture: x86_64 or aarch64")
	installType := f.String("type", "binary", "binary, source, or kolla: Kolla's own templates")
	shard := f.String("shard", "1/1", "a part of the images: 2/8, or ci")
	summary := f.String("summary", "", "the JSON summary of a run")
	contract := f.String("contract", "", "what kolla-build contract --json printed about its images")
	commit := f.String("commit", "", "the commit of this repository that built them")
	mirror := f.String("mirror", "", "the package mirror")
	checkout := f.String("checkout", "", "a checkout of OpenStack Kolla")
	out := f.String("out", "", "the directory that is written")
	if err := f.Parse(args[1:]); err != nil {
		return err
	}
	to := Target{Base: "debian", Tag: *suite, Arch: *arch, InstallType: *installType}
	switch args[0] {
	case "list":
		names, err := choose(ctx, to, *shard)
		for _, n := range names {
			fmt.Println(n)
		}
		return err
	case "record":
		return record(filepath.Join("docs", "images.tsv"), to, *commit, *summary, *contract)
	case "sources":
		return printSources(ctx, *mirror, *suite, os.Stdout)
	case "kolla":
		return prepareKolla(*checkout, *out)
	case "matrix":
		text, err := Matrix(ctx, filepath.Join("docs", "images.tsv"))
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join("docs", "images.md"), []byte(text), 0o644)
	}
	return fmt.Errorf("unknown command %q", args[0])
}
