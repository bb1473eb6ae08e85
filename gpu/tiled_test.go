//go:build cgo && !noopencl && !novulkan

package gpu_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	_ "github.com/gonvolve/gonvolve/cpu"
	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/verify"
	"github.com/gonvolve/gonvolve/gpu"
)

// planCheck sees the plan of a problem.
type planCheck func(t *testing.T, p *problem.Problem, info driver.PlanInfo)

// judged runs problems in exact mode on the first device of each API and has the oracle judge them. prepare may change
// the device; check sees each plan.
func judged(t *testing.T, prepare func(driver.Device), texts []string, o driver.PlanOptions, check planCheck, opts ...engine.Option) {
	oracle, err := verify.Oracle(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer oracle.Close()
	for _, spec := range []string{"vulkan:0", "opencl:0"} {
		d, err := engine.Open(t.Context(), spec, opts...)
		if errors.Is(err, driver.ErrNoDevices) && os.Getenv("GONVOLVE_REQUIRE_DRIVERS") == "" {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		prepare(d.Driver())
		for _, text := range texts {
			p := problemtest.Parse(t, text)
			if err := judge(t, oracle, d, p, o, check); err != nil {
				t.Errorf("%s, %s by %s: %v", spec, text, o.Tile, err)
			}
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

func judge(t *testing.T, oracle, d *engine.Device, p problem.Problem, o driver.PlanOptions, check planCheck) (err error) {
	c, err := verify.NewCase(t.Context(), oracle, p, verify.Int, verify.DefaultBudget)
	if err != nil {
		return err
	}
	pl, err := d.Plan(t.Context(), p, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pl.Close()) }()
	check(t, &p, pl.Info())
	run, err := c.Prepare(t.Context(), pl)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, run.Close()) }()
	got, err := run.Result(t.Context())
	if err != nil {
		return err
	}
	r := report.New(&p, d)
	r.Planned(pl)
	if c.Judge(t.Context(), &r, pl.Info().Arithmetic, got); r.Status != report.Passed {
		return errors.New(r.Reason)
	}
	return nil
}

// tiledProblems have every mode of conv_tiled, tiles that overhang, phases with and without taps, and parts of more and of
// fewer slices.
var tiledProblems = []string{
	"mb1ic17ih13oc33oh13kh3ph1", "mb2ic16ih8oc20kh1", "mb2ic13ih6oc70kh1", "mb1ic3ih17oc16kh7sh2ph3",
	"mb1ic40ih3oc130oh3kh3ph1",
	"conv:BWD_D:mb2ic16ih9oc20kh3sh2ph1", "g2mb2ic6ih9oc22oh5kh3sh2ph1", "g3mb2ic12ih4oc9kh1", "mb1ic8iw33oc16ow31kw3pw0",
	"conv:bias:post=scale+add+relu:mb2ic33ih6oc35kh3ph1", "conv:bias:post=scale+add+relu:mb2ic33ih6oc35kh1",
	"g2mb2ic4id7ih5iw9oc6kd3kh2kw3sd2sh1sw2pd1ph0pw0dd1dh0dw0", "mb1ic4ih12oc8oh3kh3sh4ph-2",
	"conv:BWD_D:mb1ic3id6oc4kd3sd2pd1",
	"mb1ic4ih20iw9oc4oh12ow9kh5kw1dh1dw0ph0pw0", "deconv:bias:post=scale+relu+add:mb2ic3ih6oc5kh3ph1sh2",
	"deconv:bias:mb1ic16ih9oc16kh1sh3", "conv:BWD_D:mb1ic3ih16oc4kh3sh3dh1",
	"conv:BWD_W:g2mb2ic6ih9oc22oh5kh3sh2ph1", "conv:BWD_W:mb9ic5ih6oc7kh3ph2dh1", "deconv:BWD_W:mb2ic3ih6oc5kh3ph1sh2",
	"conv:f16:bias:post=add:mb2ic12ih6oc20kh3ph1", "conv:f16:mb1ic12ih6oc20kh1", "conv:BWD_W:f16:mb3ic5ih6oc7kh3",
	"conv:BWD_W:mb1ic3id5ih4iw6oc4kd3kh2kw1pd1ph0pw0", "conv:BWD_W:mb3ic17ih6oc9kh1",
}

// One kernel for any shape, whole and in parts, and kernels for one shape, compute right, as do tiles of all forms.
func TestTiled(t *testing.T) {
	same := func(tile string) planCheck {
		return func(t *testing.T, p *problem.Problem, info driver.PlanInfo) {
			if info.Algorithm != "igemm_local" || info.Tunables != tile {
				t.Errorf("%s is planned as %s %s", p.String(), info.Algorithm, info.Tunables)
			}
		}
	}
	try := func(tile string, texts ...string) {
		judged(t, func(driver.Device) {}, texts, driver.PlanOptions{Algorithm: "igemm_local", Tile: tile}, same(tile))
	}
	try("bm=32,bn=32,bk=8,tm=4,tn=4,parts=1,generic=1", tiledProblems...)
	try("bm=16,bn=16,bk=4,tm=4,tn=4,parts=2,generic=1", "mb1ic17ih13oc33oh13kh3ph1", "conv:BWD_D:mb2ic16ih9oc20kh3sh2ph1",
		"conv:bias:post=scale+add+relu:mb2ic33ih6oc35kh1", "mb2ic13ih6oc70kh1",
		"conv:f16:bias:post=add:mb2ic12ih6oc20kh3ph1", "conv:BWD_W:g2mb2ic6ih9oc22oh5kh3sh2ph1")
	try("bm=32,bn=32,bk=8,tm=4,tn=4,parts=3", "mb1ic17ih13oc33oh13kh3ph1", "mb1ic3ih17oc16kh7sh2ph3", "mb2ic19ih6oc70kh1")
	if testing.Short() {
		return
	}
	for _, tile := range []string{
		"bm=128,bn=128,bk=8,tm=8,tn=8,parts=1", "bm=64,bn=32,bk=16,tm=8,tn=4,parts=1", "bm=64,bn=64,bk=16,tm=8,tn=8,parts=2",
		"bm=128,bn=32,bk=16,tm=8,tn=4,parts=1", "bm=16,bn=64,bk=4,tm=4,tn=4,parts=1", "bm=32,bn=16,bk=8,tm=4,tn=8,parts=1",
	} {
		try(tile+",generic=1", "mb2ic19ih10oc40kh3ph1sh2", "mb3ic18ih6oc30kh1", "mb1ic3ih17oc16kh7sh2ph3")
	}
	try("bm=64,bn=64,bk=16,tm=8,tn=8,parts=1", "mb1ic32ih10oc70kh3ph1")
	try("bm=64,bn=32,bk=8,tm=8,tn=4,parts=2", "conv:BWD_W:mb2ic12ih10oc70kh3ph1")
}

// A GPU takes igemm_local by itself, with parts where there are few tiles, and not where groups are narrow or there is
// little work; other devices do not.
func TestTiledChoice(t *testing.T) {
	asGPU := func(d driver.Device) { gpu.AsGPU(d, 64) }
	texts := []string{"mb1ic64ih14oc64kh3ph1", "mb1ic256ih7oc64kh3ph1", "conv:BWD_D:mb1ic64ih14oc128kh3ph1",
		"conv:post=relu:then=max(kh2sh2):mb1ic64ih14oc64kh3ph1"}
	t.Setenv("GONVOLVE_CACHE", t.TempDir())
	plain := driver.PlanOptions{Exact: true}
	judged(t, asGPU, texts, plain, func(t *testing.T, p *problem.Problem, info driver.PlanInfo) {
		if p.Fused() {
			if !strings.Contains(info.Tile, "local memory") {
				t.Errorf("%s takes %+v", p.String(), info)
			}
			return
		}
		if info.Algorithm != "igemm_local" || strings.Contains(info.Tunables, "parts=1,") {
			t.Errorf("%s takes %+v", p.String(), info)
		}
	})
	judged(t, asGPU, []string{"g32mb1ic128ih28oc128kh3ph1", "mb1ic8ih14oc8kh3ph1"}, plain,
		func(t *testing.T, p *problem.Problem, info driver.PlanInfo) {
			if info.Algorithm == "igemm_local" {
				t.Errorf("%s takes %+v", p.String(), info)
			}
		})
	if !testing.Short() { // what a tuner would try there
		p := problemtest.Parse(t, "mb2ic24ih9oc40kh3ph1")
		var tiles []driver.Candidate
		judged(t, func(d driver.Device) {
			gpu.AsGPU(d, 64)
			tiles = d.(driver.Tuner).Candidates(p)
		}, nil, plain, nil)
		tiles = slices.DeleteFunc(tiles, func(c driver.Candidate) bool { return c.Algorithm != "igemm_local" || c.Tile == "" })
		if len(tiles) < 12 {
			t.Errorf("%d tiles to try", len(tiles))
		}
		for i := 0; i < len(tiles); i += 5 {
			o := driver.PlanOptions{Algorithm: tiles[i].Algorithm, Tile: tiles[i].Tile}
			judged(t, asGPU, []string{p.String()}, o, func(t *testing.T, _ *problem.Problem, info driver.PlanInfo) {
				if info.Tunables != tiles[i].Tile {
					t.Errorf("%s makes %s", tiles[i].Tile, info.Tunables)
				}
			})
		}
	}
	behind := driver.PlanOptions{Exact: true, Background: true}
	judged(t, asGPU, []string{"mb1ic72ih13oc48kh3ph1"}, behind, func(t *testing.T, p *problem.Problem, info driver.PlanInfo) {
		if info.Algorithm != "igemm_local" || info.Pending != "igemm_local" || !strings.HasSuffix(info.Tunables, "generic=1") {
			t.Errorf("%s begins with %+v", p.String(), info)
		}
	})
	judged(t, func(driver.Device) {}, texts[:1], plain, func(t *testing.T, p *problem.Problem, info driver.PlanInfo) {
		if info.Algorithm == "igemm_local" {
			t.Errorf("%s takes %+v", p.String(), info)
		}
	})
}

// Partial sums that a kernel could not bind are not planned: there are fewer parts, and a tile with more is refused.
func TestTiledBinding(t *testing.T) {
	asGPU := func(d driver.Device) { gpu.AsGPU(d, 64) }
	text := []string{"mb1ic512ih5oc32kh1"} // of whose 800 results 20 parts fit
	opts := engine.WithDriverOptions(driver.Options{MaxBinding: 64 << 10})
	for _, tile := range []string{"", "bm=32,bn=32,bk=8,tm=4,tn=4,parts=20"} {
		judged(t, asGPU, text, driver.PlanOptions{Algorithm: "igemm_local", Tile: tile}, func(t *testing.T, p *problem.Problem, info driver.PlanInfo) {
			if info.Algorithm != "igemm_local" || !gpu.InParts(info) || info.WorkspaceBytes > 20*4*800 {
				t.Errorf("%s takes %+v", p.String(), info)
			}
		}, opts)
	}
	for _, spec := range []string{"vulkan:0", "opencl:0"} {
		d, err := engine.Open(t.Context(), spec, engine.NoFallback(), opts)
		if err != nil {
			t.Fatal(err)
		}
		tile := "bm=32,bn=32,bk=8,tm=4,tn=4,parts=21"
		_, err = d.Plan(t.Context(), problemtest.Parse(t, text[0]), driver.PlanOptions{Algorithm: "igemm_local", Tile: tile})
		if !errors.Is(err, driver.ErrUnsupported) || !strings.Contains(err.Error(), "partial sums") {
			t.Errorf("%s: %v", spec, err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}
