package store

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/inputfile"
)

// verifiedFile records when blobs were verified. It is only an optimization: without
// it, blobs are read again. See docs/decisions/016-verified-blobs.md.
const verifiedFile = "verified.json"

// verifiedFor is how long a verification counts. After that a blob is read again, because
// a medium can damage a file without changing its times.
const verifiedFor = 7 * 24 * time.Hour

// settled is how old the last change of a file must be when a verification is relied on.
// File times have a granularity of milliseconds or more, so another change of a file
// that has just changed could remain unnoticed.
const settled = time.Second

// stamp is the state of a blob's file when it was verified. Any write changes it.
type stamp struct {
	Size  int64  `json:"size"`
	MTime int64  `json:"mtime"` // in nanoseconds, as the others
	CTime int64  `json:"ctime"`
	Inode uint64 `json:"inode"`
	At    int64  `json:"at"` // when it was verified
}

func (s stamp) sameFile(o stamp) bool {
	s.At = o.At
	return s == o
}

// counts reports whether a verification is still valid. It is not if the file's last
// change was more recent than settled.
func (s stamp) counts(now time.Time, settled time.Duration) bool {
	age := now.Sub(time.Unix(0, s.At))
	return age >= 0 && age < verifiedFor && now.Sub(time.Unix(0, max(s.CTime, s.MTime))) >= settled
}

// stampOf returns the state of a blob's file now.
func (s *Store) stampOf(d digest.Digest) (stamp, bool) {
	info, err := os.Stat(s.blobPath(d))
	if err != nil {
		return stamp{}, false
	}
	return stampOfFile(info)
}

func stampOfFile(info os.FileInfo) (stamp, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}, false
	}
	return stamp{
		Size:  info.Size(),
		MTime: info.ModTime().UnixNano(),
		CTime: time.Unix(st.Ctim.Unix()).UnixNano(),
		Inode: st.Ino,
		At:    time.Now().UnixNano(),
	}, true
}

// openVerified opens a blob whose file has not changed since it was verified during the last
// week. ok is false if there is none.
func (s *Store) openVerified(d digest.Digest) (f *os.File, ok bool) {
	if d.Validate() != nil {
		return nil, false
	}
	s.touch(d)
	verified, found := s.lastVerified(d)
	if !found {
		return nil, false
	}
	f, err := inputfile.OpenRegular(s.blobPath(d))
	if err != nil {
		return nil, false
	}
	if info, err := f.Stat(); err == nil {
		if current, ok := stampOfFile(info); ok && verified.sameFile(current) && verified.counts(time.Now(), s.settled) {
			return f, true
		}
	}
	f.Close()
	return nil, false
}

// recordVerified records that the content of a blob was verified while its file was in
// this state.
func (s *Store) recordVerified(d digest.Digest, at stamp) {
	s.verifiedMu.Lock()
	defer s.verifiedMu.Unlock()
	if s.newlyVerified == nil {
		s.newlyVerified = map[digest.Digest]stamp{}
	}
	s.newlyVerified[d] = at
}

// lastVerified returns the state in which the file of a blob was verified.
func (s *Store) lastVerified(d digest.Digest) (stamp, bool) {
	s.verifiedMu.Lock()
	defer s.verifiedMu.Unlock()
	if st, ok := s.newlyVerified[d]; ok {
		return st, true
	}
	if s.verified == nil {
		s.verified = s.readVerified()
	}
	st, ok := s.verified[d]
	return st, ok
}

// CheckBlob is like DropBad, but does not read a blob whose file has not changed since
// it was verified during the last week.
func (s *Store) CheckBlob(ctx context.Context, d digest.Digest) (damaged bool, err error) {
	before, ok := s.stampOf(d)
	verified, found := s.lastVerified(d)
	if ok && found && verified.sameFile(before) && verified.counts(time.Now(), s.settled) {
		return false, nil
	}
	damaged, err = s.DropBad(ctx, d)
	if err == nil && !damaged && ok {
		s.recordVerified(d, before)
	}
	return damaged, err
}

// SaveVerified records on the disk the blobs that this process has written or verified.
func (s *Store) SaveVerified() error {
	s.verifiedMu.Lock()
	defer s.verifiedMu.Unlock()
	if len(s.newlyVerified) == 0 || s.readOnly {
		return nil
	}
	lock, err := s.lock(lockVerified)
	if err != nil {
		return fmt.Errorf("recording verified blobs: %w", err)
	}
	defer lock.Close()
	stamps := s.readVerified() // other processes may have written since
	for d, st := range s.newlyVerified {
		if st.At > stamps[d].At {
			stamps[d] = st
		}
	}
	now := time.Now()
	for d, st := range stamps {
		if current, ok := s.stampOf(d); !ok || !st.sameFile(current) || now.Sub(time.Unix(0, st.At)) >= verifiedFor {
			delete(stamps, d)
		}
	}
	if err := s.writeRecord(verifiedFile, stamps); err != nil {
		return fmt.Errorf("recording verified blobs: %w", err)
	}
	s.verified, s.newlyVerified = stamps, nil
	return nil
}

// readVerified reads the file. A missing or damaged file is empty.
func (s *Store) readVerified() map[digest.Digest]stamp {
	stamps := readRecord[map[digest.Digest]stamp](s, verifiedFile)
	if stamps == nil {
		stamps = map[digest.Digest]stamp{}
	}
	for d := range stamps {
		if d.Validate() != nil {
			delete(stamps, d)
		}
	}
	return stamps
}
