package cpu

import (
	"math"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// deformable is Σ over channels c of the group and taps k of wei[o, c, k] · mask[k, x] · src[n, c] read bilinearly at
// x·s − pad + k·d + offset[k, x].
//
// Positions are rounded when the offset is added in float32, which moves where the source is read: between cells it
// changes by at most twice the largest cell for each unit of a coordinate, so that the sum's bound grows by that.
func (o *oracle) deformable() func(int64) driver.Element {
	p, g, f := o.p, o.g, &o.t.f
	perOffset := p.IC / p.OffsetGroups
	largest := make([]float64, p.N*p.IC) // of each plane
	for i, v := range f[problem.Src] {
		largest[i/g.wideSp] = max(largest[i/g.wideSp], math.Abs(float64(v)))
	}
	return o.chained(func(i int64) (s sum) {
		nc, x := split(i, g.narrowD)
		n, oc := nc/g.narrowC, nc%g.narrowC
		at := int(i % int64(g.narrowSp))
		for j := range g.wideCG {
			c := oc/g.narrowCG*g.wideCG + j
			plane := f[problem.Src][(n*g.wideC+c)*g.wideSp:][:g.wideSp]
			for k := range g.taps {
				_, tap := split(int64(k), g.kernel)
				row := (n*p.OffsetGroups+c/perOffset)*g.taps + k
				dy, dx := f[problem.Offset][2*row*g.narrowSp+at], f[problem.Offset][(2*row+1)*g.narrowSp+at]
				h := float64(x[1]*g.stride[1]-g.pad[1]+tap[1]*g.dilation[1]) + float64(dy)
				w := float64(x[2]*g.stride[2]-g.pad[2]+tap[2]*g.dilation[2]) + float64(dx)
				by := float64(f[problem.Wei][(oc*g.wideCG+j)*g.taps+k])
				if p.Mask {
					by *= float64(f[problem.Mask][row*g.narrowSp+at])
				}
				s.add(by * interpolate(plane, g.wideD[1], g.wideD[2], h, w))
				s.slack += math.Abs(by) * slack(g, h, w) * (largest[n*g.wideC+c] + tiny)
			}
		}
		return s
	})
}

// interpolate reads a plane between its cells; cells beyond the edge are 0, and so is what lies further than one cell
// out, and what has no position.
func interpolate(plane []float32, height, width int, h, w float64) float64 {
	if !(h > -1 && w > -1 && h < float64(height) && w < float64(width)) {
		return 0
	}
	y, x := int(math.Floor(h)), int(math.Floor(w))
	cell := func(y, x int) float64 {
		if y < 0 || y >= height || x < 0 || x >= width {
			return 0
		}
		return float64(plane[y*width+x])
	}
	fh, fw := h-float64(y), w-float64(x)
	return (1-fh)*((1-fw)*cell(y, x)+fw*cell(y, x+1)) + fh*((1-fw)*cell(y+1, x)+fw*cell(y+1, x+1))
}

const tiny = 0x1p-126 // smallest normal float32

// slack is how far float32 arithmetic may be off in reading at (h, w), as a share of the largest cell. Coordinates: half
// an ulp each. Weights, their products with four cells, and the mask: at most 16 roundings. Far out all is 0.
func slack(g *geometry, h, w float64) float64 {
	if !(h > -2 && w > -2 && h < float64(g.wideD[1]+1) && w < float64(g.wideD[2]+1)) {
		return 0
	}
	const unit = 0x1p-24
	return 2*unit*(math.Abs(h)+math.Abs(w)) + 4*16*unit
}
