package hostile

import (
	"archive/tar"
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

const tarBlock = 512

// extendSeldom inserts extended headers of up to several megabytes into an archive: records of
// PAX, global ones, and long names and links of GNU tar, which have no members of their own.
func extendSeldom(rnd *rand.Rand, raw []byte) []byte {
	if rnd.IntN(8) > 0 {
		return raw
	}
	at := pick(rnd, memberOffsets(raw))
	var out bytes.Buffer
	out.Write(raw[:at])
	for total := 0; total < 12<<20; {
		h := extendedHeader(rnd)
		out.Write(h)
		if total += len(h) + 1<<16; rnd.IntN(12) == 0 {
			break
		}
	}
	out.Write(raw[at:])
	return out.Bytes()
}

// memberOffsets returns where members begin in an archive that this test wrote, and its end, as far as
// its sizes are right.
func memberOffsets(raw []byte) []int {
	offsets, extended := []int{}, false
	for at := 0; at+tarBlock <= len(raw); {
		header := raw[at : at+tarBlock]
		if header[0] == 0 {
			return append(offsets, at)
		}
		if !extended {
			offsets = append(offsets, at)
		}
		extended = strings.IndexByte("xLK", header[156]) >= 0
		size, err := strconv.ParseInt(string(bytes.Trim(header[124:136], " \x00")), 8, 64)
		if err != nil {
			return offsets // the size of an earlier member is not that of its content
		}
		at += tarBlock + int(size+tarBlock-1)/tarBlock*tarBlock
	}
	return append(offsets, len(raw))
}

// extendedHeader is an extended header with its content.
func extendedHeader(rnd *rand.Rand) []byte {
	size := pick(rnd, []int{0, 1, 100, 1000, 100_000, 1<<20 - 100, 1 << 20, 1<<20 + 1, 4 << 20})
	kinds := []byte{tar.TypeXHeader, tar.TypeXHeader, tar.TypeXGlobalHeader, tar.TypeGNULongName, tar.TypeGNULongLink}
	kind := pick(rnd, kinds)
	var content []byte
	switch {
	case kind == tar.TypeGNULongName || kind == tar.TypeGNULongLink:
		content = append(bytes.Repeat([]byte(pick(rnd, []string{"a", "a/", "../", "\xff", "é"})), size/2), 0)
	case rnd.IntN(2) == 0: // one record
		key := pick(rnd, []string{"path", "linkpath", "comment", "SCHILY.xattr.user.x", "GNU.sparse.map", "size", "mtime",
			"GNU.sparse.name", "hdrcharset", strings.Repeat("k", 1+size/2)})
		content = paxRecord(key, strings.Repeat(pick(rnd, []string{"a", "1", "a/", "0,1,"}), 1+size/4))
	default: // many
		var b bytes.Buffer
		for i := 0; b.Len() < size; i++ {
			b.Write(paxRecord(fmt.Sprintf("SCHILY.xattr.u%d", i), pick(rnd, []string{"", "x"})))
		}
		content = b.Bytes()
	}
	header := make([]byte, tarBlock)
	copy(header, "extended")
	copy(header[100:], "0000644\x000000000\x000000000\x00")
	copy(header[124:], fmt.Sprintf("%011o\x0000000000000\x00", len(content)))
	copy(header[148:], "        ")
	header[156] = kind
	copy(header[257:], "ustar\x0000")
	sum := 0
	for _, b := range header {
		sum += int(b)
	}
	copy(header[148:], fmt.Sprintf("%06o\x00 ", sum))
	padding := make([]byte, (tarBlock-len(content)%tarBlock)%tarBlock)
	return append(append(header, content...), padding...)
}

// paxRecord is a record whose length includes that of its number.
func paxRecord(key, value string) []byte {
	n := len(key) + len(value) + 3
	for n != len(fmt.Sprintf("%d %s=%s\n", n, key, value)) {
		n = len(fmt.Sprintf("%d %s=%s\n", n, key, value))
	}
	return fmt.Appendf(nil, "%d %s=%s\n", n, key, value)
}
