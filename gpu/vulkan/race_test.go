//go:build race

package vulkan

// raceEnabled: the detector's own memory grows with what it watches.
const raceEnabled = true
