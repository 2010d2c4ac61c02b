package gcfloor

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestPercent(t *testing.T) {
	for _, c := range []struct {
		floor, inUse uint64
		want         int
	}{
		{0, 1 << 20, 100}, {64 << 20, 0, 1500}, {64 << 20, 1 << 20, 1500}, {64 << 20, 16 << 20, 300},
		{64 << 20, 32 << 20, 100}, {64 << 20, 1 << 30, 100},
	} {
		if got := percent(c.floor, c.inUse); got != c.want {
			t.Errorf("floor %d with %d in use: %d %%, want %d %%", c.floor, c.inUse, got, c.want)
		}
	}
}

var sink [][]byte

// TestSet checks that fewer collections run up to the floor, and as many as before after
// it is restored.
func TestSet(t *testing.T) {
	t.Setenv("GOGC", "")
	collections := func() uint32 {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for range 64 {
			sink = [][]byte{make([]byte, 1<<20)}
		}
		runtime.ReadMemStats(&after)
		return after.NumGC - before.NumGC
	}
	t.Cleanup(func() { debug.SetGCPercent(defaultPercent) })
	plain := collections()
	restore := Set(512 << 20)
	if floored := collections(); plain < 4 || floored > plain/2 {
		t.Errorf("%d collections with a floor, %d without", floored, plain)
	}
	restore()
	if again := collections(); again < plain/2 {
		t.Errorf("%d collections after restoring, %d before", again, plain)
	}
	t.Setenv("GOGC", "50")
	Set(512 << 20)()
	if got := debug.SetGCPercent(defaultPercent); got != defaultPercent {
		t.Errorf("GOGC of the environment was replaced by %d", got)
	}
}
