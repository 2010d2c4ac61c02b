package rpmdb

import (
	"encoding/binary"
	"errors"
)

// This file reads tables of SQLite databases, as sqlite.org/fileformat.html
// describes them. It reads no indexes and writes nothing.

const sqliteMagic = "SQLite format 3\x00"

// maxColumns is the largest number of columns that SQLite itself can have.
const maxColumns = 32767

var errSQLite = errors.New("damaged SQLite file")

// sqliteFile is a database with the pages that its write-ahead log replaces.
type sqliteFile struct {
	data   []byte
	page   int            // bytes of a page
	usable int            // bytes of a page that are used
	newer  map[int][]byte // pages from the log
	read   map[int]bool   // each page is read once: a loop is damage
	record []byte         // the last one that has overflow pages
}

// sqliteBlobs calls yield with the last column of each row of a table, which is valid until yield
// returns.
func sqliteBlobs(data, wal []byte, table string, yield func([]byte) error) error {
	if len(data) < 100 {
		return errSQLite
	}
	f := &sqliteFile{data: data, page: int(binary.BigEndian.Uint16(data[16:])), read: map[int]bool{}}
	if f.page == 1 {
		f.page = 65536
	}
	if f.page < 512 || f.page&(f.page-1) != 0 {
		return errSQLite
	}
	if f.usable = f.page - int(data[20]); f.usable < 480 {
		return errSQLite
	}
	f.readLog(wal)
	root := 0
	err := f.rows(1, 0, func(record []byte) error {
		cols, err := sqliteRecord(record)
		if err == nil && len(cols) >= 4 && string(cols[0].bytes) == "table" && string(cols[1].bytes) == table {
			root = int(cols[3].int)
		}
		return err
	})
	if err != nil || root == 0 {
		return err // a database without the table is an empty one
	}
	return f.rows(root, 0, func(record []byte) error {
		cols, err := sqliteRecord(record)
		if err != nil || len(cols) == 0 {
			return errSQLite
		}
		return yield(cols[len(cols)-1].bytes)
	})
}

func (f *sqliteFile) get(n int) ([]byte, error) {
	if n < 1 || f.read[n] {
		return nil, errSQLite
	}
	f.read[n] = true
	if p, ok := f.newer[n]; ok {
		return p, nil
	}
	if n > len(f.data)/f.page {
		return nil, errSQLite
	}
	return f.data[(n-1)*f.page : n*f.page], nil
}

// rows calls yield with the records in a table's b-tree.
func (f *sqliteFile) rows(n, depth int, yield func([]byte) error) error {
	p, err := f.get(n)
	if err != nil || depth > 40 {
		return errSQLite
	}
	head := 0
	if n == 1 {
		head = 100 // the header of the file
	}
	kind, cells := p[head], int(binary.BigEndian.Uint16(p[head+3:]))
	at := head + 8
	if kind == 5 {
		at += 4
	}
	if at+2*cells > len(p) {
		return errSQLite
	}
	used := 0 // bytes of the page's cells
	for i := range cells {
		cell := int(binary.BigEndian.Uint16(p[at+2*i:]))
		if cell+4 > f.usable {
			return errSQLite
		}
		switch kind {
		case 5: // interior: the page left of a key
			err = f.rows(int(binary.BigEndian.Uint32(p[cell:])), depth+1, yield)
		case 13: // leaf
			var record []byte
			var length int
			if record, length, err = f.payload(p[cell:f.usable]); err != nil {
				break
			}
			// Valid cells do not overlap: many places with the same cell are an attack.
			if used += length; used > f.usable {
				return errSQLite
			}
			err = yield(record)
		default:
			err = errSQLite
		}
		if err != nil {
			return err
		}
	}
	if kind == 5 {
		return f.rows(int(binary.BigEndian.Uint32(p[head+8:])), depth+1, yield)
	}
	return nil
}

// payload returns the record in a leaf cell, with the part on overflow pages, and the bytes of the
// cell itself.
func (f *sqliteFile) payload(cell []byte) (record []byte, length int, err error) {
	size, n := sqliteVarint(cell)
	_, m := sqliteVarint(cell[n:])
	cell = cell[n+m:]
	if n == 0 || m == 0 || size > uint64(len(f.data)+len(f.newer)*f.page) {
		return nil, 0, errSQLite
	}
	if size > maxRecord {
		return nil, 0, errRecord
	}
	total, local := int(size), int(size)
	if total > f.usable-35 {
		minLocal := (f.usable-12)*32/255 - 23
		if local = minLocal + (total-minLocal)%(f.usable-4); local > f.usable-35 {
			local = minLocal
		}
	}
	if local == total {
		if local > len(cell) {
			return nil, 0, errSQLite
		}
		return cell[:local], n + m + local, nil
	}
	if local+4 > len(cell) {
		return nil, 0, errSQLite
	}
	if cap(f.record) < total {
		f.record = make([]byte, 0, total)
	}
	record = append(f.record[:0], cell[:local]...)
	next := int(binary.BigEndian.Uint32(cell[local:]))
	for len(record) < total {
		p, err := f.get(next)
		if err != nil {
			return nil, 0, err
		}
		next = int(binary.BigEndian.Uint32(p))
		record = append(record, p[4:4+min(f.usable-4, total-len(record))]...)
	}
	return record, n + m + local + 4, nil
}

// sqliteValue is the value of a column: the bytes of a text or blob, or an integer.
type sqliteValue struct {
	bytes []byte
	int   int64
}

func sqliteRecord(b []byte) ([]sqliteValue, error) {
	size, n := sqliteVarint(b)
	if n == 0 || size < uint64(n) || size > uint64(len(b)) {
		return nil, errSQLite
	}
	head, body := b[n:size], b[size:]
	var out []sqliteValue
	for len(head) > 0 {
		typ, n := sqliteVarint(head)
		if n == 0 || len(out) >= maxColumns {
			return nil, errSQLite
		}
		head = head[n:]
		length := 0
		switch {
		case typ < 5:
			length = int(typ)
		case typ == 5:
			length = 6
		case typ == 6 || typ == 7:
			length = 8
		case typ >= 12:
			if (typ-12)/2 > uint64(len(body)) {
				return nil, errSQLite
			}
			length = int((typ - 12) / 2)
		}
		if length > len(body) {
			return nil, errSQLite
		}
		v := sqliteValue{bytes: body[:length]}
		if typ >= 1 && typ <= 6 {
			for i, c := range v.bytes {
				if v.int = v.int<<8 | int64(c); i == 0 {
					v.int = int64(int8(c))
				}
			}
		} else if typ == 9 {
			v.int = 1
		}
		out, body = append(out, v), body[length:]
	}
	return out, nil
}

// sqliteVarint reads a number of up to nine bytes; n is 0 if it is truncated.
func sqliteVarint(b []byte) (v uint64, n int) {
	for i := range min(9, len(b)) {
		if i == 8 {
			return v<<8 | uint64(b[i]), 9
		}
		v = v<<7 | uint64(b[i]&0x7f)
		if b[i] < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}

// readLog reads the pages of complete transactions from a write-ahead log. A frame is
// valid if it has the log's salt and the checksum of everything before it. The first
// invalid frame is left over from an earlier use of the file.
func (f *sqliteFile) readLog(wal []byte) {
	if len(wal) < 32 {
		return
	}
	magic := binary.BigEndian.Uint32(wal)
	if magic&^1 != 0x377f0682 || int(binary.BigEndian.Uint32(wal[8:])) != f.page {
		return
	}
	order := binary.ByteOrder(binary.LittleEndian)
	if magic&1 == 1 {
		order = binary.BigEndian
	}
	var s0, s1 uint32
	sum := func(b []byte) {
		for ; len(b) >= 8; b = b[8:] {
			s0 += order.Uint32(b) + s1
			s1 += order.Uint32(b[4:]) + s0
		}
	}
	sum(wal[:24])
	if s0 != binary.BigEndian.Uint32(wal[24:]) || s1 != binary.BigEndian.Uint32(wal[28:]) {
		return
	}
	f.newer = map[int][]byte{}
	pending := map[int][]byte{}
	for rest := wal[32:]; len(rest) >= 24+f.page; rest = rest[24+f.page:] {
		if string(rest[8:16]) != string(wal[16:24]) {
			return
		}
		sum(rest[:8])
		sum(rest[24 : 24+f.page])
		if s0 != binary.BigEndian.Uint32(rest[16:]) || s1 != binary.BigEndian.Uint32(rest[20:]) {
			return
		}
		pending[int(binary.BigEndian.Uint32(rest))] = rest[24 : 24+f.page]
		if binary.BigEndian.Uint32(rest[4:]) != 0 { // a commit
			for n, p := range pending {
				f.newer[n] = p
			}
			clear(pending)
		}
	}
}
