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
	"testing"
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
			paths, _ := file.DynString(elf.DT_RUNPATH)
			got := readELF(f)
			if got.elf == nil || !slices.Equal(got.elf.needed, want) || len(got.elf.runpath) < len(paths) {
				t.Errorf("%s: %+v, %s; want %q, %q", name, got.elf, got.bad, want, paths)
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

// A compressed section of a megabyte can take gigabytes.
func TestCompressedSections(t *testing.T) {
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
	h := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1, Shoff: header, Ehsize: header, Shentsize: section, Shnum: 2, Shstrndx: 1}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	put(h)
	put(elf.Section64{})
	put(elf.Section64{Type: uint32(elf.SHT_STRTAB), Flags: uint64(elf.SHF_COMPRESSED), Off: header + 2*section, Size: uint64(24 + packed.Len())})
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
