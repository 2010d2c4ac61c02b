package rpmdb

import (
	"encoding/binary"
	"errors"
)

const ndbMagic = "RpmP"

const (
	ndbPage      = 4096
	ndbEntry     = 16 // bytes of a slot and of a block
	ndbSlotMagic = "Slot"
	ndbBlobMagic = "BlbS"
)

var errNDB = errors.New("damaged ndb file")

// ndbBlobs calls yield with each blob of an ndb file: a header of 32 bytes, whose
// fourth number is the count of slot pages, then the slots. A used slot contains the
// number of the block of 16 bytes in which a blob begins.
func ndbBlobs(file []byte, yield func([]byte) error) error {
	if len(file) < 32 {
		return errNDB
	}
	pages := int(binary.LittleEndian.Uint32(file[12:]))
	if pages == 0 || pages > len(file)/ndbPage {
		return errNDB
	}
	total := 0
	for at := 32; at < pages*ndbPage; at += ndbEntry {
		slot := file[at : at+ndbEntry]
		if string(slot[:4]) != ndbSlotMagic {
			return errNDB
		}
		index := binary.LittleEndian.Uint32(slot[4:])
		if index == 0 { // a free slot
			continue
		}
		start := int(binary.LittleEndian.Uint32(slot[8:])) * ndbEntry
		if start > len(file)-ndbEntry {
			return errNDB
		}
		head := file[start : start+ndbEntry]
		size := int(binary.LittleEndian.Uint32(head[12:]))
		isBlob := string(head[:4]) == ndbBlobMagic && binary.LittleEndian.Uint32(head[4:]) == index
		if !isBlob || size > len(file)-start-ndbEntry {
			return errNDB
		}
		// Valid blobs do not overlap: many slots with the same blob are an attack.
		if total += size; total > len(file) {
			return errNDB
		}
		if err := yield(file[start+ndbEntry : start+ndbEntry+size]); err != nil {
			return err
		}
	}
	return nil
}
