package parts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"syscall"

	"github.com/klauspost/reedsolomon"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/disk"
)

// shards are restored data parts by number, each positioned at its beginning.
type shards map[int]*os.File

func (s shards) close() {
	for _, f := range s {
		f.Close()
	}
}

// restore computes all lost data parts in one pass over the others. It returns none if only
// one is lost, which is computed when it is read, or if there is no space for them.
func (s *Set) restore(ctx context.Context) (shards, error) {
	var lost []int
	var required int64
	for n := range s.header.Data {
		if p := s.parts[n]; p == nil || p.Err != nil {
			lost = append(lost, n)
			required += s.length(n)
		}
	}
	dir := s.TempDir
	if dir == "" {
		dir = os.TempDir()
	}
	if _, free := disk.Space(dir); len(lost) < 2 || free < required+required/10 {
		return nil, nil
	}
	restored := shards{}
	out := map[int]io.Writer{}
	for _, n := range lost {
		f, err := atomicfile.Unnamed(dir)
		if err != nil {
			restored.close()
			return nil, nil //nolint:nilerr // the directory cannot be used
		}
		restored[n], out[n] = f, f
	}
	err := s.reconstruct(ctx, out)
	for _, f := range restored {
		if err == nil {
			_, err = f.Seek(0, io.SeekStart)
		}
	}
	if err != nil {
		restored.close()
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			return nil, nil // other programs have used the space
		}
		return nil, err
	}
	return restored, nil
}

// reconstruct writes the payloads of lost data parts, computed from other parts, all of
// which are read once.
func (s *Set) reconstruct(ctx context.Context, out map[int]io.Writer) error {
	code, err := reedsolomon.New(s.header.Data, s.header.Parity)
	if err != nil {
		return err
	}
	files, err := s.openUsable()
	defer files.close()
	if err != nil {
		return err
	}
	lost := slices.Sorted(maps.Keys(out))
	remaining := map[int]int64{}
	// Of data parts only: with one for each part, the code for more than 256 parts would compute all
	// missing parity parts too, in memory of its own for each block.
	required := make([]bool, s.header.Data)
	for _, n := range lost {
		required[n], remaining[n] = true, s.length(n)
	}
	s.plan(int64(len(files)) * s.header.shard())
	buffers := make([][]byte, s.header.Data+s.header.Parity)
	blocksOf := make([][]byte, len(buffers))
	return blocks(ctx, &s.header, func(offset int64, size int) error {
		for n := range blocksOf {
			f := files[n]
			if f == nil && n >= s.header.Data {
				continue // a parity part that is not needed
			}
			if cap(buffers[n]) < size {
				buffers[n] = make([]byte, size)
			}
			if f == nil {
				blocksOf[n] = buffers[n][:0] // to be computed
				continue
			}
			blocksOf[n] = buffers[n][:size]
			if err := readBlock(f, blocksOf[n], offset); err != nil {
				return err
			}
			s.count(int64(size))
		}
		if err := code.ReconstructSome(blocksOf, required); err != nil {
			return fmt.Errorf("restoring parts: %w", err)
		}
		for _, n := range lost {
			k := min(remaining[n], int64(size))
			remaining[n] -= k
			if _, err := out[n].Write(blocksOf[n][:k]); err != nil {
				return err
			}
		}
		return nil
	})
}

// openUsable opens as many undamaged parts as are needed to compute the others.
func (s *Set) openUsable() (shards, error) {
	files := shards{}
	for _, n := range s.numbers() {
		p := s.parts[n]
		if p.Err != nil || len(files) == s.header.Data {
			continue
		}
		f, _, err := s.open(p)
		if err != nil {
			return files, fmt.Errorf("%s: %w", p.File, err)
		}
		files[n] = f
	}
	return files, nil
}
