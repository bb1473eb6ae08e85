package cpu_test

import (
	"testing"

	_ "github.com/gonvolve/gonvolve/cpu"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/enginetest"
)

func TestEngine(t *testing.T) { enginetest.Run(t, enginetest.Spec("cpu", driver.Options{})) }
