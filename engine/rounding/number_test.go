package rounding

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestSumBound(t *testing.T) {
	// gamma_27 = 27/(2^24-27) = 27/16777189, and 27 roundings of float64.
	want := func(n float64) float64 { return n/(16777216-n) + n/4503599627370496 }
	for _, c := range []struct {
		terms           int64
		magnitude, want float64
	}{
		{27, 10, 10 * want(27)},
		{28, 10, 10 * want(28)},
		{1, 1, want(1)},
		{0, 0, 0},
		{1 << 23, 1, 0.5 + 1.0/(1<<29)}, // n*u, no longer gamma
		{1 << 24, 1, 1 + 1.0/(1<<28)},
		{1 << 25, 1, 2 + 1.0/(1<<27)},
	} {
		if got := Sum(0, c.magnitude, c.terms).Bound; math.Abs(got-c.want) > 1e-12*c.want {
			t.Errorf("%d terms of magnitude %v: %v, not %v", c.terms, c.magnitude, got, c.want)
		}
	}
	if got := Sum(0, 10, 27).Bound; math.Abs(got-1.609328e-5) > 1e-11 {
		t.Errorf("27 terms of magnitude 10: %v, not 1.6093e-5", got)
	}
	// Sums of zeros may lose denormals, no more.
	if got := Sum(0, 0, 4).Bound; got <= 0 || got > 1e-36 {
		t.Errorf("a sum of zeros may be off by %v", got)
	}
	// |x| needs no multiplication, |x|^3 two.
	if got := SumPowers(0, 10, 27, 1).Bound; math.Abs(got-10*want(26)) > 1e-15 {
		t.Errorf("27 given terms: %v", got)
	}
	if got := SumPowers(0, 10, 27, 3).Bound; math.Abs(got-10*want(28)) > 1e-15 {
		t.Errorf("27 cubes: %v", got)
	}
}

func TestGrain(t *testing.T) {
	for x, want := range map[float64]float64{
		0: 1, 1: 1, 6: 1, -3: 1, 1 << 30: 1, 0.5: 0.5, -0.75: 0.25, 6.125: 0.125, 0x1p-149: 0x1p-149,
		float64(float32(0.1)): 0x1p-27, math.Inf(1): 0, math.NaN(): 0,
	} {
		if got := Grain(x); got != want {
			t.Errorf("%v has grain %v, not %v", x, got, want)
		}
	}
}

// What is said to be exact, and what is not.
func TestExact(t *testing.T) {
	small, large := Sum(-100, 200, 9), Sum(100, 1<<24, 9)
	for _, c := range []struct {
		name        string
		n           Number
		grid, exact bool
	}{
		{"zero", Of(0), true, true},
		{"sum of small integers", small, true, true},
		{"sum just small enough", Sum(1<<24-1, 1<<24-1, 9), true, true},
		{"sum that may round", large, false, false},
		{"average", Sum(100, 200, 9).Divide(9), false, true},
		{"average of a sum that may round", large.Divide(9), false, false},
		{"average of averages", Sum(100, 200, 9).Divide(9).Divide(7), false, false},
		{"empty average", Sum(0, 0, 0).Divide(0), true, true},
		{"product", Mul(small, Of(0.25)), true, true},
		{"product of many digits", Mul(small, Of(float64(float32(0.1)))), false, true},
		{"sum after a product of many digits", Mul(small, Of(float64(float32(0.1)))).plus(1), false, false},
		{"sum that rounds last", small.plus(0x1p-40), false, true},
		{"sum of three", Total(small, Of(0x1p-40), Of(1)), false, false},
		{"sum of one average", Total(small.Divide(9)), false, true},
		{"square root", Sum(100, 100, 9).Root(2), false, true},
		{"cube root", Sum(100, 100, 9).Root(3), false, false},
		{"first root", Sum(100, 100, 9).Root(1), true, true},
		{"cube", Sum(100, 100, 9).Pow(3), true, true},
		{"fourth power", Sum(100, 100, 9).Pow(4), false, false},
		{"larger", Larger(small, Of(0.5)), true, true},
		{"larger of averages", Larger(small.Divide(9), Of(1)), false, true},
		{"larger of far numbers", Larger(Of(1<<23), Of(0x1p-30)), false, true},
		{"larger of a sum that may round", Larger(large, Of(1)), false, false},
		{"half", small.Half(), false, true},
		{"half of an average", small.Divide(9).Half(), false, false},
		{"quotient", Div(small, Of(3)), false, false},
		{"denormal grain", Of(0x1p-140), false, false},
	} {
		if c.n.onGrid() != c.grid || c.n.Exact() != c.exact {
			t.Errorf("%s: on grid %t, exact %t: %+v", c.name, c.n.onGrid(), c.n.Exact(), c.n)
		}
	}
}

func TestLarger(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct{ a, b, want float64 }{{1, 2, 2}, {2, 1, 2}, {nan, 1, nan}, {1, nan, nan}, {math.Inf(-1), -5, -5}} {
		got := Larger(Of(c.a), Of(c.b)).Value
		if got != c.want && !(math.IsNaN(got) && math.IsNaN(c.want)) {
			t.Errorf("larger of %v and %v: %v", c.a, c.b, got)
		}
	}
}

// An f16 has 11 digits, steps of 2^-24 near 0 and the bound says so.
func TestHalfBound(t *testing.T) {
	for x, want := range map[float64]float64{
		0: 0x1p-25, 0x1p-14: 0x1p-25, 0x1p-20: 0x1p-25, 1: 0x1p-11, 1.999: 0x1p-11, 2: 0x1p-10, 1000: 0.25, -1000: 0.25, 65504: 16,
	} {
		if got := Of(x).Half().Bound; math.Abs(got-want) > 1e-12*math.Abs(x)+1e-12*want {
			t.Errorf("%v as f16 may be off by %v, not %v", x, got, want)
		}
	}
}

// shuffledSum adds products in f32 in a random order, in up to four partial sums, some products fused.
func shuffledSum(r *rand.Rand, a, b []float32) float32 {
	partial := make([]float32, 1+r.IntN(4))
	for _, i := range r.Perm(len(a)) {
		p := &partial[r.IntN(len(partial))]
		if r.IntN(2) == 0 {
			*p = float32(float64(a[i])*float64(b[i]) + float64(*p)) // fused, but for a rare double rounding
		} else {
			*p += float32(a[i] * b[i])
		}
	}
	sum := partial[0]
	for _, p := range partial[1:] {
		sum += p
	}
	return sum
}

// trueSum is Σ a·b and Σ |a·b|.
func trueSum(a, b []float32) (sum, magnitude float64) {
	for i := range a {
		p := float64(a[i]) * float64(b[i])
		sum += p
		magnitude += math.Abs(p)
	}
	return sum, magnitude
}

func randoms(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64() * math.Exp2(float64(r.IntN(8))))
	}
	return v
}

// integers are small.
func integers(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.IntN(7) - 3)
	}
	return v
}

// Sums in any order stay within the bound; a sum that misses its largest term does not.
func TestSumsStayWithin(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		n := 1 + r.IntN(300)
		a, b := randoms(r, n), randoms(r, n)
		want := Sum(first(trueSum(a, b)), second(trueSum(a, b)), int64(n))
		if got := float64(shuffledSum(r, a, b)); math.Abs(got-want.Value) > want.Bound {
			t.Fatalf("a sum of %d terms is %v, more than %v off %v", n, got, want.Bound, want.Value)
		}
		largest := 0.0
		for i := range a {
			largest = max(largest, math.Abs(float64(a[i])*float64(b[i])))
		}
		if largest <= want.Bound {
			t.Fatalf("the bound %v of %d terms hides the loss of one of %v", want.Bound, n, largest)
		}
	}
}

func first(a, _ float64) float64  { return a }
func second(_, b float64) float64 { return b }

// Averages, roots, powers, products and quotients of computed sums stay within their bounds, and on integers are exact
// where they say so.
func TestStepsStayWithin(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	exact := map[string]int{}
	for round := range 6000 {
		fill, whole := randoms, round%2 == 0
		if whole {
			fill = integers
		}
		n := 1 + r.IntN(40)
		a, b := fill(r, n), fill(r, n)
		f, g := shuffledSum(r, a, a), shuffledSum(r, a, b)
		x, y := Sum(first(trueSum(a, a)), second(trueSum(a, a)), int64(n)), Sum(first(trueSum(a, b)), second(trueSum(a, b)), int64(n))
		p := 2 + r.IntN(5)
		power := f
		for range p - 1 {
			power *= f
		}
		count := 1 + r.IntN(50)
		for _, c := range []struct {
			name string
			got  float32
			want Number
		}{
			{"average", g / float32(count), y.Divide(int64(count))},
			{"square root", float32(math.Sqrt(float64(f))), x.Root(2)},
			{"root", perturbed(r, math.Pow(float64(f), 1/float64(p+1)), rootULP), x.Root(p + 1)},
			{"power", power, x.Pow(p)},
			{"product", f * g, Mul(x, y)},
			{"quotient", perturbed(r, float64(g)/float64(f+1), 2.5), Div(y, x.plus(1))},
			{"total", f + g, Total(x, y)},
			{"larger", max(f, g), Larger(x, y)},
		} {
			err := math.Abs(float64(c.got) - c.want.Value)
			if c.want.Value <= math.MaxFloat32 && err > c.want.Bound {
				t.Fatalf("%s: %v is more than %v off %v", c.name, c.got, c.want.Bound, c.want.Value)
			}
			if whole && c.want.Exact() {
				exact[c.name]++
				if c.got != float32(c.want.Value) {
					t.Fatalf("%s: %v is not %v, which is called exact", c.name, c.got, c.want.Value)
				}
			}
			if size := 1e-4 * (1 + c.want.Magnitude + math.Abs(c.want.Value)); c.name != "quotient" && c.want.Bound > size {
				t.Fatalf("%s: a bound of %v on %v says nothing", c.name, c.want.Bound, c.want.Value)
			}
		}
	}
	for _, name := range []string{"average", "square root", "power", "product", "total", "larger"} {
		if exact[name] < 1000 {
			t.Errorf("%s of integers was called exact %d times", name, exact[name])
		}
	}
}

// perturbed is v in f32, off by up to n ulp.
func perturbed(r *rand.Rand, v, n float64) float32 {
	f := float32(v)
	if f == 0 {
		return f
	}
	_, e := math.Frexp(float64(f))
	off := math.Ldexp((2*r.Float64()-1)*(n-0.5), e-24)
	return float32(v + off)
}

// Sums as matrix units form them, all addends of a block cut off at the last place of the largest, stay within the bound of
// TruncatedSum, which is not idle: some come near that of Sum.
func TestTruncatedSum(t *testing.T) {
	cut := func(x float64, e int) float64 { return math.Trunc(math.Ldexp(x, 24-e)) * math.Ldexp(1, e-24) }
	r := rand.New(rand.NewPCG(5, 6))
	passed := 0
	for _, block := range []int{2, 4, 8, 16} {
		for range 200 {
			terms := 16 * (1 + r.IntN(64))
			total, value, magnitude := 0.0, 0.0, 0.0
			for i := 0; i < terms; i += block {
				addends := []float64{total}
				largest := math.Abs(total)
				for range block {
					x := float64(float32(0.5+r.Float64())) * float64(1+r.IntN(8))
					addends = append(addends, x)
					value += x
					magnitude += math.Abs(x)
					largest = max(largest, math.Abs(x))
				}
				_, e := math.Frexp(largest)
				total = 0
				for _, x := range addends {
					total += cut(x, e)
				}
				_, e = math.Frexp(total)
				total = cut(total, e)
			}
			err := math.Abs(total - value)
			if bound := TruncatedSum(value, magnitude, int64(terms)).Bound; err > bound {
				t.Fatalf("%d terms by %d: off by %g, bound %g", terms, block, err, bound)
			}
			if err > Sum(value, magnitude, int64(terms)).Bound/4 {
				passed++
			}
		}
	}
	if passed == 0 {
		t.Error("truncation never costs a quarter of what rounding may")
	}
}

// roundHalf is x rounded to f16.
func roundHalf(x float64) float64 {
	_, e := math.Frexp(x)
	grain := math.Ldexp(1, max(e, -13)-11)
	return math.RoundToEven(x/grain) * grain
}

// Short sums in f16, fused and not, of numbers that are normal and that are not, stay within the bound of HalfSums, which is not
// idle: some are beyond an eighth of it, and beyond the bound for shorter ones. What it calls exact is.
func TestHalfSums(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	near, beyond := 0, 0
	for _, short := range []int{1, 4, 8, 16} {
		for round := range 400 {
			terms := 1 + r.IntN(300)
			scale := math.Ldexp(1, r.IntN(24)-16)
			integers := round%4 == 0
			total, value, magnitude, largest := float32(0), 0.0, 0.0, 0.0
			for i := 0; i < terms; i += short {
				sum := 0.0
				for range min(short, terms-i) {
					x, y := roundHalf(scale*(0.5+r.Float64())), roundHalf(r.Float64()-0.1)
					if integers {
						x, y = float64(r.IntN(16)), float64(r.IntN(16)-2)
					}
					product := x * y
					if round%2 == 0 {
						product = roundHalf(product)
					}
					sum = roundHalf(float64(float32(product + sum)))
					value += x * y
					magnitude += math.Abs(x * y)
					largest = max(largest, math.Abs(x*y))
				}
				total += float32(sum)
			}
			n := HalfSums(value, magnitude, largest, int64(terms), short)
			err := math.Abs(float64(total) - value)
			if err > n.Bound || integers && n.Exact() && err != 0 {
				t.Fatalf("%d terms by %d of %g: off by %g, bound %g, exact %t", terms, short, scale, err, n.Bound, n.Exact())
			}
			near += flag(err > n.Bound/8)
			beyond += flag(short > 1 && err > HalfSums(value, magnitude, largest, int64(terms), 1).Bound)
		}
	}
	if near == 0 || beyond == 0 {
		t.Errorf("the bound is idle: %d errors near it, %d beyond that of single products", near, beyond)
	}
	if n := HalfSums(4096, 4096, 256, 16, 8); n.Exact() {
		t.Error("a sum of 8 products of 256 may reach 2048 and is called exact")
	}
	if n := HalfSums(4096, 4096, 255, 17, 8); !n.Exact() {
		t.Error("sums below 2048 are not called exact")
	}
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
