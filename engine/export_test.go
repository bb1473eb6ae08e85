package engine

import (
	"testing"

	"github.com/gonvolve/gonvolve/engine/driver"
)

// WithDrivers makes these the only registered drivers until the test ends.
func WithDrivers(t *testing.T, drivers map[string]driver.Driver) {
	registry.Lock()
	defer registry.Unlock()
	before := registry.drivers
	registry.drivers = drivers
	t.Cleanup(func() {
		registry.Lock()
		defer registry.Unlock()
		registry.drivers = before
	})
}
