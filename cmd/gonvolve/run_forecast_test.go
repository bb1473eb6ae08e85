package main

import (
	"strings"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/engine/tiling"
)

// A forecast by the first tiles is told once, when there are enough of them, of a run that takes a while.
func TestForetellByTiles(t *testing.T) {
	var told strings.Builder
	start := func(ago time.Duration) *tileProgress {
		told.Reset()
		now := time.Now()
		return &tileProgress{bar: &progress{}, notes: &told, began: now.Add(-ago - time.Hour), first: now.Add(-ago), firsts: 1}
	}
	p := start(8 * time.Minute)
	if p.foretell(3, 21); told.String() != "" {
		t.Errorf("by 3 tiles: %s", told.String())
	}
	// An hour for the first one, and two minutes for each of four others.
	p.foretell(5, 21)
	p.foretell(6, 21)
	if want := "gonvolve: note: 5 tiles took 1h8m0s: all take about 1h40m0s\n"; told.String() != want {
		t.Errorf("%q, not %q", told.String(), want)
	}
	p = start(time.Millisecond)
	if p.foretell(5, 21); told.String() != "" {
		t.Errorf("of a few ms: %s", told.String())
	}
	p = &tileProgress{bar: &progress{}, notes: &told, began: time.Now().Add(-time.Hour)}
	p.foretell(1, 21)
	if p.firsts != 1 || time.Since(p.first) > time.Minute || told.String() != "" {
		t.Errorf("the first tile: %+v, %s", p, told.String())
	}
}

func TestForecastInWords(t *testing.T) {
	for _, c := range []struct {
		tiling.Forecast
		want string
	}{
		{tiling.Forecast{Known: true, Total: 12345 * time.Millisecond}, "about 12.3s, at the pace of earlier runs"},
		{tiling.Forecast{Total: 90 * time.Second}, "1m30s or more, by its peaks"},
	} {
		if got := inWords(c.Forecast); got != c.want {
			t.Errorf("%q, not %q", got, c.want)
		}
	}
}
