package machine_test

import (
	"testing"

	"github.com/gonvolve/gonvolve/engine/machine"
)

func TestMachine(t *testing.T) {
	memory, most := machine.Memory(), machine.LargestAllocation()
	if memory < 1<<20 || memory > 1<<47 || most < 1<<20 || most > 1<<47 {
		t.Errorf("a machine of %d bytes that gives %d at most", memory, most)
	}
	if machine.Processor() == "" {
		t.Error("a processor without a name")
	}
}
