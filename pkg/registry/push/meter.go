package push

import (
	"sync"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/pkg/registry"
)

// Meter adds up the progress of blobs. A blob that is sent to several repositories
// counts once. It is safe for concurrent use.
type Meter struct {
	// Update is called with the number of bytes that were sent, mounted or already
	// present, and with the total of all expected blobs, 0 before Expected. It must not
	// block.
	Update func(done, total int64)

	mu          sync.Mutex
	expected    map[digest.Digest]bool
	arrived     map[digest.Digest]int64
	done, total int64
	complete    bool
}

// Expect announces a blob.
func (m *Meter) Expect(d ocispec.Descriptor) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.expected == nil {
		m.expected = map[digest.Digest]bool{}
	}
	if !m.expected[d.Digest] && d.Size > 0 {
		m.expected[d.Digest] = true
		m.total += d.Size
	}
}

// Expected records that all blobs have been announced.
func (m *Meter) Expected() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.complete = true
}

// Report can be used as Options.Progress.
func (m *Meter) Report(p Progress) {
	m.mu.Lock()
	if m.arrived == nil {
		m.arrived = map[digest.Digest]int64{}
	}
	if more := p.Done - m.arrived[p.Blob]; more > 0 { // a repeated upload begins again
		m.arrived[p.Blob] += more
		m.done += more
	}
	done, total := m.done, int64(0)
	if m.complete {
		total = m.total
	}
	m.mu.Unlock()
	m.Update(done, total)
}

// present reports blobs as skipped, because the repository has them.
func (p *Publisher) present(repo *registry.Repository, blobs []ocispec.Descriptor) {
	for _, d := range blobs {
		p.report(Progress{Repository: repo.Name(), Blob: d.Digest, Done: d.Size, Size: d.Size, State: registry.BlobSkipped})
	}
}
