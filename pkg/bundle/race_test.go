//go:build race

package bundle

// raceEnabled is whether the race detector takes memory too.
const raceEnabled = true
