package verify

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/tiling"
)

// MostTiles is how many tiles RandomCut cuts a problem into at most: on GPUs each kind of them takes a compilation.
const MostTiles = 24

// RandomCut is cut i of a problem, at random along everything that it can be cut along: tiling.Tiles.Steps.
func RandomCut(p problem.Problem, seed, i uint64) ([]int, error) {
	tiles, err := tiling.CutRandom(rand.New(rand.NewPCG(^seed, i)), p, MostTiles)
	if err != nil {
		return nil, err
	}
	return tiles.Steps(), nil
}

// CheckCut is Check of the problem in tiles, cut by the steps: the result has to be that of the whole. By the device's choice
// of algorithm (empty) that is in exact mode the reference's, bit for bit.
func (c *Case) CheckCut(ctx context.Context, dev *engine.Device, algorithm string, steps []int) report.Record {
	r := report.New(&c.Problem, dev)
	repro := Repro(&c.Problem, dev.Name(), algorithm, c.Fill, Flags(dev)...) + " --cut " + strings.ReplaceAll(strings.Trim(fmt.Sprint(steps), "[]"), " ", ",")
	concluded(ctx, &r, c.checkCut(ctx, dev, algorithm, steps, &r))
	r.Repro = repro
	return r
}

func (c *Case) checkCut(ctx context.Context, dev *engine.Device, algorithm string, steps []int, r *report.Record) error {
	tiles, err := tiling.CutNear(c.Problem, steps)
	if err != nil {
		return err
	}
	p, err := c.inTiles(ctx, dev, tiling.Options{Algorithm: algorithm, Exact: algorithm == "", Steps: tiles.Steps()})
	if err != nil {
		return err
	}
	return p.once(ctx, r, func(got engine.Operands) error { return p.Judge(ctx, r, got) })
}

// simplerCut looks for steps with less of a cut by which the case still fails, one dimension after the other.
func (c *Case) simplerCut(ctx context.Context, dev *engine.Device, algorithm string, steps []int, failed report.Record) report.Record {
	for d := range steps {
		was := steps[d]
		steps[d] = math.MaxInt
		if r := c.CheckCut(ctx, dev, algorithm, near(&c.Problem, steps)); r.Status == report.Failed {
			failed = r
			continue
		}
		steps[d] = was
	}
	return failed
}

// near are steps that a problem can be cut by.
func near(p *problem.Problem, steps []int) []int {
	tiles, err := tiling.CutNear(*p, steps)
	if err != nil {
		return steps // the problem is none, which its check says
	}
	return tiles.Steps()
}
