package contract

import (
	"debug/elf"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

func executable(name string, content []byte) file {
	return file{name: name, mode: 0o755, text: string(content)}
}

// opened reads an image of the layers.
func opened(t *testing.T, layers ...v1.Layer) (*imageView, error) {
	t.Helper()
	return newReader(&Table{}).Open(t.Context(), "x", image(t, v1.Config{}, layers...))
}

// Many names of a program can be at the same place of its file: 64 KB would take 16 MiB.
func TestNamesAtOnePlace(t *testing.T) {
	program := dynamicFile(t, strings.Repeat("n", 4000)+"\x00",
		slices.Repeat([]elf.Dyn64{{Tag: int64(elf.DT_NEEDED)}}, maxNeeded)...)
	im, err := opened(t, layer(t, executable("bin/p", program)))
	if err != nil {
		t.Fatal(err)
	}
	if err := im.runnable("/bin/p"); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("%v, want an error about the file", err)
	}
	dirs := dynamicFile(t, strings.Repeat("/d:", 1000)+"\x00",
		slices.Repeat([]elf.Dyn64{{Tag: int64(elf.DT_RPATH)}}, maxPaths)...)
	if im, err = opened(t, layer(t, executable("bin/p", dirs))); err != nil {
		t.Fatal(err)
	}
	if _, e, _ := im.lookup("/bin/p"); len(im.info(e).elf.rpath) != maxDirs {
		t.Errorf("%d directories, want %d", len(im.info(e).elf.rpath), maxDirs)
	}
}

// The texts of all layers count, and so do the names in programs.
func TestTextsOfAllLayers(t *testing.T) {
	testenv.Slow(t)
	text := strings.Repeat("x", maxText)
	var scripts []file
	for i := range maxTexts / maxText / 2 {
		scripts = append(scripts, file{name: fmt.Sprintf("usr/local/bin/s%d", i), mode: 0o755, text: text})
	}
	if _, err := opened(t, layer(t, scripts...), layer(t, scripts[1:]...)); err != nil {
		t.Errorf("two layers: %v", err)
	}
	more := append(scripts, file{name: "usr/local/bin/more", mode: 0o755, text: "x"})
	if _, err := opened(t, layer(t, scripts...), layer(t, more...)); err == nil ||
		!strings.Contains(err.Error(), "more than 24") {
		t.Errorf("two layers with more: %v", err)
	}
	program := dynamicFile(t, strings.Repeat("n", 4000)+"\x00",
		slices.Repeat([]elf.Dyn64{{Tag: int64(elf.DT_NEEDED)}}, 16)...)
	var programs []file
	for i := range 450 {
		programs = append(programs, executable(fmt.Sprintf("bin/p%d", i), program))
	}
	if _, err := opened(t, layer(t, programs...)); err == nil || !strings.Contains(err.Error(), "names of libraries") {
		t.Errorf("programs: %v", err)
	}
}

// Searches for libraries take as long as a hostile image wants: names, times directories, times programs.
func TestLibrarySearchesAreBounded(t *testing.T) {
	var names strings.Builder
	var entries []elf.Dyn64
	for i := range 2000 {
		entries = append(entries, elf.Dyn64{Tag: int64(elf.DT_NEEDED), Val: uint64(names.Len())})
		fmt.Fprintf(&names, "l%d\x00", i)
	}
	rpath := elf.Dyn64{Tag: int64(elf.DT_RPATH), Val: uint64(names.Len())}
	names.WriteString(strings.Repeat("/d:", 1000) + "\x00")
	program := dynamicFile(t, names.String(), append(entries, rpath)...)
	library := dynamicFile(t, "\x00")
	files := []file{}
	for i := range 2000 {
		files = append(files, executable(fmt.Sprintf("usr/lib/l%d", i), library))
	}
	for i := range 20 {
		files = append(files, executable(fmt.Sprintf("bin/p%d", i), program))
	}
	im, err := opened(t, layer(t, files...))
	if err != nil {
		t.Fatal(err)
	}
	if err := im.runnable("/bin/p0"); err != nil {
		t.Errorf("the first program: %v", err)
	}
	for i := range 20 {
		err = im.runnable(fmt.Sprintf("/bin/p%d", i))
	}
	if err == nil || !strings.Contains(err.Error(), "too many") {
		t.Errorf("the last program: %v", err)
	}
	if im.steps > maxSteps+20*len(entries) {
		t.Errorf("%d steps, more than %d", im.steps, maxSteps)
	}
}

// Files of ld.so.conf that include each other, and all of them many times, are read once.
func TestLinkerConfigurationIncludesItself(t *testing.T) {
	include := strings.Repeat("include /etc/ld.so.conf\ninclude ld.so.conf.d/*.conf\ninclude *.conf\n", 300)
	files := []file{{name: "etc/ld.so.conf", text: include + "/first\n"},
		executable("second/l", dynamicFile(t, "\x00")),
		executable("bin/p", dynamicFile(t, "l\x00", elf.Dyn64{Tag: int64(elf.DT_NEEDED)}))}
	for i := range 100 {
		files = append(files, file{name: fmt.Sprintf("etc/ld.so.conf.d/%d.conf", i), text: include + "/second\n"})
	}
	im, err := opened(t, layer(t, files...))
	if err != nil {
		t.Fatal(err)
	}
	if err := im.runnable("/bin/p"); err != nil {
		t.Error(err)
	}
	if n := len(im.linkerDirs()); n > 200 {
		t.Errorf("%d directories", n)
	}
}

// Linux starts five interpreters. Without a limit, the error of a long chain names all of them.
func TestInterpretersOfInterpreters(t *testing.T) {
	var files []file
	for i := range 1000 {
		files = append(files, executable(fmt.Sprintf("bin/p%d", i), fmt.Appendf(nil, "#!/bin/p%d\n", i+1)))
	}
	files = append(files, executable("bin/p1000", dynamicFile(t, "\x00")), executable("bin/own", []byte("#!/bin/own\n")))
	im, err := opened(t, layer(t, files...))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"p995": "", "p994": "more than 5",
		"p0": "more than 5", "own": "more than 5"} {
		err := im.runnable("/bin/" + name)
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || len(err.Error()) > 300) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

// Following hard links needs no search of the layer for each.
func TestHardLinksOfPrograms(t *testing.T) {
	script := []byte("#!/bin/missing\n")
	im, err := opened(t, layer(t, executable("bin/a", script), file{name: "bin/b", mode: 0o755, hard: "bin/a"},
		file{name: "bin/c", mode: 0o755, hard: "bin/b"}, file{name: "bin/loop", mode: 0o755, hard: "bin/loop"},
		file{name: "bin/none", mode: 0o755, hard: "absent"}))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"a": false, "b": false, "c": false, "loop": true, "none": true} {
		if err := im.runnable("/bin/" + name); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Of a script, only the interpreter stays in memory, not its whole first line.
func TestInterpretersTakeTheirLength(t *testing.T) {
	heap := func(rest string) int64 {
		var scripts []file
		for i := range 20_000 {
			scripts = append(scripts, executable(fmt.Sprintf("bin/s%d", i), fmt.Appendf(nil, "#!/bin/i%d %s\n", i, rest)))
		}
		l := layer(t, scripts...)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		im, err := opened(t, l)
		if err != nil {
			t.Fatal(err)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(im)
		runtime.KeepAlive(l)
		return int64(after.HeapAlloc) - int64(before.HeapAlloc)
	}
	if short, long := heap("x"), heap(strings.Repeat("x", 230)); long > short+20_000*32 {
		t.Errorf("%d bytes for lines of 240, %d for lines of 12", long, short)
	}
}

// The scripts and programs of all layers count, also those of a layer that was read for another image.
func TestScriptsOfAllLayers(t *testing.T) {
	testenv.Slow(t)
	var layers []v1.Layer
	for i := range 2 {
		var scripts []file
		for n := range maxPrograms/2 + 1 {
			scripts = append(scripts, executable(fmt.Sprintf("%d/%d", i, n), []byte("#!/bin/sh\n")))
		}
		layers = append(layers, layer(t, scripts...))
	}
	r := newReader(&Table{})
	for i, l := range [][]v1.Layer{layers[:1], layers[1:], layers} {
		_, err := r.Open(t.Context(), "x", image(t, v1.Config{}, l...))
		if (err != nil) != (len(l) > 1) || err != nil && !strings.Contains(err.Error(), "more than 100000 programs") {
			t.Errorf("image %d: %v", i, err)
		}
	}
}

// An image within the limits takes 212 MiB of memory, one with 400,000 files takes 253.
func TestFilesOfAllLayers(t *testing.T) {
	testenv.Slow(t)
	var files []file
	for i := range 160_000 {
		files = append(files, file{name: fmt.Sprint(i), mode: 0o644})
	}
	l := layer(t, files...)
	if _, err := opened(t, l); err != nil {
		t.Errorf("one layer: %v", err)
	}
	if _, err := opened(t, l, layer(t, append(files, file{name: "x", mode: 0o644})...)); err == nil {
		t.Error("two layers with 320,001 files were accepted")
	}
}
