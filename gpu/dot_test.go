//go:build cgo && !noopencl && !novulkan

package gpu_test

import (
	"slices"
	"testing"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
	"github.com/gonvolve/gonvolve/gpu"
)

// dotProblems have all types of both sides and of results, zero points, both memory orders, channels that leave words and tiles
// unfilled, groups, strides, holes, depth, cropping, post-operations, and reductions long enough for parts.
var dotProblems = []string{
	"conv:u8-s8-s32:mb2ic5ih7oc3kh3ph1", "conv:s8-u8-s8:bias:mb2ic20ih9oc20kh5ph2", "conv:u8-u8-u8:nhwc:g2mb1ic6ih7oc4kh3ph1sh2",
	"conv:s8-s8-f32:bias:post=prelu+add:g5mb1ic5ih7oc5kh3ph1", "conv:s8-u8-f32:bias:post=scale+relu:mb1ic5id5oc3kd3pd1",
	"conv:u8-u8-s32:mb1ic16ih12oc8kh3sh4ph-2", "conv:u8-s8-s8:bias:mb1ic70ih4oc40kh3ph1", "conv:s8-s8-s32:mb3ic9iw17oc33kw3pw1dw1",
	"conv:u8-s8-u8:src=nhwc:mb1ic64ih8oc70kh1",
}

// The kernel computes right by the device's dot products, where there are some, and by shifts, whole and in parts.
func TestDot(t *testing.T) {
	asItIs := func(driver.Device) {}
	long := []string{dotProblems[1], dotProblems[6], dotProblems[8]} // two slices and more
	for name, c := range map[string]struct {
		prepare func(driver.Device)
		tile    string
		texts   []string // few, as each type of result is compiled for seconds
	}{
		"as it is":          {asItIs, "", dotProblems},
		"shifts":            {gpu.WithoutDot, "bm=16,bn=32,bk=8,tm=4,tn=4,parts=1", dotProblems[1:4]},
		"parts":             {asItIs, "bm=32,bn=32,bk=8,tm=4,tn=4,parts=2", long},
		"items of 8 pixels": {asItIs, "bm=32,bn=64,bk=8,tm=4,tn=8,parts=1", long},
	} {
		t.Run(name, func(t *testing.T) {
			ran := func(t *testing.T, p *problem.Problem, info driver.PlanInfo) {
				if info.Algorithm != "igemm_dot" || c.tile != "" && info.Tunables != c.tile || name == "parts" && !gpu.InParts(info) {
					t.Errorf("%s is planned as %s, %s: %s", p.String(), info.Algorithm, info.Tunables, info.Why)
				}
			}
			judged(t, c.prepare, c.texts, driver.PlanOptions{Algorithm: "igemm_dot", Tile: c.tile}, ran)
		})
	}
}

// A GPU takes it by itself where its dot products are accelerated, whole words can be filled and the work is worth it. The
// tuner is given its tiles.
func TestDotChoice(t *testing.T) {
	_, d := oracleAnd(t, "vulkan:0")
	const layer = "conv:u8-s8-s32:mb1ic64ih28oc64kh3ph1"
	chosen := func(text string) string {
		t.Helper()
		pl, err := d.Plan(t.Context(), problemtest.Parse(t, text), driver.PlanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer pl.Close()
		return pl.Info().Algorithm
	}
	if got := chosen(layer); got == "igemm_dot" {
		t.Errorf("a cpu takes %s", got)
	}
	gpu.AsGPU(d.Driver(), 64)
	if got := chosen(layer); got == "igemm_dot" {
		t.Errorf("a GPU without the instruction takes %s", got)
	}
	gpu.AccelerateDot(d.Driver())
	for text, want := range map[string]bool{
		layer: true, "conv:u8-s8-s32:g64mb1ic64ih28oc64kh3ph1": false, "conv:u8-s8-s32:mb1ic8ih8oc8kh1": false,
	} {
		if got := chosen(text); (got == "igemm_dot") != want {
			t.Errorf("%s is planned as %s", text, got)
		}
	}
	tiles := slices.DeleteFunc(d.Driver().(driver.Tuner).Candidates(problemtest.Parse(t, layer)), func(c driver.Candidate) bool {
		return c.Algorithm != "igemm_dot"
	})
	if len(tiles) < 8 {
		t.Errorf("candidates %v", tiles)
	}
}
