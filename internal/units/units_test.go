package units

import (
	"math"
	"testing"
	"time"
)

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{
		-1: "0 B", 0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB",
		1<<20 - 1: "1.0 MiB", 1 << 20: "1.0 MiB", 1503238553: "1.4 GiB", math.MaxInt64: "8.0 EiB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestDurations(t *testing.T) {
	for _, c := range []struct {
		d                         time.Duration
		duration, clock, estimate string
	}{
		{-time.Second, "0.0s", "0s", "0s"},
		{400 * time.Millisecond, "0.4s", "0s", "0s"},
		{9960 * time.Millisecond, "10s", "9s", "10s"},
		{43 * time.Second, "43s", "43s", "45s"},
		{59600 * time.Millisecond, "1m00s", "59s", "1m00s"},
		{65 * time.Second, "1m05s", "1m05s", "1m10s"},
		{25*time.Minute + 20*time.Second, "25m20s", "25m20s", "25m"},
		{2*time.Hour + 3*time.Minute, "2h03m", "2h03m", "2h05m"},
	} {
		if got := Duration(c.d); got != c.duration {
			t.Errorf("Duration(%v) = %q, want %q", c.d, got, c.duration)
		}
		if got := Clock(c.d); got != c.clock {
			t.Errorf("Clock(%v) = %q, want %q", c.d, got, c.clock)
		}
		if got := Estimate(c.d); got != c.estimate {
			t.Errorf("Estimate(%v) = %q, want %q", c.d, got, c.estimate)
		}
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0 images", 1: "1 image", 2: "2 images"} {
		if got := Count(n, "image"); got != want {
			t.Errorf("Count(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestList(t *testing.T) {
	names := []string{"a", "b", "c", "d"}
	for n, want := range map[int]string{0: "", 1: "a", 2: "a, b", 3: "a, b and 1 more", 4: "a, b and 2 more"} {
		if got := List(names[:n], 2); got != want {
			t.Errorf("List of %d names = %q, want %q", n, got, want)
		}
	}
}
