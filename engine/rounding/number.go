// Package rounding says how far f32 arithmetic may be off. The oracle computes in float64 with its Numbers, which carry,
// beside the true value, a bound on the error of any computation in f32, whatever its order, and whether f32 rounds on
// the way at all. Everything follows from the standard model of arithmetic: an operation errs by at most u = 2^-24 of its
// result (Higham, Accuracy and Stability of Numerical Algorithms, section 2.2), or by less than the smallest normal
// number where a device flushes denormals; functions err by what shaders/src/common.inc states and its tests prove.
//
// It imports nothing but the words of package problem.
package rounding

import "math"

const (
	unit   = 1.0 / (1 << 24)        // u: half the distance from 1 to the next float32
	digits = 1 << 24                // integers up to this are float32 numbers
	tiny   = 1.1754943508222875e-38 // smallest normal float32, which a device that flushes denormals may lose

	unitHalf   = 1.0 / (1 << 11) // u, digits and tiny of f16
	digitsHalf = 1 << 11
	tinyHalf   = 1.0 / (1 << 14)

	own    = 1.0 / (1 << 50) // float64's own roundings, for the few operations of one step
	ownSum = 1.0 / (1 << 52) // the same, for each term of a sum
)

// Number is a true value, and what is known of its computation in f32. The zero Number is an exact 0.
type Number struct {
	Value     float64 // the true result
	Magnitude float64 // no intermediate result is larger; of a sum it is Σ|terms|
	Bound     float64 // a result in f32 is at most this far off Value
	// Grain is a power of two, at most 1, that divides every intermediate result if the operands of the sum that it
	// began with are integers; 0 if there is none.
	Grain float64
	Once  bool  // on the same condition, the result is Value rounded, by the last operation, and none before rounds
	Terms int64 // of the sum, for reports
}

// Of is a number that is given.
func Of(x float64) Number {
	return Number{Value: x, Magnitude: math.Abs(x), Grain: Grain(x), Terms: 1}
}

// Exact says that, of integer operands, f32 arithmetic gives Value rounded, bit for bit: either all intermediate results
// are multiples of Grain small enough to be float32 numbers, or only the last operation rounds.
func (n Number) Exact() bool { return n.Once || n.onGrid() }

// onGrid says that f32 arithmetic does not round.
func (n Number) onGrid() bool { return n.Grain >= tiny && n.Magnitude < digits*n.Grain }

// Grain is the largest power of two, at most 1, that divides x. 0 has 1, infinities and NaN have none: 0.
func Grain(x float64) float64 {
	if x == 0 {
		return 1
	}
	if math.IsInf(x, 0) || math.IsNaN(x) {
		return 0
	}
	f, e := math.Frexp(x)
	m := int64(math.Abs(f) * (1 << 53))
	return min(1, math.Ldexp(float64(m&-m), e-53))
}

// gamma is γ_n = n·u/(1−n·u), which bounds the relative error of n roundings (Higham, section 3.1), with float64's own.
// Where n·u comes near 1, and γ_n to infinity and below 0, n·u itself takes its place, which holds for sums of every
// length (Jeannerod and Rump, Improved error bounds for inner products in floating-point arithmetic, 2013).
func gamma(n float64) float64 {
	g := n * unit
	if g < 0.5 {
		g /= 1 - g
	}
	return g + n*ownSum
}

// Sum is a sum of products of two given numbers each, in any order, fused or not: γ_n·Σ|products|. Flushing denormals
// may lose the smallest normal number in each product and each addition. Bias counts as a product by 1. A caller whose
// terms are quotients, each rounded, sets Grain to the least Grain of 1/divisor.
func Sum(value, magnitude float64, terms int64) Number {
	return sumOf(value, magnitude, terms, 1)
}

// Monomials is a sum of monomials, coefficients times products of given numbers, whose magnitudes add up to magnitude,
// computed so that none of them passes through more than so many roundings: a bilinear algorithm such as Winograd's, see
// package winograd. value is the sum, grain what Number calls so, and lost how many smallest normal numbers flushing
// denormals may lose.
func Monomials(value, magnitude float64, terms, roundings int64, grain, lost float64) Number {
	r := Number{Value: value, Magnitude: magnitude, Terms: terms, Grain: grain}
	r.Bound = gamma(float64(roundings))*magnitude + lost*tiny
	if magnitude > math.MaxFloat32 {
		r.Bound = math.Inf(1)
	}
	return r.checked()
}

// Transformed is a sum of products that was computed by transforms which err by relative times a magnitude that is never below
// Σ|products|, see package fft. lost is how many smallest normal numbers flushing denormals may lose.
func Transformed(value, magnitude float64, terms int64, relative, lost float64) Number {
	r := Number{Value: value, Magnitude: magnitude, Terms: terms}
	r.Bound = relative*magnitude + lost*tiny
	if magnitude > math.MaxFloat32 {
		r.Bound = math.Inf(1)
	}
	return r.checked()
}

// MostShort is the most products that HalfSums takes for a short sum.
const MostShort = 64

// HalfSums is Sum where products and sums of up to short of them are rounded to f16, fused or not, to nearest and with denormals,
// and these short sums are added up in f32. magnitude is Σ|products|, largest the largest |product|.
//
// Let v = 2^-11 be the rounding unit of f16, and fl(x op y) = (x op y)(1+δ) + η with |δ| <= w = v(1+2^-12), which leaves room for
// a device that rounds to f32 first, and |η| <= 2^-25, half the least denormal; sums of halves that small are exact, so η is 0 in
// additions. In a short sum of k <= short products each passes through at most k roundings, whatever the order: its own, unless
// it is fused, and those of k-1 additions. Of products of magnitude M they err by ((1+w)^k - 1)·M <= kw/(1-kw)·M, and each η, which
// k-1 additions may enlarge by (1+w)^k < 2, adds 2^-24 at most. All short sums together err by short·w/(1-short·w)·Σ|products| +
// n·2^-24. Halves are floats, so f32 adds the short sums as they are, with Sum's bound of γ_n times their magnitudes: those of the
// products and of the errors so far. A sum all or part of which is summed in f32 instead errs by no more.
//
// A partial sum that would pass 65504 becomes infinite, or NaN with what follows, and no addition makes it finite again. A device
// that says so in its Arithmetic looks for that and sums in f32 where it is; so there is no bound on the products here.
//
// Nothing rounds if the operands are integers and no short sum can reach 2^11.
func HalfSums(value, magnitude, largest float64, terms int64, short int) Number {
	n, k := float64(terms), float64(short)
	r := sumOf(value, magnitude, terms, 1)
	if terms > 0 {
		kw := k * unitHalf * (1 + 1.0/(1<<12))
		halves := kw/(1-kw)*magnitude + 2*n*tinyHalf*unitHalf
		r.Bound += halves + gamma(n)*halves
	}
	if min(magnitude, k*largest) >= digitsHalf {
		r.Grain = 0
	}
	return r.checked()
}

// TruncatedSum is Sum by matrix units, which multiply halves exactly and add the products of a block of at least two, and what
// they have so far, in one step: all addends are cut off at the last place of the largest, and so is the result (Fasi,
// Higham, Mikaitis and Pranesh, Numerical behavior of NVIDIA tensor cores, 2021). Each addend and each result loses less than
// 2u·Σ|products|: a block of k products (k+2)·2u, all n products 2(1+2/k)·n·u, for which 4n roundings stand here.
func TruncatedSum(value, magnitude float64, terms int64) Number {
	r := sumOf(value, magnitude, terms, 1)
	if terms > 0 {
		r.Bound = gamma(4*float64(terms))*magnitude + 2*float64(terms)*tiny
	}
	return r.checked()
}

// SumPowers is a sum of terms |x|^p, given x, which take p−1 multiplications each.
func SumPowers(value, magnitude float64, terms int64, p int) Number {
	return sumOf(value, magnitude, terms, float64(p-1))
}

// sumOf is a sum of terms that took some multiplications each.
func sumOf(value, magnitude float64, terms int64, multiplications float64) Number {
	n := float64(terms)
	r := Number{Value: value, Magnitude: magnitude, Terms: terms, Grain: 1}
	if terms > 0 {
		r.Bound = gamma(n-1+multiplications)*magnitude + n*(1+multiplications)*tiny
	}
	return r.checked()
}

// Either is a number that was computed in one of two ways, nobody knows in which: the larger of both bounds holds, and it is
// exact if both are.
func Either(a, b Number) Number {
	a.Magnitude, a.Bound = max(a.Magnitude, b.Magnitude), max(a.Bound, b.Bound)
	a.Grain, a.Once = min(a.Grain, b.Grain), a.Once && b.Once
	return a
}

// Total is the sum of computed numbers, in any order.
func Total(ns ...Number) Number {
	if len(ns) == 0 {
		return Of(0)
	}
	r := Number{Grain: 1}
	sizes, exact := 0.0, true
	for _, n := range ns {
		r.Value += n.Value
		r.Magnitude += n.Magnitude
		r.Bound += n.Bound
		r.Terms += n.Terms
		r.Grain = min(r.Grain, n.Grain)
		exact = exact && n.onGrid()
		sizes += math.Abs(n.Value) + n.Bound
	}
	additions := float64(len(ns) - 1)
	r.Bound += gamma(additions)*sizes + additions*tiny
	if !exact {
		r.Grain = 0
	}
	r.Once = len(ns) == 1 && ns[0].Once || len(ns) == 2 && exact && !r.onGrid()
	return r.checked()
}

// Larger is the maximum as pooling takes it: b if it is larger or NaN.
func Larger(a, b Number) Number {
	r := a
	if b.Value > a.Value || math.IsNaN(b.Value) {
		r.Value = b.Value
	}
	r.Magnitude, r.Bound = max(a.Magnitude, b.Magnitude), max(a.Bound, b.Bound)
	r.Terms = max(a.Terms, b.Terms)
	r.Grain = min(a.Grain, b.Grain)
	if !a.onGrid() || !b.onGrid() {
		r.Grain = 0
	}
	// Rounding is monotonic: the larger of rounded numbers is the larger, rounded.
	r.Once = a.Exact() && b.Exact() && !r.onGrid()
	return r.checked()
}

// Mul is the product of computed numbers.
func Mul(a, b Number) Number {
	r := Number{Value: a.Value * b.Value, Magnitude: a.Magnitude * b.Magnitude, Terms: max(a.Terms, b.Terms)}
	r.Bound = times(math.Abs(a.Value), b.Bound) + times(math.Abs(b.Value), a.Bound) + times(a.Bound, b.Bound)
	r.Bound += unit*(math.Abs(r.Value)+r.Bound) + tiny
	if a.onGrid() && b.onGrid() {
		r.Grain = a.Grain * b.Grain
		r.Once = !r.onGrid()
	}
	return r.checked()
}

// Div is the quotient of computed numbers by a division that is within 2.5 ulp, as the built-in ones are.
func Div(a, b Number) Number {
	r := Number{Value: a.Value / b.Value, Terms: max(a.Terms, b.Terms)}
	r.Magnitude = math.Abs(r.Value)
	r.Bound = math.Inf(1)
	if size := math.Abs(b.Value); size > b.Bound {
		r.Bound = (a.Bound + math.Abs(r.Value)*b.Bound) / (size - b.Bound)
		r.Bound += 2.5*ulp*(math.Abs(r.Value)+r.Bound) + tiny
	}
	return r.checked()
}

// Divide is the quotient by an integer of an average, rounded to nearest (DIV_EXACT of the kernels). 0 elements have the
// average 0.
func (n Number) Divide(by int64) Number {
	if by == 0 {
		return Of(0)
	}
	d := float64(by)
	r := Number{Value: n.Value / d, Magnitude: n.Magnitude / d, Bound: n.Bound / d, Terms: n.Terms}
	r.Bound += unit*(math.Abs(r.Value)+r.Bound) + tiny
	r.Once = n.onGrid()
	return r.checked()
}

// Pow is n^p by repeated multiplication, p >= 1, n >= 0: POW_INT of the kernels.
func (n Number) Pow(p int) Number {
	if p == 1 {
		return n
	}
	k := float64(p)
	r := Number{Value: math.Pow(n.Value, k), Magnitude: math.Pow(n.Magnitude, k), Terms: n.Terms}
	// The power grows fastest at the upper end.
	r.Bound = math.Pow(n.Value+n.Bound, k) - r.Value
	r.Bound += gamma(k-1)*(r.Value+r.Bound) + k*tiny
	if n.onGrid() {
		r.Grain = math.Pow(n.Grain, k)
	}
	return r.checked()
}

// Root is the p-th root of n >= 0: ROOT_F of the kernels, which rounds a square root to nearest and takes denormals
// for 0.
func (n Number) Root(p int) Number {
	if p == 1 {
		return n
	}
	root := func(x float64) float64 {
		if p == 2 {
			return math.Sqrt(x)
		}
		return math.Pow(x, 1/float64(p))
	}
	r := Number{Value: root(n.Value), Terms: n.Terms}
	r.Magnitude = r.Value
	// A root grows fastest at the lower end.
	r.Bound = max(r.Value-root(max(n.Value-n.Bound-tiny, 0)), root(n.Value+n.Bound)-r.Value)
	relative := rootULP * ulp
	if p == 2 {
		relative = unit
		r.Once = n.onGrid()
	}
	r.Bound += relative * (r.Value + r.Bound)
	return r.checked()
}

// Half is n stored as f16: rounded to nearest once more, with steps of 2^-24 near 0.
func (n Number) Half() Number {
	r := n
	size := math.Abs(n.Value) + n.Bound
	_, e := math.Frexp(max(size, 0x1p-14)) // size < 2^e
	r.Bound += math.Ldexp(1, e-12)
	r.Grain, r.Once = 0, n.onGrid()
	return r.checked()
}

// times is a product that is 0 where a factor is, however large the other.
func times(a, b float64) float64 {
	if a == 0 || b == 0 {
		return 0
	}
	return a * b
}

// checked adds float64's own roundings to a bound. Infinite and undefined true values are what they are.
func (n Number) checked() Number {
	if n.Bound > 0 {
		n.Bound += own * math.Abs(n.Value)
	}
	if math.IsNaN(n.Bound) {
		n.Bound = math.Inf(1)
	}
	if math.IsNaN(n.Value) || math.IsInf(n.Value, 0) {
		n.Bound = 0
	}
	return n
}
