package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/machine"
	"github.com/gonvolve/gonvolve/engine/tiling"
)

// busy adds up how long each stage took.
type busy struct {
	alone  map[int]bool // tiles while no other is on its way; set before the first one starts
	inStep map[int]bool // tiles of which one is read while the one before it is written; likewise
	disk   bool         // one disk reads and writes; likewise

	mu     sync.Mutex
	stages []tiling.Stage // by their first end
	took   map[tiling.Stage]time.Duration
	single map[tiling.Stage][]time.Duration // of those alone
	steps  map[int]span                     // by the tile that is read
	chain  span                             // of all in step
}

// span is the time from the first beginning to the last end.
type span struct{ from, to time.Time }

func (s span) with(from, to time.Time) span {
	if s.from.IsZero() || from.Before(s.from) {
		s.from = from
	}
	if to.After(s.to) {
		s.to = to
	}
	return s
}

func (s span) took() time.Duration { return s.to.Sub(s.from) }

func (b *busy) isAlone(tile int) bool { return b.alone[tile] }

func (b *busy) isInStep(tile int) bool { return b.inStep[tile] }

func (b *busy) stage(s tiling.Stage, tile int, from, to time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.took == nil {
		b.took, b.single = map[tiling.Stage]time.Duration{}, map[tiling.Stage][]time.Duration{}
		b.steps = map[int]span{}
	}
	if _, ok := b.took[s]; !ok {
		b.stages = append(b.stages, s)
	}
	b.took[s] += to.Sub(from)
	if b.alone[tile] {
		b.single[s] = append(b.single[s], to.Sub(from))
	}
	if !b.inStep[tile] {
		return
	}
	b.chain = b.chain.with(from, to)
	switch s {
	case tiling.Reading:
		if b.inStep[tile-1] {
			b.steps[tile] = b.steps[tile].with(from, to)
		}
	case tiling.Writing:
		if b.inStep[tile+1] {
			b.steps[tile+1] = b.steps[tile+1].with(from, to)
		}
	}
}

// shares says which part of a run's time each stage took: the slowest one's is near 100 % if all others hide behind it.
func (b *busy) shares(of time.Duration) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []string
	for _, s := range b.stages {
		list = append(list, fmt.Sprintf("%s took %.0f %%", s, 100*b.took[s].Seconds()/of.Seconds()))
	}
	return strings.Join(list, ", ")
}

// sampled is how many tiles a run with --rates computes alone, and how many in step.
const sampled = 5

// choose picks the tiles that are computed alone and in step: the last ones, so that all others are on their way without a break.
func (b *busy) choose(c *cutJob) error {
	if c.Shares() != nil {
		return fmt.Errorf("%w: --rates is about one device; %s share the tiles", engine.ErrInvalid, c.On())
	}
	n := c.Tiles.Len()
	if left := n - c.finished; left < 4*sampled {
		return fmt.Errorf("%w: --rates needs %d tiles or more, here are %d; lower --mem-limit", engine.ErrInvalid, 4*sampled, left)
	}
	b.alone, b.inStep = map[int]bool{}, map[int]bool{}
	for k := range sampled {
		b.alone[n-1-k] = true // what is finished are the first ones
		b.inStep[n-1-sampled-k] = true
	}
	return nil
}

// rates says what a tile takes in each stage by itself, and how near a run of so many tiles comes to the slowest of them. Reading
// and writing are also told together, one after the other and both at once: of one disk they are one stage. The last line is the
// answer, by the slowest stage there is.
func (b *busy) rates(run time.Duration, tiles int) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []string
	var alone time.Duration
	var slowest, other pace // of all stages, and of those that are no disk's
	for _, s := range tiling.Stages() {
		times, ok := b.single[s]
		if !ok {
			continue
		}
		for _, t := range times {
			alone += t
		}
		p := pace{string(s), median(times)}
		list = append(list, fmt.Sprintf("%s %s", s, short(p.tile)))
		slowest = slowest.or(p)
		if s != tiling.Reading && s != tiling.Writing {
			other = other.or(p)
		}
	}
	tile := (run - alone - b.chain.took()) / time.Duration(tiles-len(b.alone)-len(b.inStep))
	share := func(of time.Duration) string { return fmt.Sprintf("%.0f %%", 100*of.Seconds()/tile.Seconds()) }
	var both []time.Duration
	for _, s := range b.steps {
		both = append(both, s.took())
	}
	inTurn, atOnce := median(b.single[tiling.Reading])+median(b.single[tiling.Writing]), median(both)
	answer := slowest
	if b.disk {
		answer = other.or(pace{"disk (one reads and writes)", inTurn})
	}
	return []string{
		fmt.Sprintf("by itself a tile takes %s; in the run one every %s: %s of the rate of the slowest of these, %s",
			strings.Join(list, ", "), short(tile), share(slowest.tile), slowest.stage),
		fmt.Sprintf("reading and writing a tile, one after the other, takes %s: %s of the rate of a disk that does so",
			short(inTurn), share(inTurn)),
		fmt.Sprintf("reading one tile while another is written, and nothing else, takes %s: %s of the rate of a disk that does so",
			short(atOnce), share(atOnce)),
		fmt.Sprintf("so the run has %s of the rate of its slowest stage: %s", share(answer.tile), answer.stage),
	}
}

// pace is what a stage takes for a tile.
type pace struct {
	stage string
	tile  time.Duration
}

// or is the slower of two.
func (p pace) or(q pace) pace {
	if q.tile > p.tile {
		return q
	}
	return p
}

// oneDisk says whether what is read for each tile and what is written are files in one file system.
func (j *runJob) oneDisk() bool {
	var paths []string
	for _, r := range j.problem.Inputs() {
		if o := j.in[r]; o == nil || o.tensor != nil {
			return false
		} else {
			paths = append(paths, o.file.path)
		}
	}
	for _, o := range j.out {
		if o.path != "" {
			paths = append(paths, filepath.Dir(o.path))
		}
	}
	first, _ := machine.Disk(paths[0])
	return !slices.ContainsFunc(paths, func(path string) bool {
		n, known := machine.Disk(path)
		return !known || n != first
	})
}

// median is the middle one of some times: a tile at the edge of the others' shape may be smaller, or be compiled for.
func median(times []time.Duration) time.Duration {
	times = slices.Sorted(slices.Values(times))
	return times[len(times)/2]
}

// short is a time in three digits.
func short(d time.Duration) string { return fmt.Sprintf("%.3g ms", 1e3*d.Seconds()) }
