package rpmdb

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/standin"
	"github.com/kolla-build/kolla-build/internal/testenv"
)

const packageCount = 300

// writeSQLite makes rpm install packages into a database and returns its files.
func writeSQLite(t testing.TB, rpms []string) (file, wal []byte) {
	t.Helper()
	dir := t.TempDir()
	args := append([]string{"--dbpath", dir, "-i", "--justdb", "--nodeps", "--nosignature"}, rpms...)
	if out, err := exec.Command("rpm", args...).CombinedOutput(); err != nil {
		t.Fatalf("rpm: %v\n%s", err, out)
	}
	file, err := os.ReadFile(filepath.Join(dir, "rpmdb.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	wal, _ = os.ReadFile(filepath.Join(dir, "rpmdb.sqlite-wal"))
	return file, wal
}

// writeNDB writes headers as rpm's rpmpkg.c does. Debian's rpm cannot write this
// format; the reader was also compared with a database of SUSE Linux Enterprise 15.
func writeNDB(headers [][]byte) []byte {
	pages := 2 + len(headers)*ndbEntry/ndbPage
	le := binary.LittleEndian
	file := make([]byte, pages*ndbPage)
	copy(file, ndbMagic)
	le.PutUint32(file[12:], uint32(pages))
	for at := 32; at < len(file); at += ndbEntry {
		copy(file[at:], ndbSlotMagic)
	}
	for i, h := range headers {
		slot := file[32+i*ndbEntry:]
		le.PutUint32(slot[4:], uint32(i+1))
		le.PutUint32(slot[8:], uint32(len(file)/ndbEntry))
		blob := append([]byte(ndbBlobMagic), make([]byte, 12)...)
		le.PutUint32(blob[4:], uint32(i+1))
		le.PutUint32(blob[12:], uint32(len(h)))
		blob = append(blob, h...)
		file = append(file, append(blob, make([]byte, 16+(16-len(blob)%16)%16)...)...)
	}
	return file
}

// loadBerkeley makes Berkeley DB's own loader write a hash file, as rpm before 4.16
// did: the keys are the numbers of packages, and number 0 has the next one.
func loadBerkeley(t testing.TB, headers [][]byte, bigEndian bool) []byte {
	t.Helper()
	order := "1234"
	if bigEndian {
		order = "4321"
	}
	var dump strings.Builder
	dump.WriteString("VERSION=3\nformat=bytevalue\ntype=hash\ndb_pagesize=4096\ndb_lorder=" + order + "\nHEADER=END\n")
	fmt.Fprintf(&dump, " 00000000\n %s\n", hex.EncodeToString([]byte{byte(len(headers)), 0, 0, 0}))
	for i, h := range headers {
		fmt.Fprintf(&dump, " %02x%02x0000\n %s\n", (i+1)%256, (i+1)/256, hex.EncodeToString(h))
	}
	dump.WriteString("DATA=END\n")
	file := filepath.Join(t.TempDir(), "Packages")
	cmd := exec.Command("db5.3_load", file)
	cmd.Stdin = strings.NewReader(dump.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("db5.3_load: %v\n%s", err, out)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func buildRPMs(t testing.TB) []string {
	t.Helper()
	for program, deb := range map[string]string{"rpm": "rpm", "rpmbuild": "rpm", "createrepo_c": "createrepo-c",
		"db5.3_load": "db5.3-util"} {
		testenv.Program(t, program, deb)
	}
	dir := t.TempDir()
	var list []standin.RPM
	for i := range packageCount {
		list = append(list, standin.RPM{Name: "pack" + strconv.Itoa(i),
			Files: map[string]string{"usr/share/p" + strconv.Itoa(i): "x"}})
	}
	if err := standin.WriteRPMs(dir, list...); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*", "*.rpm"))
	if err != nil || len(files) != packageCount {
		t.Fatalf("%d packages built, %v", len(files), err)
	}
	return files
}

// headersIn returns the headers in a database that rpm wrote.
func headersIn(t testing.TB, file, wal []byte) [][]byte {
	t.Helper()
	var out [][]byte
	if err := sqliteBlobs(file, wal, "Packages", func(b []byte) error { out = append(out, b); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestFormats reads databases that rpm and Berkeley DB wrote, in each format.
func TestFormats(t *testing.T) {
	testenv.Slow(t)
	rpms := buildRPMs(t)
	sqlite, wal := writeSQLite(t, rpms)
	headers := headersIn(t, sqlite, wal)
	for name, files := range map[string][2][]byte{
		"sqlite":                   {sqlite, wal},
		"ndb":                      {writeNDB(headers), nil},
		"berkeley":                 {loadBerkeley(t, headers, false), nil},
		"berkeley on a big-endian": {loadBerkeley(t, headers, true), nil},
	} {
		got, err := Read(files[0], files[1])
		if err != nil || len(got) != packageCount {
			t.Errorf("%s: %d packages, %v", name, len(got), err)
			continue
		}
		if want := (Package{"pack7", standin.RPMVersion, "noarch"}); !slices.Contains(got, want) {
			t.Errorf("%s: no %v", name, want)
		}
		// A truncated or overwritten file is an error or has fewer packages.
		for _, cut := range []int{600, len(files[0]) / 2, len(files[0]) - 5000} {
			if got, err := Read(files[0][:cut], nil); err == nil && len(got) >= packageCount {
				t.Errorf("%s: truncated to %d bytes, all packages are there", name, cut)
			}
		}
	}
}

// TestLoops reads Berkeley DB files whose overflow pages lead to each other.
func TestLoops(t *testing.T) {
	testenv.Slow(t)
	rpms := buildRPMs(t)[:1]
	sqlite, wal := writeSQLite(t, rpms)
	headers := headersIn(t, sqlite, wal)
	ndb, file := writeNDB(headers), loadBerkeley(t, headers, false)
	changed := 0
	for at := 0; at+4096 <= len(file); at += 4096 {
		if file[at+25] == bdbPageOverflow {
			copy(file[at+16:], file[at+8:at+12]) // its successor is itself
			changed++
		}
	}
	if got, err := Read(file, nil); changed == 0 || err == nil {
		t.Errorf("%d pages changed: %v, %v", changed, got, err)
	}
	// Many slots of an ndb file name the same blob.
	first := slices.Clone(ndb[32:48])
	for at := 32; at < 4096; at += 16 {
		copy(ndb[at:], first)
	}
	if got, err := Read(ndb, nil); err == nil && len(got) > len(ndb)/100 {
		t.Errorf("%d packages from one blob", len(got))
	}
}

// TestDamagedRecords reads SQLite records that end too early.
func TestDamagedRecords(t *testing.T) {
	for _, b := range [][]byte{nil, {0}, {0x80, 0}, {9, 1}, {2, 12 + 2*9}, {3, 0xff, 0xff}} {
		if v, err := sqliteRecord(b); err == nil {
			t.Errorf("% x: %v, want an error", b, v)
		}
	}
}

func FuzzRead(f *testing.F) {
	if _, err := exec.LookPath("rpm"); err == nil {
		dir := f.TempDir()
		_ = exec.Command("rpm", "--dbpath", dir, "--initdb").Run()
		if data, err := os.ReadFile(filepath.Join(dir, "rpmdb.sqlite")); err == nil {
			wal, _ := os.ReadFile(filepath.Join(dir, "rpmdb.sqlite-wal"))
			f.Add(data, wal)
		}
	}
	f.Add(writeNDB([][]byte{make([]byte, 40)}), []byte{})
	if _, err := exec.LookPath("db5.3_load"); err == nil {
		f.Add(loadBerkeley(f, [][]byte{make([]byte, 40), make([]byte, 9000)}, false), []byte{})
	}
	f.Add([]byte(sqliteMagic), []byte{})
	f.Fuzz(func(_ *testing.T, data, wal []byte) { _, _ = Read(data, wal) })
}

// header returns an rpm header whose fields all are one text.
func header(text string, tags ...uint32) []byte {
	be := binary.BigEndian
	out := be.AppendUint32(be.AppendUint32(nil, uint32(len(tags))), uint32(len(text)+1))
	for _, tag := range tags {
		out = be.AppendUint32(be.AppendUint32(be.AppendUint32(be.AppendUint32(out, tag), typeString), 0), 1)
	}
	return append(append(out, text...), 0)
}

// sqliteCell returns a cell of a table with a record of one blob.
func sqliteCell(blob []byte) []byte {
	varint := func(v int) []byte { return []byte{byte(v>>14) | 0x80, byte(v>>7) | 0x80, byte(v & 0x7f)} }
	record := append(append([]byte{4}, varint(2*len(blob)+12)...), blob...)
	return append(append(varint(len(record)), 1), record...)
}

// sqliteTable returns a database whose table has one page, in which count places name one cell.
func sqliteTable(cell []byte, count int) []byte {
	const page = 65536
	be := binary.BigEndian
	file := make([]byte, 2*page)
	copy(file, sqliteMagic)
	be.PutUint16(file[16:], 1)
	schema := append([]byte{6, 12*2 - 1, 14*2 + 1, 14*2 + 1, 1, 13}, "tablePackagesPackages\x02"...)
	schema[1] = 13 + 2*5
	schema[2], schema[3] = 13+2*8, 13+2*8
	first := append([]byte{byte(len(schema)), 1}, schema...)
	leaf := func(page []byte, head, count int, cell []byte) {
		at := len(page) - len(cell)
		copy(page[at:], cell)
		page[head] = 13
		be.PutUint16(page[head+3:], uint16(count))
		for i := range count {
			be.PutUint16(page[head+8+2*i:], uint16(at))
		}
	}
	leaf(file[:page], 100, 1, first)
	leaf(file[page:], 0, count, cell)
	return file
}

// TestSharedBytes reads databases that take much more memory or time than their size if what shares
// bytes in them is read as often as it is named.
func TestSharedBytes(t *testing.T) {
	all := []uint32{tagName, tagVersion, tagRelease, tagArch}
	sound := header("x", all...)
	if got, err := Read(sqliteTable(sqliteCell(sound), 1), nil); err != nil || len(got) != 1 || got[0].Name != "x" {
		t.Fatalf("a sound database: %v, %v", got, err)
	}
	if got, err := Read(sqliteTable(sqliteCell(sound), 20_000), nil); err == nil {
		t.Errorf("SQLite cells that overlap: %d packages", len(got))
	}
	for about, h := range map[string][]byte{
		"a long name":    header(strings.Repeat("x", 2*maxField), all...),
		"a tag repeated": header("x", append(all, tagName)...),
	} {
		if got, err := Read(writeNDB([][]byte{h}), nil); err == nil {
			t.Errorf("%s: %d packages", about, len(got))
		}
	}
	long := header(strings.Repeat("x", maxField-1), all...)
	headers := slices.Repeat([][]byte{long}, 500)
	if got, err := Read(writeNDB(headers), nil); err != nil || len(got) != len(headers) {
		t.Errorf("names of the longest length: %d packages, %v", len(got), err)
	}
	if columns, err := sqliteRecord(append([]byte{0x82, 0x80, 0x04}, make([]byte, 1<<20)...)); err == nil &&
		len(columns) > maxColumns {
		t.Errorf("a record of %d columns", len(columns))
	}
}

// TestLimits reads databases just above a limit of what is copied, and just below it.
func TestLimits(t *testing.T) {
	data := make([]byte, maxRecord+1<<20) // zeros that are not touched take no memory
	cell := func(size uint64) []byte {
		c := []byte{0x80 | byte(size>>21), 0x80 | byte(size>>14), 0x80 | byte(size>>7), byte(size & 0x7f), 1}
		return append(c, make([]byte, 500)...)
	}
	sqlite := &sqliteFile{data: data, page: 512, usable: 512, read: map[int]bool{}}
	item := func(size uint32) []byte {
		return binary.LittleEndian.AppendUint32([]byte{bdbItemOffPage, 0, 0, 0, 1, 0, 0, 0}, size)
	}
	bdb := &berkeley{data: data, page: 512, order: binary.LittleEndian, read: map[int]bool{}}
	for size, want := range map[int][2]error{
		maxRecord:     {errSQLite, errBerkeley}, // read as far as the damage
		maxRecord + 1: {errRecord, errRecord},
	} {
		if _, _, err := sqlite.payload(cell(uint64(size))); !errors.Is(err, want[0]) {
			t.Errorf("SQLite, a record of %d bytes: %v", size, err)
		}
		if _, err := bdb.overflow(item(uint32(size))); !errors.Is(err, want[1]) {
			t.Errorf("Berkeley DB, an item of %d bytes: %v", size, err)
		}
	}
	long := header(strings.Repeat("x", maxField-1), tagName, tagVersion, tagRelease, tagArch)
	each := 4*(maxField-1) + 1
	if _, err := Read(writeNDB(slices.Repeat([][]byte{long}, maxFields/each)), nil); err != nil {
		t.Errorf("names up to the limit: %v", err)
	}
	if _, err := Read(writeNDB(slices.Repeat([][]byte{long}, maxFields/each+1)), nil); !errors.Is(err, errFields) {
		t.Errorf("names above the limit: %v", err)
	}
}

// TestRecordsShareMemory checks that the copies of long records do not add up.
func TestRecordsShareMemory(t *testing.T) {
	const page, local, overflows = 4096, 489, 3 // a record of this size has local bytes in its cell
	total := local + overflows*(page-4)
	be := binary.BigEndian
	file := make([]byte, 8*page)
	cell := func(first int, content byte) []byte {
		for i := range overflows {
			p := file[(first-1+i)*page:][:page]
			be.PutUint32(p, uint32(first+i+1))
			copy(p[4:], bytes.Repeat([]byte{content}, page-4))
		}
		c := append([]byte{0x80 | byte(total>>7), byte(total & 0x7f), 1}, bytes.Repeat([]byte{content}, local)...)
		return be.AppendUint32(c, uint32(first))
	}
	f := &sqliteFile{data: file, page: page, usable: page, read: map[int]bool{}}
	var first *byte
	for i, start := range []int{2, 5} {
		content := byte('a' + i)
		record, _, err := f.payload(cell(start, content))
		if err != nil || len(record) != total || bytes.Count(record, []byte{content}) != total {
			t.Fatalf("record %d: %d bytes, %v", i, len(record), err)
		}
		if first != nil && first != &record[0] {
			t.Error("the second record has memory of its own")
		}
		first = &record[0]
	}
}
