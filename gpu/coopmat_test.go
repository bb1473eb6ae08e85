//go:build cgo && !noopencl && !novulkan

package gpu_test

import (
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/verify"
	"github.com/gonvolve/gonvolve/gpu"
)

// matrixProblems have both memory orders on each side, tiles that overhang, groups, strides, holes, depth, phases with and
// without taps, post-operations, and reductions in parts.
var matrixProblems = []string{
	"conv:f16:mb1ic17ih13oc33oh13kh3ph1", "conv:f16:bias:post=scale+add+relu:mb2ic33ih6oc35kh3ph1",
	"conv:f16:nhwc:mb2ic5ih7oc3kh3ph1", "conv:f16:nhwc:bias:post=scale+add+relu:mb2ic33ih6oc35kh3ph1",
	"conv:f16:src=nhwc:mb1ic40ih5oc20kh1", "conv:f16:dst=nhwc:post=add:mb1ic20iw19oc70kw3pw1",
	"conv:f16:g2mb2ic36ih9oc22oh5kh3sh2ph1", "conv:f16:mb1ic400ih3oc40oh3kh3ph1", "conv:f16:nhwc:bias:mb1ic400ih3oc40oh3kh3ph1",
	"conv:f16:g2mb2ic4id7ih5iw9oc6kd3kh2kw3sd2sh1sw2pd1ph0pw0dd1dh0dw0", "conv:f16:mb1ic4ih12oc8oh3kh3sh4ph-2",
	"conv:BWD_D:f16:mb2ic16ih9oc20kh3sh2ph1", "conv:BWD_D:f16:nhwc:mb1ic3ih16oc4kh3sh3dh1",
	"deconv:f16:bias:post=scale+relu+add:mb2ic3ih6oc5kh3ph1sh2", "deconv:f16:nhwc:bias:mb1ic16ih9oc16kh1sh3",
}

// The body with cooperative matrices computes right, its matrices being emulated.
func TestMatrices(t *testing.T) {
	oracle, err := verify.Oracle(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer oracle.Close()
	d, err := engine.Open(t.Context(), "vulkan:0")
	if errors.Is(err, driver.ErrNoDevices) && os.Getenv("GONVOLVE_REQUIRE_DRIVERS") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	const emulated = "igemm_coopmat_emulated"
	f16, err := problem.Parse(matrixProblems[0])
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(d.Algorithms(f16), emulated) {
		t.Error("the emulation is an algorithm of every device")
	}
	gpu.EmulateMatrices(d.Driver())
	if wrong, err := gpu.MatrixProduct(t.Context(), d.Driver(), emulated); wrong != "" || err != nil {
		t.Errorf("the self-test says %q, %v", wrong, err)
	}
	inParts := 0
	for _, text := range matrixProblems {
		p, err := problem.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		check := func(t *testing.T, p *problem.Problem, info driver.PlanInfo) {
			if info.Algorithm != emulated {
				t.Errorf("%s is planned as %s", p.String(), info.Algorithm)
			}
			if gpu.InParts(info) {
				inParts++
			}
		}
		if err := judge(t, oracle, d, p, driver.PlanOptions{Algorithm: emulated}, check); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	if inParts == 0 {
		t.Error("no reduction was cut into parts")
	}
}
