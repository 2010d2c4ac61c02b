package report

import (
	"fmt"
	"time"
)

// FormatBytes writes a number of bytes in binary units, as "512 B", "51.2 MiB"
// or "1.4 GiB". Binary units, because that is what du -h, df -h and BuildKit's
// own garbage collection limits mean by their numbers.
func FormatBytes(n int64) string {
	if n < 0 {
		n = 0
	}
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	units := []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	v := float64(n) / 1024
	i := 0
	// 1023.95 would print as 1024.0, which belongs to the next unit.
	for v >= 1023.95 && i < len(units)-1 {
		v /= 1024
		i++
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}

// FormatDuration writes a duration to the precision that a reader can use:
// "0.4s", "12s", "1m05s", "2h03m".
func FormatDuration(d time.Duration) string {
	if d < 0 {
		d = 0
	}
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

// formatClock is FormatDuration for a running clock: whole seconds, so that the
// width of the column does not flicker.
func formatClock(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	s := int(d.Seconds())
	if s < 60 {
		return fmt.Sprintf("%ds", s)
	}
	return FormatDuration(time.Duration(s) * time.Second)
}

// formatAbout rounds an estimate to what it is worth.
func formatAbout(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return formatClock(d.Round(time.Second))
	case d < time.Minute:
		return formatClock(d.Round(5 * time.Second))
	case d < 10*time.Minute:
		return FormatDuration(d.Round(10 * time.Second))
	case d.Round(time.Minute) < time.Hour:
		return fmt.Sprintf("%dm", int(d.Round(time.Minute).Minutes()))
	}
	d = d.Round(5 * time.Minute)
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}
