package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/tiling"
)

// busy adds up how long each stage took.
type busy struct {
	alone map[int]bool // tiles while no other is on its way; set before the first one starts

	mu     sync.Mutex
	stages []tiling.Stage // by their first end
	took   map[tiling.Stage]time.Duration
	single map[tiling.Stage]time.Duration // of those alone
}

func (b *busy) isAlone(tile int) bool { return b.alone[tile] }

func (b *busy) stage(s tiling.Stage, tile int, from, to time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.took == nil {
		b.took, b.single = map[tiling.Stage]time.Duration{}, map[tiling.Stage]time.Duration{}
	}
	if _, ok := b.took[s]; !ok {
		b.stages = append(b.stages, s)
	}
	b.took[s] += to.Sub(from)
	if b.alone[tile] {
		b.single[s] += to.Sub(from)
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

// sampledAlone is how many tiles a run with --rates computes alone.
const sampledAlone = 5

// choose picks the tiles that are computed alone: the last ones, so that all others are on their way without a break.
func (b *busy) choose(c *cutJob) error {
	if c.Shares() != nil {
		return fmt.Errorf("%w: --rates is about one device; %s share the tiles", engine.ErrInvalid, c.On())
	}
	n := c.Tiles.Len()
	if left := n - c.finished; left < 4*sampledAlone {
		return fmt.Errorf("%w: --rates needs %d tiles or more, here are %d; lower --mem-limit", engine.ErrInvalid, 4*sampledAlone, left)
	}
	b.alone = map[int]bool{}
	for k := range sampledAlone {
		b.alone[n-1-k] = true // what is finished are the first ones
	}
	return nil
}

// rates says what a tile takes in each stage by itself, and how near a run of so many tiles comes to the slowest of them. Reading
// and writing are also told together, as they may be of one disk.
func (b *busy) rates(run time.Duration, tiles int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := time.Duration(len(b.alone))
	var list []string
	var sum, slowest time.Duration
	name := ""
	for _, s := range tiling.Stages() {
		each, ok := b.single[s]
		if !ok {
			continue
		}
		list = append(list, fmt.Sprintf("%s %s", s, short(each/n)))
		if sum += each; each > slowest {
			slowest, name = each, string(s)
		}
	}
	tile := (run - sum) / time.Duration(tiles-len(b.alone))
	share := func(of time.Duration) string {
		return fmt.Sprintf("%.0f %%", 100*of.Seconds()/float64(n)/tile.Seconds())
	}
	text := fmt.Sprintf("by itself a tile takes %s; in the run one every %s: %s of the rate of the slowest stage, %s",
		strings.Join(list, ", "), short(tile), share(slowest), name)
	if disk := b.single[tiling.Reading] + b.single[tiling.Writing]; disk > slowest {
		text += fmt.Sprintf(", %s of that of reading and writing after each other, as one disk does", share(disk))
	}
	return text
}

// short is a time in three digits.
func short(d time.Duration) string { return fmt.Sprintf("%.3g ms", 1e3*d.Seconds()) }
