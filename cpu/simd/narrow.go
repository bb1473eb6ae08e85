package simd

// WithColumns returns the plan for another number of columns that takes the same packed A.
func (g *Gemm) WithColumns(n int) *Gemm {
	w := *g
	w.N = n
	line := n
	if g.inPlace && g.lineHint > 0 {
		line = min(n, g.lineHint)
	}
	if g.swapped {
		w.rowExt = n
		w.rows = lines(n, line, g.rows.split.widest())
		w.setStarts()
	} else {
		w.laneExt, w.line = n, line
		w.setTail()
	}
	panels := w.lanePanels()
	w.rowJobs = split{w.rows.parts(), cut(w.rows.parts(), max(1, g.rowJobs.widest())).parts}
	w.laneJobs = split{panels, cut(panels, max(1, g.laneJobs.widest())).parts}
	return &w
}

// MaxPanel is the most columns that a Source is asked for at a time.
const MaxPanel = 64
