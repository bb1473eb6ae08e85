package tiling

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// Trace writes what the stages of a run do and when in Chrome's trace event format, which chrome://tracing and
// ui.perfetto.dev show: one lane for each stage, in the order of Stages, and
// then any others. Events are written as they come, in constant memory.
type Trace struct {
	mu    sync.Mutex
	w     *bufio.Writer
	start time.Time
	lanes []Stage
	some  bool // there are events
	err   error
}

// traceEvent is one event: ph "X" is something that took time, "M" describes a lane.
type traceEvent struct {
	Name string         `json:"name"`
	Ph   string         `json:"ph"`
	TS   float64        `json:"ts"` // microseconds
	Dur  float64        `json:"dur,omitempty"`
	PID  int            `json:"pid"`
	TID  int            `json:"tid"`
	Args map[string]any `json:"args,omitempty"`
}

// NewTrace begins a trace. Its Stage method goes to Options; Close ends it.
func NewTrace(w io.Writer) *Trace {
	t := &Trace{w: bufio.NewWriter(w), start: time.Now()}
	_, t.err = t.w.WriteString("[")
	for _, s := range Stages() {
		t.lane(s)
	}
	return t
}

// lane is the number of a stage's lane.
func (t *Trace) lane(s Stage) int {
	i := slices.Index(t.lanes, s)
	if i < 0 {
		i = len(t.lanes)
		t.lanes = append(t.lanes, s)
		t.event(traceEvent{Name: "thread_name", Ph: "M", PID: 1, TID: i + 1, Args: map[string]any{"name": string(s)}})
		t.event(traceEvent{Name: "thread_sort_index", Ph: "M", PID: 1, TID: i + 1, Args: map[string]any{"sort_index": i}})
	}
	return i + 1
}

func (t *Trace) event(e traceEvent) {
	text, err := json.Marshal(e)
	if t.err == nil {
		t.err = err
	}
	if t.err != nil {
		return
	}
	if t.some {
		t.w.WriteString(",\n") // whose error is that of the next Write
	}
	t.some = true
	_, t.err = t.w.Write(text)
}

// Stage notes one stage of one tile.
func (t *Trace) Stage(s Stage, tile int, from, to time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.event(traceEvent{
		Name: fmt.Sprintf("tile %d", tile), Ph: "X", PID: 1, TID: t.lane(s),
		TS: float64(from.Sub(t.start)) / 1e3, Dur: float64(to.Sub(from)) / 1e3, Args: map[string]any{"stage": string(s), "tile": tile},
	})
}

// Close ends the trace, and reports what went wrong with writing it. It does not close what the trace is written to.
func (t *Trace) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		_, t.err = t.w.WriteString("]\n")
	}
	if t.err == nil {
		t.err = t.w.Flush()
	}
	return t.err
}
