package simd

// WithColumns returns the plan for another number of columns that takes the same packed A.
func (g *Gemm) WithColumns(n int) *Gemm {
	w := *g
	w.N = n
	if g.swapped {
		w.rowExt = n
		w.rows = cut(n, g.rows.widest())
	} else {
		w.laneExt = n
		w.tail = nil
		if rest := n % w.nr; rest != 0 {
			w.tail = offsets(w.blocks.widest(), w.padded(rest))
		}
	}
	panels := cut(w.laneExt, w.nr).parts
	w.rowJobs = split{w.rows.parts, cut(w.rows.parts, max(1, g.rowJobs.widest())).parts}
	w.laneJobs = split{panels, cut(panels, max(1, g.laneJobs.widest())).parts}
	return &w
}

// MaxPanel is the most columns that a Source is asked for at a time.
const MaxPanel = 64
