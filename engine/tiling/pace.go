package tiling

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/cache"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/tuned"
)

// What peaks promise kernels need not reach. How fast a device computed tiles is kept in the cache folder, for the forecasts of
// later jobs of the same kind.

// pace is the rate at which a device computed tiles: work (see work) in a second.
type pace struct {
	work float64
	took time.Duration
}

// kept is a pace in the cache.
type kept struct {
	Rate float64 `json:"rate"`
}

// enoughTime is how long tiles have to be computed for, in which no kernel is compiled, for their pace to be kept.
const enoughTime = 50 * time.Millisecond

// work is what kernels do for a problem: operations, if they are products, or else the bytes that they read and write.
func work(p *problem.Problem) float64 {
	if weighted(p) {
		return p.FLOPs()
	}
	return transfers(p)
}

// transfers is the bytes of a problem's inputs and outputs.
func transfers(p *problem.Problem) (bytes float64) {
	for _, list := range [2][]problem.Role{p.Inputs(), p.Outputs()} {
		for _, role := range list {
			bytes += float64(p.BytesOf(role))
		}
	}
	return bytes
}

// kind is what problems have in common that a device computes at about the same pace, as long as they are large: all but sizes
// and padding.
func kind(p problem.Problem) string {
	p.Name, p.N = "", 0
	for _, axes := range [2][]problem.Axis{p.Axes[:], p.Then.Axes[:]} {
		for i := range axes {
			axes[i].In, axes[i].Out, axes[i].PadL, axes[i].PadR = 0, 0, 0, 0
		}
	}
	return fmt.Sprintf("%+v", p)
}

// paceKey is where the pace of a job's tiles on a device is kept: one of a team has less of what they have in common.
func (j *Job) paceKey(dev *engine.Device, team string) string {
	return fmt.Sprintf("pace of tiles %s %q %q %v %s", tuned.DeviceKey(dev.Info()), team, j.o.Algorithm, j.o.Exact, kind(j.Tiles.Tile(0).Problem))
}

// Pace is the rate at which a device of the job, or another one, was measured to compute such tiles: thousand millions of
// operations in a second, if they are products, or else of bytes. 0: it is not known.
func (j *Job) Pace(dev *engine.Device) float64 {
	teams := []string{""}
	if j.team != nil && slices.Contains(j.Members(), dev) {
		teams = []string{j.On(), ""}
	}
	for _, team := range teams {
		var k kept
		if json.Unmarshal(cache.Open().Get(j.paceKey(dev, team)), &k) == nil && k.Rate > 0 {
			return k.Rate
		}
	}
	return 0
}

// Members are the devices that share the job, or the one where it runs.
func (j *Job) Members() (list []*engine.Device) {
	if j.team == nil {
		return []*engine.Device{j.dev}
	}
	for _, m := range j.team.mates {
		list = append(list, m.dev)
	}
	return list
}

// keepPace keeps the pace of a run, if it says anything about devices as others open them.
func (r *runner) keepPace() {
	if r.pace.took < enoughTime || !r.dev.Ordinary() {
		return
	}
	team := ""
	if r.whole != nil {
		team = r.whole.On()
	}
	if text, err := json.Marshal(kept{r.pace.work / float64(r.pace.took)}); err == nil {
		_ = cache.Open().Put(r.paceKey(r.dev, team), text) // a cache that cannot be written costs a forecast, nothing else
	}
}
