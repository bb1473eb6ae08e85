// Package winograd holds the minimal filtering algorithms F(m, 3) of Toom, Cook and Winograd as exact rational matrices.
// F(m, r) makes m results of a correlation with r taps from t = m+r−1 cells by t products instead of m·r:
//
//	y[i] = Σ_k d[i+k]·g[k]  =  (Aᵀ[(G g) ⊙ (Bᵀ d)])[i],    in two dimensions  Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A
//
// The construction is that of Winograd (Arithmetic Complexity of Computations, 1980) as Lavin and Gray use it (Fast
// Algorithms for Convolutional Neural Networks, 2016, section 4): a product of polynomials of m and r coefficients is
// interpolated from its values in the t−1 points x and in ∞, and transposed. With M(s) = Π (s−x) over the finite points,
//
//	Aᵀ[i][x] = xⁱ                      Aᵀ[m−1][∞] = 1
//	G[x][k]  = xᵏ / M'(x)              G[∞][r−1]  = 1
//	Bᵀ[x][j] = [sʲ] M(s)/(s−x)         Bᵀ[∞][j]   = [sʲ] M(s)
//
// where [sʲ] is the coefficient of sʲ. The points are 0, ±1, ±2, ±1/2, as many as are needed: small numbers whose powers
// are exact, and which occur with both signs, so that the rows of x and −x share their even and odd parts.
//
// It is what drivers build their transforms from and what the oracle bounds their rounding by.
package winograd

import (
	"errors"
	"fmt"
	"math/big"
	"sync"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// R is the number of taps along an axis.
const R = 3

// Sizes are the m of the algorithms that there are.
var Sizes = []int{2, 4, 6}

// Transform is F(m, 3): the matrices of one axis.
type Transform struct {
	M, T   int            // results and cells of a tile: T = M+R−1
	Points []*big.Rat     // finite ones, of the rows and columns 0 … T−2; the last ones are ∞'s
	AT     [][]*big.Rat   // Aᵀ: M × T
	G      [][]*big.Rat   // T × R
	BT     [][]*big.Rat   // Bᵀ: T × T
	abs    [3][][]float64 // their absolute values: |Aᵀ|, |G|, |Bᵀ|
}

// New returns F(m, 3), and an error for an m that is none of Sizes.
func New(m int) (*Transform, error) {
	for i, size := range Sizes {
		if m == size {
			return transforms()[i], nil
		}
	}
	return nil, fmt.Errorf("there is no Winograd transform F(%d, %d); m is one of %v", m, R, Sizes)
}

// Applies returns nil for a problem that Winograd's algorithms compute, else why they do not: convolutions and transposed
// ones, forward and by their source, in two dimensions, of 3×3 taps without strides or dilation.
func Applies(p *problem.Problem) error {
	depth := p.Axes[0]
	switch {
	case p.Op != problem.Conv && p.Op != problem.Deconv || p.Dir != problem.Forward && p.Dir != problem.BackwardData:
		return errors.New("neither a convolution nor its gradient by the source")
	case p.Integer():
		return errors.New("integers")
	case depth.In != 1 || depth.Out != 1 || depth.Kernel != 1 || depth.PadL != 0:
		return errors.New("more than two dimensions")
	}
	for _, a := range p.Axes[1:] {
		if a.Kernel != R || a.Stride != 1 || a.Dilation != 1 {
			return fmt.Errorf("not a kernel of %d×%[1]d taps without strides or dilation", R)
		}
	}
	return nil
}

var transforms = sync.OnceValue(func() []*Transform {
	all := make([]*Transform, len(Sizes))
	for i, m := range Sizes {
		all[i] = build(m)
	}
	return all
})

// build makes the matrices from the points.
func build(m int) *Transform {
	t := &Transform{M: m, T: m + R - 1}
	for _, p := range []string{"0", "1", "-1", "2", "-2", "1/2", "-1/2"}[:t.T-1] {
		x, _ := new(big.Rat).SetString(p)
		t.Points = append(t.Points, x)
	}
	t.AT, t.G, t.BT = zeros(t.M, t.T), zeros(t.T, R), zeros(t.T, t.T)
	for x, at := range t.Points {
		others := []*big.Rat{big.NewRat(1, 1)} // M(s)/(s−x), the coefficient of 1 first
		derivative := big.NewRat(1, 1)         // M'(x) is its value in x
		for y, point := range t.Points {
			if y != x {
				others = timesRoot(others, point)
				derivative.Mul(derivative, new(big.Rat).Sub(at, point))
			}
		}
		copy(t.BT[x], others)
		power := big.NewRat(1, 1)
		for k := range max(t.M, R) {
			if k < t.M {
				t.AT[k][x].Set(power)
			}
			if k < R {
				t.G[x][k].Quo(power, derivative)
			}
			power = new(big.Rat).Mul(power, at)
		}
	}
	last := t.T - 1
	all := []*big.Rat{big.NewRat(1, 1)}
	for _, point := range t.Points {
		all = timesRoot(all, point)
	}
	copy(t.BT[last], all)
	t.AT[t.M-1][last].SetInt64(1)
	t.G[last][R-1].SetInt64(1)
	for i, rows := range [][][]*big.Rat{t.AT, t.G, t.BT} {
		t.abs[i] = floats(rows)
	}
	return t
}

// zeros is a matrix.
func zeros(rows, columns int) [][]*big.Rat {
	a := make([][]*big.Rat, rows)
	for i := range a {
		a[i] = make([]*big.Rat, columns)
		for j := range a[i] {
			a[i][j] = new(big.Rat)
		}
	}
	return a
}

// timesRoot is the polynomial times s − root.
func timesRoot(p []*big.Rat, root *big.Rat) []*big.Rat {
	q := zeros(1, len(p)+1)[0]
	for i, c := range p {
		q[i+1].Add(q[i+1], c)
		q[i].Sub(q[i], new(big.Rat).Mul(c, root))
	}
	return q
}

// floats are the absolute values of a matrix.
func floats(rows [][]*big.Rat) [][]float64 {
	f := make([][]float64, len(rows))
	for i, row := range rows {
		f[i] = make([]float64, len(row))
		for j, c := range row {
			f[i][j], _ = new(big.Rat).Abs(c).Float64()
		}
	}
	return f
}

// Operations are the additions and multiplications of the transforms of one tile of the source and of one of results, in two
// dimensions: Bᵀ of T columns and T rows, Aᵀ of T columns and M rows. They are counted as kernels factor the matrices: the rows
// of Bᵀ for x and −x are an even part plus and minus an odd one, and Aᵀ sees the sum or the difference of two such cells.
func (t *Transform) Operations() (source, result int) {
	last := t.T - 1
	rows, columns := operations(t.BT[0])+operations(t.BT[last]), 0
	for x := 1; x < last; x += 2 {
		var parts [2][]*big.Rat
		for j, c := range t.BT[x] {
			parts[j%2] = append(parts[j%2], c)
		}
		rows += operations(parts[0]) + operations(parts[1]) + 2
		columns += 2
	}
	for _, row := range t.AT {
		terms := []*big.Rat{row[0], row[last]}
		for x := 1; x < last; x += 2 {
			terms = append(terms, row[x])
		}
		columns += operations(terms)
	}
	return 2 * t.T * rows, (t.T + t.M) * columns
}

// operations are those of a sum of cells times coefficients, of which a common one is multiplied by last.
func operations(coefficients []*big.Rat) int {
	var terms, products, common int
	var first *big.Rat
	for _, c := range coefficients {
		if c.Sign() == 0 {
			continue
		}
		size := new(big.Rat).Abs(c)
		if first == nil {
			first = size
		}
		terms++
		if size.Cmp(big.NewRat(1, 1)) != 0 {
			products++
		}
		if size.Cmp(first) == 0 {
			common++
		}
	}
	if common == terms {
		products = min(products, 1)
	}
	return max(terms-1, 0) + products
}
