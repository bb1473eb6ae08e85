// Package fft says which problems are convolved by discrete Fourier transforms of tiles, and how far that may be off.
//
// A tile of t×t cells of the source (overlap-save: neighbouring tiles overlap by the kernel's extent less one) gives
// t−e+1 results along an axis where the kernel extends over e cells:
//
//	y = F⁻¹[ Σ_c conj(F w_c) ⊙ F d_c ]
//
// F is the transform in two dimensions. As d and w are real, half of its t² numbers are enough.
//
// The transforms are of radix 4, with one step of radix 2 where t is no power of 4, each number multiplied by a twiddle
// between two steps. Of a line of real numbers only those of a step's results are computed that are no conjugates of others.
package fft

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// Sizes are the t of the tiles that there are.
var Sizes = []int{8, 16, 32, 64}

// Applies returns nil for a problem that tiles of t×t compute, or some of Sizes if t is 0, else why they do not:
// convolutions and transposed ones, forward and by their source, in two dimensions and without strides.
func Applies(p *problem.Problem, t int) error {
	if t == 0 {
		t = slices.Max(Sizes)
	}
	depth := p.Axes[0]
	switch {
	case !slices.Contains(Sizes, t):
		return fmt.Errorf("there are no tiles of %d; they are of one of %v", t, Sizes)
	case p.Op != problem.Conv && p.Op != problem.Deconv || p.Dir != problem.Forward && p.Dir != problem.BackwardData:
		return errors.New("neither a convolution nor its gradient by the source")
	case p.Integer():
		return errors.New("integers")
	case depth.In != 1 || depth.Out != 1 || depth.Kernel != 1 || depth.PadL != 0:
		return errors.New("more than two dimensions")
	case p.Axes[2].Kernel < 2 || p.Axes[1].In == 1 && p.Axes[1].Out == 1:
		return errors.New("fewer than two dimensions, or a kernel of one column")
	}
	for _, a := range p.Axes[1:] {
		if a.Stride != 1 || a.Kernel < 1 || a.Extent() > t {
			return fmt.Errorf("a stride, or a kernel that extends over more than %d cells", t)
		}
	}
	return nil
}

// unit is u = 2⁻²⁴, half the distance from 1 to the next float32.
const unit = 1.0 / (1 << 24)

// Error is ε such that a result of so many channels in f32 is off by at most
//
//	|ŷ − y| ≤ ε · Σ_c ‖d_c‖·‖w_c‖
//
// in Euclidean norms, d_c being the whole tile, whatever the order of the sum over the channels.
//
// A complex addition errs by a factor of 1+δ, |δ| ≤ u, a multiplication by √2·γ₂ (Higham, Accuracy and Stability of
// Numerical Algorithms, lemma 3.5), and a twiddle, rounded to nearest, by u. Each level of additions is √2 times an isometry;
// so it is where conjugates are left out, if what is kept counts for them, too: its error is theirs. So, as in Higham's theorem
// 24.2, the transform of d errs by ‖Ŝ_c − S_c‖ ≤ τ·‖S_c‖ where
//
//	1+τ = (1+u)^a · ((1+u)(1+√2·γ₂))^m
//
// with the a additions and m multiplications that a number meets. By Cauchy's inequality, as ‖F x‖ = t·‖x‖,
//
//	t⁻² Σ_f |W_cf|·|Ŝ_cf − S_cf| ≤ τ·‖w_c‖·‖d_c‖
//
// Weights are transformed in float64 and rounded once: u more. A real or imaginary part of a sum over c has 2c products, so
// that the sum is off by √2·γ_2c·Σ|W_cf|·|S_cf|. In the inverse transform each result is a sum of numbers of the spectrum times
// roots of unity, so it errs by τ times the sum of their absolute values, to which Cauchy's inequality applies as above.
func Error(t, channels int) float64 {
	tau := transform(t)
	return math.Pow(1+tau, 2)*(1+2*unit)*(1+math.Sqrt2*gamma(2*channels)) - 1
}

// transform is τ.
func transform(t int) float64 {
	levels := bits.Len(uint(t)) - 1
	additions, multiplications := 2*levels, 2*((levels+1)/2-1)
	one := (1 + unit) * (1 + math.Sqrt2*gamma(2))
	return math.Pow(1+unit, float64(additions))*math.Pow(one, float64(multiplications)) - 1
}

// gamma is γ_n; n·u where that nears 1, see package rounding.
func gamma(n int) float64 {
	g := float64(n) * unit
	if g < 0.5 {
		g /= 1 - g
	}
	return g
}

// Largest bounds the numbers of a transform of cells that are at most d, with room for what they are rounded by.
func Largest(t int, d float64) float64 { return 2 * float64(t*t) * d }

// Lost is how many smallest normal numbers a result may lose to a device that takes denormals for 0, of so many channels,
// taps and largest numbers: each operation loses one at most. A number of a transform comes of less than 2·t² multiplications
// and additions, three for a multiplication. Weights are scaled by 1/t², or twice that if a number stands for its conjugate, and
// their own loss is enlarged by the transformed cells.
func Lost(t, channels, taps int, w, d float64) float64 {
	tt := float64(t * t)
	each := 12*float64(taps)*w + Largest(t, d) + 4
	return 2*tt*float64(channels)*each + 6*tt
}

// Operations are the additions and multiplications of the transform of one tile of t×t real cells, there or back, of which so
// many rows are not all zeros, or are wanted: these rows, two real columns, and those of half as many complex ones.
func Operations(t, rows int) int {
	return (rows+2)*realLine(t) + (t/2-1)*complexLine(t)
}

// twiddled is what a multiplication of complex numbers takes.
const twiddled = 6

// complexLine are the operations of a transform of n complex numbers: a step of radix 4, a multiplication of each result but
// those by 1, and four transforms of a quarter.
func complexLine(n int) int {
	switch n {
	case 1:
		return 0
	case 2:
		return 4
	}
	q := n / 4
	return 16*q + 3*(q-1)*twiddled + 4*complexLine(q)
}

// realLine are those of n real numbers: X[4k] come from real sums, X[4k+1], the conjugates of X[4k+3], from as many complex
// numbers, and X[4k+2], of which again half are conjugates, from half as many.
func realLine(n int) int {
	switch n {
	case 1:
		return 0
	case 2:
		return 2
	}
	q := n / 4
	sum := 6*q + (q-1)*twiddled + complexLine(q) + realLine(q)
	if q > 1 {
		sum += (q/2-1)*twiddled + complexLine(q/2)
	}
	return sum
}
