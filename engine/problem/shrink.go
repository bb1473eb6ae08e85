package problem

// Simpler returns the valid problems that are one step simpler: a dimension, an option or a size less. A search for the
// smallest problem that shows a fault takes any of them that shows it and goes on from there; it ends, since no step
// undoes another. The order is fixed, and steps that save most come first.
func (p *Problem) Simpler() []Problem {
	var all []Problem
	try := func(change func(*Problem)) {
		q := *p
		change(&q)
		if q != *p && q.Validate() == nil {
			all = append(all, q)
		}
	}
	for _, n := range less(p.N, 1) {
		try(func(q *Problem) { q.N = n })
	}
	for i := 3 - p.Rank; i < 3 && p.Rank > 1; i++ {
		try(func(q *Problem) {
			q.Rank--
			q.Axes = without(q.Axes, i)
			if q.Fused() {
				q.Then.Axes = without(q.Then.Axes, i)
			}
		})
	}
	p.simplerOptions(try)
	p.simplerChannels(try)
	for i := 3 - p.Rank; i < 3; i++ {
		p.simplerAxis(i, try)
	}
	return all
}

// less are the numbers to try instead of v: the least, the middle, the next.
func less(v, least int) []int {
	var to []int
	for _, n := range []int{least, (v + least) / 2, v - 1} {
		if least <= n && n < v && (len(to) == 0 || n > to[len(to)-1]) {
			to = append(to, n)
		}
	}
	return to
}

// nearer is less for numbers of either sign: towards 0.
func nearer(v int) []int {
	if v >= 0 {
		return less(v, 0)
	}
	to := less(-v, 0)
	for i := range to {
		to[i] = -to[i]
	}
	return to
}

// without is the axes less one of them.
func without(axes [3]Axis, i int) [3]Axis {
	copy(axes[1:i+1], axes[:i])
	axes[0] = identity
	return axes
}

func (p *Problem) simplerOptions(try func(func(*Problem))) {
	try(func(q *Problem) { q.Name = "" })
	try(func(q *Problem) { q.Then = Fusion{} })
	try(func(q *Problem) { q.Post = [MaxPost]PostOp{} })
	for i := range p.Posts() {
		try(func(q *Problem) {
			copy(q.Post[i:], q.Post[i+1:])
			q.Post[MaxPost-1] = PostOp{}
		})
	}
	try(func(q *Problem) { q.Bias = false })
	try(func(q *Problem) { q.Mask = false })
	try(func(q *Problem) { q.OffsetGroups = min(1, q.OffsetGroups) })
	try(func(q *Problem) { q.Type = Types{} })
	if p.Integer() {
		if try(func(q *Problem) { q.Type.Dst = S32 }); p.Type.Dst != S32 {
			try(func(q *Problem) { q.Type.Dst = F32 })
		}
		try(func(q *Problem) { q.Type.Src, q.Type.Wei = S8, S8 })
	}
	try(func(q *Problem) { q.SrcLayout, q.DstLayout = NCHW, NCHW })
	try(func(q *Problem) { q.SrcLayout = NCHW })
	try(func(q *Problem) { q.DstLayout = NCHW })
	try(func(q *Problem) { q.PadMode = Zeros })
	try(func(q *Problem) { q.Indices = min(Plane, q.Indices) })
	try(func(q *Problem) { q.Indices = NoIndices })
	for _, n := range less(p.Divisor, 0) {
		try(func(q *Problem) { q.Divisor = n })
	}
	for _, n := range less(p.P, 1) {
		try(func(q *Problem) { q.P = n })
	}
}

// simplerChannels takes groups away, and channels of each group.
func (p *Problem) simplerChannels(try func(func(*Problem))) {
	if !p.Weighted() {
		for _, n := range less(p.IC, 1) {
			try(func(q *Problem) { q.IC, q.OC = n, n })
		}
		return
	}
	ic, oc := p.IC/p.Groups, p.OC/p.Groups
	set := func(g, ic, oc int) {
		try(func(q *Problem) {
			q.Groups, q.IC, q.OC = g, g*ic, g*oc
			if q.OffsetGroups > 1 && q.IC%q.OffsetGroups != 0 {
				q.OffsetGroups = 1
			}
		})
	}
	for _, g := range less(p.Groups, 1) {
		set(g, ic, oc)
	}
	for _, n := range less(ic, 1) {
		set(p.Groups, n, oc)
	}
	for _, n := range less(oc, 1) {
		set(p.Groups, ic, n)
	}
}

// simplerAxis makes everything along one axis smaller.
func (p *Problem) simplerAxis(i int, try func(func(*Problem))) {
	change := func(set func(*Axis)) {
		try(func(q *Problem) { q.resize(i, set) })
	}
	a := p.Axes[i]
	for _, n := range less(a.In, 1) {
		change(func(a *Axis) { a.In = n })
	}
	if p.Adaptive {
		for _, n := range less(a.Out, 1) {
			change(func(a *Axis) { a.Out = n })
		}
		return
	}
	for _, n := range less(a.Kernel, 1) {
		change(func(a *Axis) { a.Kernel = n })
	}
	for _, n := range less(a.Stride, 1) {
		change(func(a *Axis) { a.Stride = n })
	}
	for _, n := range less(a.Dilation, 1) {
		change(func(a *Axis) { a.Dilation = n })
	}
	for _, n := range nearer(a.PadL) {
		change(func(a *Axis) { a.PadL = n })
	}
	for _, n := range nearer(a.PadR) {
		change(func(a *Axis) { a.PadR = n })
	}
	if p.Op == Deconv || p.Op == Unpool {
		for _, n := range nearer(a.Out - a.outDeconv()) {
			try(func(q *Problem) { q.Axes[i].Out = a.outDeconv() + n })
		}
	}
	if !p.Fused() {
		return
	}
	then := p.Then.Axes[i]
	for _, to := range []Axis{
		{Kernel: 1, Stride: then.Stride, Dilation: then.Dilation, PadL: then.PadL, PadR: then.PadR},
		{Kernel: then.Kernel, Stride: 1, Dilation: then.Dilation, PadL: then.PadL, PadR: then.PadR},
		{Kernel: then.Kernel, Stride: then.Stride, Dilation: 1, PadL: then.PadL, PadR: then.PadR},
		{Kernel: then.Kernel, Stride: then.Stride, Dilation: then.Dilation},
	} {
		to.In = then.In
		try(func(q *Problem) { q.Then.Axes[i] = to.sized(Pool, then) })
	}
}

// resize changes an axis by set and lets its output, and what a fused pooling makes of it, follow.
func (p *Problem) resize(i int, set func(*Axis)) {
	old := p.Axes[i]
	a := old
	if set(&a); p.Adaptive {
		a = adaptiveAxis(a.In, a.Out)
	} else {
		a = a.sized(p.Op, old)
	}
	p.Axes[i] = a
	if p.Fused() {
		old := p.Then.Axes[i]
		then := old
		then.In = a.Out
		p.Then.Axes[i] = then.sized(Pool, old)
	}
}

// sized is the axis with an output that is rounded, or larger than the least, as that of old was.
func (a Axis) sized(op Op, old Axis) Axis {
	switch {
	case op == Deconv:
		a.Out = a.outDeconv() + max(0, min(old.Out-old.outDeconv(), max(a.Stride, a.Dilation)-1))
	case op == Unpool:
		a.Out = max(1, a.outDeconv()+old.Out-old.outDeconv())
	case op == Pool && old.Out != old.OutFloor():
		a.Out = a.OutCeil()
	default:
		a.Out = a.OutFloor()
	}
	return a
}
