package packages

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// Tags and types of rpm's headers, from rpm's own rpmtag.h.
const (
	rpmtagName    = 1000
	rpmtagVersion = 1001
	rpmtagRelease = 1002
	rpmtagEpoch   = 1003
	rpmtagArch    = 1022

	rpmInt32  = 4
	rpmString = 6
)

// maxPackages bounds what a database may name: distributions have a tenth.
const maxPackages = 500_000

// ErrOldRPMDB is an rpm database in Berkeley DB's format, of rpm before 4.16,
// or in SUSE's: they are not read.
var ErrOldRPMDB = errors.New("an rpm database that is not in SQLite's format, as of Enterprise Linux before 9")

// parseRPMDB reads rpm's database: the file and its write-ahead log, if there
// is one. A reader of one table of SQLite's format is a tenth of a library that
// can all of it, and reads what an image may have made wrong on purpose.
func parseRPMDB(file, wal []byte) ([]Package, error) {
	if !bytes.HasPrefix(file, []byte(sqliteMagic)) {
		if len(file) == 0 {
			return nil, nil
		}
		return nil, ErrOldRPMDB
	}
	var out []Package
	err := sqliteBlobs(file, wal, "Packages", func(blob []byte) error {
		p, err := parseRPMHeader(blob)
		if len(out) >= maxPackages {
			return fmt.Errorf("it names more than %d packages", maxPackages)
		}
		// Keys that were imported are in the database as packages.
		if err == nil && p.Name != "gpg-pubkey" {
			out = append(out, p)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("rpm database: %w", err)
	}
	return out, nil
}

// parseRPMHeader reads a header as the database has it: the number of entries,
// the size of the data, the entries of 16 bytes, the data.
func parseRPMHeader(b []byte) (Package, error) {
	p := Package{Type: RPM}
	bad := errors.New("a header is damaged")
	if len(b) < 8 {
		return p, bad
	}
	n, size := int(binary.BigEndian.Uint32(b)), int(binary.BigEndian.Uint32(b[4:]))
	if n > len(b)/16 || size > len(b) || 8+16*n+size > len(b) {
		return p, bad
	}
	data := b[8+16*n : 8+16*n+size]
	version, release, epoch := "", "", ""
	for i := range n {
		e := b[8+16*i:]
		tag, typ, at := binary.BigEndian.Uint32(e), binary.BigEndian.Uint32(e[4:]), int(int32(binary.BigEndian.Uint32(e[8:])))
		var to *string
		switch tag {
		case rpmtagName:
			to = &p.Name
		case rpmtagVersion:
			to = &version
		case rpmtagRelease:
			to = &release
		case rpmtagArch:
			to = &p.Arch
		case rpmtagEpoch:
			if typ == rpmInt32 && at >= 0 && at+4 <= len(data) {
				if v := binary.BigEndian.Uint32(data[at:]); v > 0 {
					epoch = strconv.FormatUint(uint64(v), 10) + ":"
				}
			}
			continue
		default:
			continue
		}
		if typ != rpmString || at < 0 || at >= len(data) {
			return p, bad
		}
		end := bytes.IndexByte(data[at:], 0)
		if end < 0 {
			return p, bad
		}
		*to = string(data[at : at+end])
	}
	if p.Name == "" || version == "" {
		return p, bad
	}
	p.Version = epoch + version
	if release != "" {
		p.Version += "-" + release
	}
	return p, nil
}
