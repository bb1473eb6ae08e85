package problem

import (
	"math"
	"math/rand/v2"
)

// Random is a valid problem over everything that problems can be: every operation, direction, rank, type, layout,
// padding mode, pooling and post-op. size bounds the work: spatial sizes and channels stay below about size, so that the
// oracle takes milliseconds at 12.
func Random(r *rand.Rand, size int) Problem {
	for {
		p := Problem{Op: Op(r.IntN(int(Col2im) + 1)), N: 1 + r.IntN(3), Groups: 1, Rank: 1 + r.IntN(3)}
		if r.IntN(3) > 0 { // most are what people run most
			p.Op = Op(r.IntN(int(Pool) + 1))
		}
		if r.IntN(40) == 0 {
			p.N = 0
		}
		p.randomChannels(r, size)
		p.randomKind(r)
		p.randomAxes(r, size)
		p.randomStorage(r)
		if p.Weighted() && p.Dir == Forward {
			p.randomPost(r)
		}
		if p.Validate() == nil {
			return p
		}
	}
}

// RandomLarge is a problem like Random's, grown along some of its dimensions until it takes some 2 to 20 million
// operations, without weights a tenth of that: enough for kernels that work in tiles, for borders between tiles and for
// long sums.
func RandomLarge(r *rand.Rand) Problem {
	for {
		p := Random(r, 8)
		want := 2e6 * math.Pow(10, r.Float64())
		if !p.Weighted() {
			want /= 10
		}
		dims := 1 + r.IntN(1<<(3+p.Rank)-1) // which may grow: batch, channels, axes
		for tries := 0; tries < 100 && p.N > 0; tries++ {
			q := p
			q.grow(r, dims)
			if q.Validate() != nil || q.FLOPs() > 2*want || q.Bytes() > 8<<20 {
				continue
			}
			if p = q; p.FLOPs() >= want {
				return p
			}
		}
	}
}

// grow makes one of the dimensions whose bit is set about half as large again.
func (p *Problem) grow(r *rand.Rand, dims int) {
	d := r.IntN(3 + p.Rank)
	if dims>>d&1 == 0 {
		return
	}
	more := func(n int) int { return n + n/2 + r.IntN(3) }
	ic, oc := p.IC/p.Groups, p.OC/p.Groups
	switch d {
	case 0:
		p.N = more(p.N)
	case 1:
		p.IC = p.Groups * more(ic)
	case 2:
		p.OC = p.Groups * more(oc)
	default:
		p.resize(5-d, func(a *Axis) { a.In = more(a.In) })
	}
	if !p.Weighted() {
		p.IC = max(p.IC, p.OC)
		p.OC = p.IC
	}
	if p.OffsetGroups > 1 && p.IC%p.OffsetGroups != 0 {
		p.OffsetGroups = 1
	}
}

func (p *Problem) randomChannels(r *rand.Rand, size int) {
	p.IC = 1 + r.IntN(max(1, size/2))
	p.OC = p.IC
	if !p.Weighted() {
		return
	}
	if p.Groups = 1 + r.IntN(3); r.IntN(2) == 0 {
		p.Groups = 1
	}
	p.IC, p.OC = p.Groups*p.IC, p.Groups*(1+r.IntN(max(1, size/2)))
	if r.IntN(6) == 0 { // depthwise with a multiplier
		p.Groups = p.IC
		p.OC = p.IC * (1 + r.IntN(3))
	}
}

func (p *Problem) randomKind(r *rand.Rand) {
	if r.IntN(2) == 0 { // or forward, which has most options
		p.Dir = Dir(r.IntN(int(BackwardBias) + 1))
	}
	switch p.Op {
	case Conv:
		if r.IntN(3) == 0 {
			p.PadMode = PadMode(r.IntN(int(Circular) + 1))
		}
	case Pool:
		p.Kind = PoolKind(r.IntN(int(Lp) + 1))
		p.Adaptive = r.IntN(4) == 0
		switch {
		case p.Kind == Lp:
			p.P = 1 + r.IntN(4)
		case p.Kind == Max && r.IntN(2) == 0:
			p.Indices = IndexOrder(r.IntN(int(Column) + 1))
		case p.Kind != Max && r.IntN(4) == 0:
			p.Divisor = 1 + r.IntN(20)
		}
		p.Dir = Dir(r.IntN(2))
	case Unpool:
		p.Indices = IndexOrder(1 + r.IntN(3))
		p.Dir = Dir(r.IntN(2))
	case Deform:
		p.Rank, p.Dir, p.OffsetGroups, p.Mask = 2, Forward, 1, r.IntN(2) == 0
		if r.IntN(3) == 0 {
			p.OffsetGroups = p.IC
		}
	case Im2col, Col2im:
		p.Dir = Dir(r.IntN(2))
	}
}

func (p *Problem) randomAxes(r *rand.Rand, size int) {
	ceil := r.IntN(3) == 0
	same := r.IntN(4) == 0 // the same on all axes, which has a shorter text
	if p.Rank == 3 {
		size = (size + 1) / 2
	}
	for i := range p.Axes {
		if p.Axes[i] = identity; i < 3-p.Rank {
			continue
		}
		if same && i > 3-p.Rank {
			p.Axes[i] = p.Axes[3-p.Rank]
			continue
		}
		a := Axis{In: 1 + r.IntN(size), Kernel: 1 + r.IntN(5), Stride: 1 + r.IntN(3), Dilation: 1 + r.IntN(3)}
		if p.PadMode == Zeros {
			a.PadL, a.PadR = r.IntN(6)-2, r.IntN(6)-2
		} else {
			a.PadL, a.PadR = r.IntN(4), r.IntN(4)
		}
		switch {
		case p.Adaptive:
			a = adaptiveAxis(a.In, 1+r.IntN(size))
		case p.Op == Unpool:
			a.PadL, a.PadR, a.Dilation = r.IntN(2), r.IntN(2), 1
			a.Out = max(1, a.outDeconv()+r.IntN(3))
		case p.Op == Deconv:
			a.Out = a.outDeconv() + r.IntN(max(a.Stride, a.Dilation))
		case p.Op == Pool && ceil:
			a.Out = a.OutCeil()
		default:
			a.Out = a.OutFloor()
		}
		p.Axes[i] = a
	}
}

func (p *Problem) randomStorage(r *rand.Rand) {
	if r.IntN(3) == 0 {
		p.SrcLayout, p.DstLayout = Layout(r.IntN(2)), Layout(r.IntN(2))
	}
	if r.IntN(3) > 0 {
		return
	}
	eight := func() DataType { return S8 + DataType(r.IntN(2)) }
	p.Type = All(F16)
	switch {
	case r.IntN(2) == 0:
	case p.Op == Conv && p.Dir == Forward:
		p.Type = Types{eight(), eight(), []DataType{S32, S8, U8, F32}[r.IntN(4)]}
	case !p.Weighted():
		p.Type = All(eight())
	}
}

func (p *Problem) randomPost(r *rand.Rand) {
	p.Bias = r.IntN(2) == 0
	if r.IntN(2) == 0 && (!p.Integer() || p.Type.Dst == F32) {
		for i := range 1 + r.IntN(MaxPost) {
			o := PostOp{Kind: PostKind(1 + r.IntN(int(Add)))}
			switch o.Kind {
			case Leaky:
				o.Alpha = float32(r.IntN(8)) / 8
			case Clip:
				o.Alpha = float32(-r.IntN(4))
				o.Beta = o.Alpha + float32(r.IntN(12))
			}
			p.Post[i] = o
		}
	}
	if p.Op == Conv && !p.Integer() && r.IntN(6) == 0 {
		p.Then = Fusion{Kind: PoolKind(r.IntN(int(AvgInclude) + 1)), Axes: [3]Axis{identity, identity, identity}}
		for i := 3 - p.Rank; i < 3; i++ {
			a := Axis{In: p.Axes[i].Out, Kernel: 1 + r.IntN(3), Stride: 1 + r.IntN(3), PadL: r.IntN(2), PadR: r.IntN(2), Dilation: 1 + r.IntN(2)}
			if a.Out = a.OutFloor(); r.IntN(2) == 0 {
				a.Out = a.OutCeil()
			}
			p.Then.Axes[i] = a
		}
	}
}
