//go:build cgo && !noopencl && !novulkan

package gpu_test

import (
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
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

const emulated = "igemm_coopmat_emulated"

// oracleAnd opens the oracle and a device.
func oracleAnd(t *testing.T, spec string) (oracle, d *engine.Device) {
	oracle, err := verify.Oracle(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { oracle.Close() })
	d, err = engine.Open(t.Context(), spec)
	if errors.Is(err, driver.ErrNoDevices) && os.Getenv("GONVOLVE_REQUIRE_DRIVERS") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return oracle, d
}

// The body with cooperative matrices computes right, its matrices being emulated.
func TestMatrices(t *testing.T) {
	oracle, d := oracleAnd(t, "vulkan:0")
	f16, err := problem.Parse(matrixProblems[0])
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(d.Algorithms(f16), emulated) {
		t.Error("the emulation is an algorithm of every device")
	}
	gpu.EmulateMatrices(d.Driver(), 8)
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

// Each tile that a tuner would time computes right, whatever the subgroup; those that the device cannot hold are not listed, and
// refused with the limit.
func TestMatrixTiles(t *testing.T) {
	oracle, d := oracleAnd(t, "vulkan:0")
	texts := []string{"conv:f16:bias:post=relu:mb2ic33ih9oc70kh3ph1", "conv:f16:nhwc:mb1ic70ih11oc40kh3ph1"}
	seen := map[string]bool{}
	for i, lanes := range []int{8, 32} {
		gpu.EmulateMatrices(d.Driver(), lanes)
		p, err := problem.Parse(texts[i])
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range d.Driver().(driver.Tuner).Candidates(p) {
			if c.Algorithm != emulated || c.Tile == "" {
				continue
			}
			seen[c.Tile] = true
			if len(seen)%3 != i && testing.Short() {
				continue // each is compiled for seconds
			}
			made := func(t *testing.T, p *problem.Problem, info driver.PlanInfo) {
				if info.Algorithm != emulated || info.Tunables != c.Tile {
					t.Errorf("%s: %s is planned as %s, %s", p.String(), c.Tile, info.Algorithm, info.Tunables)
				}
			}
			if err := judge(t, oracle, d, p, c.Options(), made); err != nil {
				t.Errorf("%d lanes, %s: %v", lanes, c.Tile, err)
			}
		}
	}
	if len(seen) < 16 {
		t.Errorf("only the tiles %v", slices.Sorted(maps.Keys(seen)))
	}
	p, err := problem.Parse(texts[0])
	if err != nil {
		t.Fatal(err)
	}
	for tile, why := range map[string]string{
		"bm=256,bn=256,bk=32,wm=64,wn=64": "local memory",
		"bm=256,bn=256,bk=16,wm=16,wn=16": "work-items",
		"wm=8":                            "matrices", "bm=48,wm=32": "multiple", "wm=1024,bm=1024,wn=32": "compile", "wm=32,wn=64,bk=32,bn=64": "evenly",
		"parts=17,bk=32": "parts of", "bq=2": "none of its tunables", "bm=": "none of its tunables",
	} {
		pl, err := d.Plan(t.Context(), p, driver.PlanOptions{Algorithm: emulated, Tile: tile})
		if err == nil {
			err = pl.Close()
			t.Errorf("%s is a tile: %+v, %v", tile, pl.Info(), err)
		} else if !errors.Is(err, driver.ErrUnsupported) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %q", tile, err, why)
		}
	}
}
