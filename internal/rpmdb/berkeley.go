package rpmdb

import (
	"encoding/binary"
	"errors"
)

// Numbers of Berkeley DB's hash files, from its dbinc/db_page.h.
const (
	bdbHashMagic  = 0x061561
	bdbPageHeader = 26

	bdbPageUnsorted = 2 // hash pages before 4.6
	bdbPageOverflow = 7
	bdbPageHash     = 13

	bdbItemInline  = 1
	bdbItemOffPage = 3
)

var errBerkeley = errors.New("damaged Berkeley DB file")

// berkeley is a hash file of Berkeley DB.
type berkeley struct {
	data  []byte
	page  int // bytes of a page
	order binary.ByteOrder
	read  map[int]bool // overflow pages: each belongs to one item
}

func isBerkeley(file []byte) bool {
	return len(file) >= 512 &&
		(binary.LittleEndian.Uint32(file[12:]) == bdbHashMagic || binary.BigEndian.Uint32(file[12:]) == bdbHashMagic)
}

// berkeleyBlobs calls yield with each value of a hash file. rpm's keys are package
// numbers; number 0 holds the next free number instead of a package.
func berkeleyBlobs(file []byte, yield func([]byte) error) error {
	f := berkeley{data: file, order: binary.LittleEndian, read: map[int]bool{}}
	if f.order.Uint32(file[12:]) != bdbHashMagic {
		f.order = binary.BigEndian
	}
	f.page = int(f.order.Uint32(file[20:]))
	if f.page < 512 || f.page > 65536 || f.page&(f.page-1) != 0 {
		return errBerkeley
	}
	if file[24] != 0 {
		return errors.New("encrypted Berkeley DB file")
	}
	for n := range len(file) / f.page {
		page := f.data[n*f.page : (n+1)*f.page]
		if kind := page[25]; kind != bdbPageHash && kind != bdbPageUnsorted {
			continue
		}
		if err := f.pairs(page, yield); err != nil {
			return err
		}
	}
	return nil
}

// pairs reads the pairs of keys and values on a hash page. Their offsets follow
// its header; items are stored from the end of the page towards its start.
func (f *berkeley) pairs(page []byte, yield func([]byte) error) error {
	count := int(f.order.Uint16(page[20:]))
	if count%2 != 0 || bdbPageHeader+2*count > len(page) {
		return errBerkeley
	}
	end := len(page)
	item := func(i int) ([]byte, error) {
		start := int(f.order.Uint16(page[bdbPageHeader+2*i:]))
		if start < bdbPageHeader+2*count || start >= end {
			return nil, errBerkeley
		}
		b := page[start:end]
		end = start
		return b, nil
	}
	for i := 0; i < count; i += 2 {
		key, err := item(i)
		if err != nil {
			return err
		}
		value, err := item(i + 1)
		if err != nil {
			return err
		}
		switch value[0] {
		case bdbItemInline:
			value = value[1:]
		case bdbItemOffPage:
			if value, err = f.overflow(value); err != nil {
				return err
			}
		default:
			return errBerkeley
		}
		if string(key[1:]) == "\x00\x00\x00\x00" {
			continue
		}
		if err := yield(value); err != nil {
			return err
		}
	}
	return nil
}

// overflow joins the pages of an item that does not fit on its own page.
func (f *berkeley) overflow(item []byte) ([]byte, error) {
	if len(item) < 12 {
		return nil, errBerkeley
	}
	next, size := int(f.order.Uint32(item[4:])), int(f.order.Uint32(item[8:]))
	if size > len(f.data) {
		return nil, errBerkeley
	}
	if size > maxRecord {
		return nil, errRecord
	}
	out := make([]byte, 0, size)
	for len(out) < size {
		if next <= 0 || next >= len(f.data)/f.page || f.read[next] {
			return nil, errBerkeley
		}
		f.read[next] = true
		page := f.data[next*f.page : (next+1)*f.page]
		used := int(f.order.Uint16(page[22:]))
		if page[25] != bdbPageOverflow || used == 0 || used > f.page-bdbPageHeader {
			return nil, errBerkeley
		}
		out = append(out, page[bdbPageHeader:bdbPageHeader+used]...)
		next = int(f.order.Uint32(page[16:]))
	}
	if len(out) != size || next != 0 {
		return nil, errBerkeley
	}
	return out, nil
}
