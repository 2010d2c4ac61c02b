package contract

import (
	"bytes"
	"compress/zlib"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// The names of programs of this system are those of their sections.
func TestNeededOfPrograms(t *testing.T) {
	programs, err := filepath.Glob("/usr/bin/*")
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, name := range append(programs, "/proc/self/exe") {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		file, err := elf.NewFile(f)
		if err == nil && len(file.Sections) > 0 {
			want, _ := file.DynString(elf.DT_NEEDED)
			rpath, _ := file.DynString(elf.DT_RPATH)
			runpath, _ := file.DynString(elf.DT_RUNPATH)
			got := readELF(f)
			if got.elf == nil || !slices.Equal(got.elf.needed, want) ||
				strings.Join(got.elf.rpath, ":") != strings.Join(rpath, ":") ||
				strings.Join(got.elf.runpath, ":") != strings.Join(runpath, ":") {
				t.Errorf("%s: %+v, %s; want %q, %q, %q", name, got.elf, got.bad, want, rpath, runpath)
			}
			compared++
		}
		f.Close()
		if compared == 200 {
			break
		}
	}
	if compared == 0 {
		t.Error("no program was compared")
	}
}

// linkedFile returns a program with a dynamic section.
func linkedFile(t *testing.T) []byte {
	t.Helper()
	names := "\x00libx.so.1\x00/r1:$ORIGIN/r2\x00/p1:/p2\x00"
	at := func(name string) uint64 { return uint64(strings.Index(names, name)) }
	return dynamicFile(t, names, elf.Dyn64{Tag: int64(elf.DT_NEEDED), Val: at("libx")},
		elf.Dyn64{Tag: int64(elf.DT_RPATH), Val: at("/r1")}, elf.Dyn64{Tag: int64(elf.DT_RUNPATH), Val: at("/p1")})
}

// dynamicFile returns a program with these entries in its dynamic section, whose values are places in names.
func dynamicFile(t *testing.T, names string, entries ...elf.Dyn64) []byte {
	t.Helper()
	var b bytes.Buffer
	const header, segment, dynamic = 64, 56, 64 + 2*56
	length := uint64(16 * (len(entries) + 2))
	h := elf.Header64{Type: uint16(elf.ET_DYN), Machine: uint16(elf.EM_X86_64), Version: 1, Phoff: header, Ehsize: header,
		Phentsize: segment, Phnum: 2}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	size := dynamic + length + uint64(len(names))
	const base = 0x1000 // addresses differ from places in the file
	for _, v := range []any{h,
		elf.Prog64{Type: uint32(elf.PT_LOAD), Vaddr: base, Filesz: size, Memsz: size},
		elf.Prog64{Type: uint32(elf.PT_DYNAMIC), Off: dynamic, Vaddr: base + dynamic, Filesz: length, Memsz: length},
		entries, elf.Dyn64{Tag: int64(elf.DT_STRTAB), Val: base + dynamic + length}, elf.Dyn64{}, []byte(names)} {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func checkLinked(t *testing.T, got fileInfo) {
	t.Helper()
	if got.elf == nil || !slices.Equal(got.elf.needed, []string{"libx.so.1"}) ||
		!slices.Equal(got.elf.rpath, []string{"/r1", "$ORIGIN/r2"}) ||
		!slices.Equal(got.elf.runpath, []string{"/p1", "/p2"}) {
		t.Errorf("%+v, %s", got.elf, got.bad)
	}
}

func TestPathsOfProgram(t *testing.T) { checkLinked(t, readELF(bytes.NewReader(linkedFile(t)))) }

// A large program is written to a temporary file, or is in memory if no directory can be used.
func TestLargeExecutable(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "missing")
	program := append(linkedFile(t), make([]byte, maxBuffered)...)
	read := func(size int64, dirs ...string) (fileInfo, error) {
		r := &reader{tempDirs: dirs}
		var beginning bytes.Buffer
		beginning.Write(program[:256])
		return r.readExecutable(size, bytes.NewReader(program[256:]), &beginning)
	}
	for _, dirs := range [][]string{{t.TempDir()}, {nowhere, t.TempDir()}, {nowhere}} {
		got, err := read(int64(len(program)), dirs...)
		if err != nil {
			t.Fatalf("%q: %v", dirs, err)
		}
		checkLinked(t, got)
	}
	if got, err := read(maxWithoutDir+1, nowhere, t.TempDir()); err != nil || got.elf == nil {
		t.Errorf("in the second directory: %v", err)
	}
	if _, err := read(maxWithoutDir+1, nowhere); err == nil || !strings.Contains(err.Error(), nowhere) {
		t.Errorf("without a directory: %v", err)
	}
}

// A compressed section of a megabyte can take gigabytes.
func TestCompressedSections(t *testing.T) {
	testenv.Slow(t)
	var packed bytes.Buffer
	z := zlib.NewWriter(&packed)
	chunk := make([]byte, 1<<20)
	for range 256 {
		if _, err := z.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	z.Close()
	var b bytes.Buffer
	put := func(v any) {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	const header, section = 64, 64
	h := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1, Shoff: header,
		Ehsize: header, Shentsize: section, Shnum: 2, Shstrndx: 1}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	put(h)
	put(elf.Section64{})
	put(elf.Section64{Type: uint32(elf.SHT_STRTAB), Flags: uint64(elf.SHF_COMPRESSED), Off: header + 2*section,
		Size: uint64(24 + packed.Len())})
	put(elf.Chdr64{Type: uint32(elf.COMPRESS_ZLIB), Size: 256 << 20, Addralign: 1})
	b.Write(packed.Bytes())
	if file, err := elf.NewFile(bytes.NewReader(b.Bytes())); err != nil || file.Sections[1].Size != 256<<20 {
		t.Fatalf("the file is not what it should be: %v", err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if f := readELF(bytes.NewReader(b.Bytes())); f.bad != "" {
		t.Error(f.bad)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes of memory for a file of %d", n, b.Len())
	}
}
