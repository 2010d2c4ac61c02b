// Package gcfloor lets the heap grow to some size before the garbage collector runs, since
// marking a small heap again and again takes longer than the work that fills it. It must
// not know what the memory is used for.
package gcfloor

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// defaultPercent is GOGC if it is not set, and initialHeap the heap in bytes at which
// Go's collector first runs with it.
const (
	defaultPercent = 100
	initialHeap    = 4 << 20
)

var (
	mu      sync.Mutex
	floor   uint64 // bytes, 0 for none
	watched bool   // a sentinel reports collections
	current = defaultPercent
)

// Set makes the collector run when the heap has the given size in bytes, or twice what is
// in use if that is more. It returns a function that restores the size from before. If the
// environment has GOGC, nothing changes: the user has decided.
func Set(bytes uint64) (restore func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	mu.Lock()
	defer mu.Unlock()
	before := floor
	floor = bytes
	adjust()
	if !watched {
		watched = true
		watch()
	}
	return func() {
		mu.Lock()
		defer mu.Unlock()
		floor = before
		adjust()
	}
}

// watch adjusts the collector after each collection.
func watch() {
	type sentinel struct{ _ [16]byte } // large enough not to share its memory with others
	runtime.SetFinalizer(&sentinel{}, func(*sentinel) {
		mu.Lock()
		defer mu.Unlock()
		adjust()
		watch()
	})
}

// adjust sets GOGC so that the next collection is at the floor. Setting it stops the
// program for a moment, so it is not set again to the same value.
func adjust() {
	if p := percent(floor, inUse()); p != current {
		current = p
		debug.SetGCPercent(p)
	}
}

// percent returns the GOGC with which the heap grows from the size that is in use to the
// floor, or to twice its size.
func percent(floor, inUse uint64) int {
	if inUse = max(inUse, initialHeap); floor <= 2*inUse {
		return defaultPercent
	}
	return int((floor - inUse) * 100 / inUse)
}

// inUse returns what the last collection left: objects, stacks and global variables, in
// bytes.
func inUse() uint64 {
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"},
	}
	metrics.Read(samples)
	var sum uint64
	for _, s := range samples {
		if s.Value.Kind() == metrics.KindUint64 {
			sum += s.Value.Uint64()
		}
	}
	return sum
}
