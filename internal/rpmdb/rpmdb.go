// Package rpmdb reads the packages in an rpm database, in each of its formats:
// SQLite (rpm 4.16 and later), Berkeley DB (Enterprise Linux 8 and earlier) and
// ndb (SUSE). It takes bytes and returns headers; it must not know files or images.
//
// A database comes from an image and may be hostile: memory and time are linear in its
// size, and damage is an error. docs/decisions/005-package-formats.md explains why no
// library is used.
package rpmdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// Limits of a database.
const (
	maxPackages = 500_000  // real systems have a tenth of it
	maxRecord   = 64 << 20 // bytes of a package's header, of formats whose headers are copied
	maxField    = 1 << 10  // bytes of a name, version, release or architecture
	maxFields   = 64 << 20 // bytes of these in all, because they may share their bytes in the file
)

var (
	errRecord = fmt.Errorf("a header of more than %d bytes", maxRecord)
	errFields = fmt.Errorf("more than %d bytes of names and versions", maxFields)
)

// Package is an installed package.
type Package struct {
	Name    string
	Version string // [EPOCH:]VERSION[-RELEASE]; an epoch of zero is omitted
	Arch    string
}

var errFormat = errors.New("rpm database: unknown format")

// Read returns the packages in a database. wal is the write-ahead log beside an
// SQLite file; it may be nil. An empty file has no packages. Imported keys, which
// rpm stores as packages, are left out.
func Read(file, wal []byte) ([]Package, error) {
	if len(file) == 0 {
		return nil, nil
	}
	var out []Package
	fields := 0
	add := func(blob []byte) error {
		p, err := parseHeader(blob)
		if err != nil {
			return err
		}
		if len(out) >= maxPackages {
			return fmt.Errorf("more than %d packages", maxPackages)
		}
		if fields += len(p.Name) + len(p.Version) + len(p.Arch); fields > maxFields {
			return errFields
		}
		if p.Name != "gpg-pubkey" {
			out = append(out, p)
		}
		return nil
	}
	var err error
	switch {
	case bytes.HasPrefix(file, []byte(sqliteMagic)):
		err = sqliteBlobs(file, wal, "Packages", add)
	case bytes.HasPrefix(file, []byte(ndbMagic)):
		err = ndbBlobs(file, add)
	case isBerkeley(file):
		err = berkeleyBlobs(file, add)
	default:
		return nil, errFormat
	}
	if err != nil {
		return nil, fmt.Errorf("rpm database: %w", err)
	}
	return out, nil
}

// Tags and types of header entries, from rpm's rpmtag.h.
const (
	tagName    = 1000
	tagVersion = 1001
	tagRelease = 1002
	tagEpoch   = 1003
	tagArch    = 1022

	typeInt32  = 4
	typeString = 6
)

var errHeader = errors.New("damaged header")

// parseHeader reads a header: the number of entries, the size of the data, the
// entries of 16 bytes each, and the data.
func parseHeader(b []byte) (Package, error) {
	if len(b) < 8 {
		return Package{}, errHeader
	}
	entries, size := int(binary.BigEndian.Uint32(b)), int(binary.BigEndian.Uint32(b[4:]))
	if entries > len(b)/16 || size > len(b) || 8+16*entries+size > len(b) {
		return Package{}, errHeader
	}
	data := b[8+16*entries : 8+16*entries+size]
	var p Package
	var version, release, epoch string
	for i := range entries {
		e := b[8+16*i:]
		tag, typ, offset := binary.BigEndian.Uint32(e), binary.BigEndian.Uint32(e[4:]), int(
			int32(binary.BigEndian.Uint32(e[8:])))
		var field *string
		switch tag {
		case tagName:
			field = &p.Name
		case tagVersion:
			field = &version
		case tagRelease:
			field = &release
		case tagArch:
			field = &p.Arch
		case tagEpoch:
			if typ == typeInt32 && offset >= 0 && offset+4 <= len(data) {
				if v := binary.BigEndian.Uint32(data[offset:]); v > 0 {
					epoch = strconv.FormatUint(uint64(v), 10) + ":"
				}
			}
			continue
		default:
			continue
		}
		// A header has each of them once. Many copies of a long one would take a very long time.
		if typ != typeString || offset < 0 || offset >= len(data) || *field != "" {
			return Package{}, errHeader
		}
		end := bytes.IndexByte(data[offset:min(offset+maxField, len(data))], 0)
		if end < 0 {
			return Package{}, errHeader
		}
		*field = string(data[offset : offset+end])
	}
	if p.Name == "" || version == "" {
		return Package{}, errHeader
	}
	p.Version = epoch + version
	if release != "" {
		p.Version += "-" + release
	}
	return p, nil
}
