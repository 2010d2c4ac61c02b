// Package units formats sizes, durations, times and counts for people. It is the only
// place that decides on units and precision; it must not know what it counts.
package units

import (
	"fmt"
	"strings"
	"time"
)

// Bytes formats a number of bytes in binary units, such as "512 B", "51.2 MiB"
// or "1.4 GiB". Binary units, because du -h, df -h and BuildKit's own limits use
// them too. A negative number is formatted as 0.
func Bytes(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", max(n, 0))
	}
	names := []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	v := float64(n) / 1024
	i := 0
	// 1023.95 would be printed as 1024.0 instead of 1.0 of the next unit.
	for v >= 1023.95 && i < len(names)-1 {
		v /= 1024
		i++
	}
	return fmt.Sprintf("%.1f %s", v, names[i])
}

// Duration formats a duration with a useful precision: "0.4s", "12s", "1m05s", "2h03m".
// A negative duration is formatted as 0.
func Duration(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < 9950*time.Millisecond:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < 59500*time.Millisecond:
		return fmt.Sprintf("%ds", int(d.Round(time.Second).Seconds()))
	case d.Round(time.Second) < time.Hour:
		s := int(d.Round(time.Second).Seconds())
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	}
	m := int(d.Round(time.Minute).Minutes())
	return fmt.Sprintf("%dh%02dm", m/60, m%60)
}

// Clock formats the duration of something that is still running: always in whole
// seconds, so that the width of a column does not change between two updates.
func Clock(d time.Duration) string {
	s := int(max(d, 0).Seconds())
	if s < 60 {
		return fmt.Sprintf("%ds", s)
	}
	return Duration(time.Duration(s) * time.Second)
}

// Estimate formats an estimated duration, rounded according to its accuracy: "5s",
// "40s", "3m20s", "25m", "1h35m".
func Estimate(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return Clock(d.Round(time.Second))
	case d < time.Minute:
		return Clock(d.Round(5 * time.Second))
	case d < 10*time.Minute:
		return Duration(d.Round(10 * time.Second))
	case d.Round(time.Minute) < time.Hour:
		return fmt.Sprintf("%dm", int(d.Round(time.Minute).Minutes()))
	}
	d = d.Round(5 * time.Minute)
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// Time formats a point in time to the minute, in UTC: "2026-11-22 04:05 UTC".
func Time(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// LocalTime formats a point in time to the minute, in the zone of this machine.
func LocalTime(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }

// List joins names with commas. It lists at most limit of them and counts the others:
// "a, b and 3 more".
func List(names []string, limit int) string {
	if len(names) > limit {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:limit], ", "), len(names)-limit)
	}
	return strings.Join(names, ", ")
}

// Count formats a number with its noun, which gets an "s" unless the number is
// 1: "1 image", "2 images".
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
