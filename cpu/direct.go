package cpu

import (
	"context"

	"github.com/gonvolve/gonvolve/cpu/simd"
)

// The three sums of a convolution by plain loops, row by row of the planes. They skip the padding and nothing else, so
// infinities and NaN come out as the definition has them; int32 sums wrap.

// finish is called for each run of finished results: image, channel, position in the plane, values. It may be nil.
type finish func(n, c, at int, row []float32)

// gather is narrow[n, o, x] = Σ over c and taps k of wide[n, c, x·s − pad + k·d] · wei[o, c, k].
func gather[T float32 | int32](ctx context.Context, g *geometry, wide, wei, narrow []T,
	done func(n, c, at int, row []T)) error {
	return parallel(ctx, g.n*g.narrowC, 1, func(i int) {
		out := narrow[i*g.narrowSp:][:g.narrowSp]
		clear(out)
		n, o := i/g.narrowC, i%g.narrowC
		first := n*g.wideC + o/g.narrowCG*g.wideCG
		for c := range g.wideCG {
			plane := wide[(first+c)*g.wideSp:][:g.wideSp]
			taps := wei[(o*g.wideCG+c)*g.taps:][:g.taps]
			g.lines(func(tap, x, w, n int) {
				to, by := out[x:][:n], taps[tap]
				if g.stride[2] == 1 {
					for j, v := range plane[w:][:n] {
						to[j] += by * v
					}
					return
				}
				for j := range to {
					to[j] += by * plane[w+j*g.stride[2]]
				}
			})
			if ctx.Err() != nil {
				return
			}
		}
		if done != nil {
			done(n, o, 0, out)
		}
	})
}

// scatter is the adjoint of gather: each narrow value goes to the wide positions that it was gathered from.
func scatter(ctx context.Context, g *geometry, narrow, wei, wide []float32, done finish) error {
	return parallel(ctx, g.n*g.wideC, 1, func(i int) {
		plane := wide[i*g.wideSp:][:g.wideSp]
		clear(plane)
		n, c := i/g.wideC, i%g.wideC
		group := c / g.wideCG
		for j := range g.narrowCG {
			o := group*g.narrowCG + j
			from := narrow[(n*g.narrowC+o)*g.narrowSp:][:g.narrowSp]
			taps := wei[(o*g.wideCG+c%g.wideCG)*g.taps:][:g.taps]
			g.lines(func(tap, x, w, n int) {
				by := taps[tap]
				if g.stride[2] == 1 {
					to := plane[w:][:n]
					for j, v := range from[x:][:n] {
						to[j] += by * v
					}
					return
				}
				for j, v := range from[x:][:n] {
					plane[w+j*g.stride[2]] += by * v
				}
			})
			if ctx.Err() != nil {
				return
			}
		}
		if done != nil {
			done(n, c, 0, plane)
		}
	})
}

// weigh is the gradient of the weights, Σ over batch n and narrow positions x of narrow[n, o, x] · wide[n, c, …].
func weigh(ctx context.Context, g *geometry, wide, narrow, wei []float32) error {
	return parallel(ctx, g.narrowC*g.wideCG, 1, func(i int) {
		taps := wei[i*g.taps:][:g.taps]
		clear(taps)
		o := i / g.wideCG
		c := i%g.wideCG + o/g.narrowCG*g.wideCG
		for n := range g.n {
			plane := wide[(n*g.wideC+c)*g.wideSp:][:g.wideSp]
			by := narrow[(n*g.narrowC+o)*g.narrowSp:][:g.narrowSp]
			g.lines(func(tap, x, w, n int) {
				if g.stride[2] == 1 {
					taps[tap] += simd.Dot(by[x:][:n], plane[w:][:n])
					return
				}
				var s float32
				for j, v := range by[x:][:n] {
					s += v * plane[w+j*g.stride[2]]
				}
				taps[tap] += s
			})
			if ctx.Err() != nil {
				return
			}
		}
	})
}

// channelSums is the gradient of the bias: the sum of each channel of x [n, c, plane].
func channelSums(ctx context.Context, n, c, plane int, x, sums []float32) error {
	return summingUp.parallel(ctx, c, 1, &channels{n, c, plane, x, sums})
}

type channels struct {
	n, c, plane int
	x, sums     []float32
}

var summingUp = repeated[channels]{do: (*channels).sum}

func (s *channels) sum(o int) {
	s.sums[o] = 0
	for i := range s.n {
		s.sums[o] += simd.Sum(s.x[(i*s.c+o)*s.plane:][:s.plane])
	}
}
