package contract

import (
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"slices"
	"strings"
)

// elfInfo is the information for the dynamic linker.
type elfInfo struct {
	class   elf.Class
	machine elf.Machine
	needed  []string // names of libraries
	rpath   []string
	runpath []string
}

// Limits of what is read of an executable.
const (
	maxName    = 4096    // bytes of a name or path
	maxDynamic = 1 << 20 // bytes of the dynamic section
	maxNeeded  = 4096
	maxNames   = 64 << 10 // bytes of all names: many can be at the same place of a file
	maxPaths   = 16
	maxDirs    = 128 // in a list of directories that are searched
)

// size returns how many bytes of memory the names take.
func (i *elfInfo) size() int {
	n := 0
	for _, name := range slices.Concat(i.needed, i.rpath, i.runpath) {
		n += len(name) + 16
	}
	return n
}

// readELF reads the information for the dynamic linker, from the segments, as the linker does. The
// file is untrusted, and debug/elf panics on some damaged files.
func readELF(content io.ReaderAt) (f fileInfo) {
	defer func() {
		if p := recover(); p != nil {
			f = fileInfo{bad: "is a damaged ELF file"}
		}
	}()
	file, err := elf.NewFile(withoutSections(content))
	if err != nil {
		return fileInfo{bad: "is a damaged ELF file"}
	}
	info := &elfInfo{class: file.Class, machine: file.Machine}
	for _, p := range file.Progs {
		switch p.Type {
		case elf.PT_INTERP:
			if name, err := io.ReadAll(io.LimitReader(p.Open(), maxName)); err == nil {
				f.interpreter = strings.TrimRight(string(name), "\x00")
			}
		case elf.PT_DYNAMIC: // a program without it is static
			if err := info.readDynamic(file, p, content); err != nil {
				return fileInfo{bad: "is a damaged ELF file"}
			}
		}
	}
	f.elf = info
	return f
}

// withoutSections returns an executable with a header that names no sections. A compressed section
// can take a thousand times its size, and debug/elf reads the table of their names in any case.
func withoutSections(content io.ReaderAt) io.ReaderAt {
	header := make([]byte, 64)
	n, _ := content.ReadAt(header, 0)
	header = header[:n]
	if n < 64 {
		return bytes.NewReader(header)
	}
	if elf.Class(header[elf.EI_CLASS]) == elf.ELFCLASS32 {
		clear(header[0x20:0x24])
		clear(header[0x2e:0x34])
	} else {
		clear(header[0x28:0x30])
		clear(header[0x3a:0x40])
	}
	return &patched{content, header}
}

// patched is a file with another beginning.
type patched struct {
	io.ReaderAt
	beginning []byte
}

// ReadAt implements io.ReaderAt.
func (p *patched) ReadAt(b []byte, offset int64) (int, error) {
	n, err := p.ReaderAt.ReadAt(b, offset)
	if offset < int64(len(p.beginning)) {
		copy(b[:n], p.beginning[offset:])
	}
	return n, err
}

// readDynamic reads the names in the dynamic section.
func (i *elfInfo) readDynamic(file *elf.File, dynamic *elf.Prog, content io.ReaderAt) error {
	entries, err := io.ReadAll(io.LimitReader(dynamic.Open(), maxDynamic))
	if err != nil {
		return err
	}
	word := 8
	number := file.ByteOrder.Uint64
	if file.Class == elf.ELFCLASS32 {
		word, number = 4, func(b []byte) uint64 { return uint64(file.ByteOrder.Uint32(b)) }
	}
	names := map[elf.DynTag][]uint64{} // places in the table of strings
	for ; len(entries) >= 2*word; entries = entries[2*word:] {
		tag := elf.DynTag(number(entries))
		if tag == elf.DT_NULL {
			break
		}
		names[tag] = append(names[tag], number(entries[word:]))
	}
	table := names[elf.DT_STRTAB]
	if len(table) == 0 {
		return nil
	}
	at, err := offsetOf(file, table[len(table)-1])
	if err != nil {
		return err
	}
	size := 0
	for _, place := range names[elf.DT_NEEDED][:min(len(names[elf.DT_NEEDED]), maxNeeded)] {
		name := nameAt(content, at+int64(place))
		if size += len(name); size > maxNames {
			return errors.New("its names of libraries are too long")
		}
		i.needed = append(i.needed, name)
	}
	for tag, to := range map[elf.DynTag]*[]string{elf.DT_RPATH: &i.rpath, elf.DT_RUNPATH: &i.runpath} {
		for _, place := range names[tag][:min(len(names[tag]), maxPaths)] {
			*to = append(*to, directories(nameAt(content, at+int64(place)))...)
		}
		*to = slices.Clone((*to)[:min(len(*to), maxDirs)])
	}
	return nil
}

// directories returns the directories of a list such as PATH.
func directories(list string) []string {
	dirs := strings.SplitN(list, ":", maxDirs+1)
	return dirs[:min(len(dirs), maxDirs)]
}

// offsetOf returns where an address of the memory of a program is in its file.
func offsetOf(file *elf.File, address uint64) (int64, error) {
	i := slices.IndexFunc(file.Progs, func(p *elf.Prog) bool {
		return p.Type == elf.PT_LOAD && address >= p.Vaddr && address-p.Vaddr < p.Filesz
	})
	if i < 0 {
		return 0, errors.New("an address is in no segment")
	}
	return int64(address - file.Progs[i].Vaddr + file.Progs[i].Off), nil
}

// nameAt returns the text at a place of a file, up to a NUL, "" if there is none.
func nameAt(content io.ReaderAt, at int64) string {
	b := make([]byte, maxName)
	n, _ := content.ReadAt(b, max(at, 0))
	end := bytes.IndexByte(b[:n], 0)
	return string(b[:max(end, 0)])
}
