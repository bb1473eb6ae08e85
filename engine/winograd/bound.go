package winograd

import (
	"math/big"
	"math/bits"
)

// How far the algorithm may be off in floating-point arithmetic. A result of Y = Aᵀ[Σ_c (G g_c Gᵀ) ⊙ (Bᵀ d_c B)]A is a sum
// of monomials, coefficient·g·d. However the sums are ordered and factored, as long as no monomial enters and cancels
// that the matrices do not have, each monomial passes through at most Roundings roundings, every one a factor of 1+δ with
// |δ| ≤ u. So the result is off by at most γ_N times the sum of the monomials' absolute values,
//
//	|ŷ − y| ≤ γ_N · (|Aᵀ|[Σ_c (|G| |g_c| |Gᵀ|) ⊙ (|Bᵀ| |d_c| |B|)]|A|)
//
// element by element, and Magnitude is what γ_N is multiplied by (Higham, Accuracy and Stability, section 3.1, for γ_N).

// Roundings is N for sums over so many channels.
func (t *Transform) Roundings(channels int) int64 {
	n := int64(channels) // a product and channels−1 additions
	for _, rows := range [][][]*big.Rat{t.BT, t.G, t.AT} {
		n += 2 * passRoundings(rows) // for the rows and for the columns
	}
	return n
}

// passRoundings is the most roundings that a monomial meets in the product of a matrix with a vector: a row of k
// coefficients that are not 0 takes k−1 additions, a coefficient that is no power of two a multiplication, and one that
// is no f32 number was rounded itself.
func passRoundings(rows [][]*big.Rat) int64 {
	most := int64(0)
	for _, row := range rows {
		n, product, coefficient := int64(-1), int64(0), int64(0)
		for _, c := range row {
			if c.Sign() == 0 {
				continue
			}
			n++
			if !powerOfTwo(c.Num()) || !powerOfTwo(c.Denom()) {
				product = 1
			}
			if !powerOfTwo(c.Denom()) { // the numerators have few bits
				coefficient = 1
			}
		}
		most = max(most, n+product+coefficient)
	}
	return most
}

func powerOfTwo(n *big.Int) bool {
	v := n.Int64()
	return bits.OnesCount64(uint64(max(v, -v))) == 1
}

// Grain is a power of two that divides every intermediate result if g and d are integers, 0 if there is none: F(2×2, 3×3)
// computes with halves.
func (t *Transform) Grain() float64 {
	grain := 1.0
	for _, rows := range [][][]*big.Rat{t.BT, t.G, t.AT} {
		least := int64(1)
		for _, row := range rows {
			for _, c := range row {
				if !powerOfTwo(c.Denom()) {
					return 0
				}
				least = max(least, c.Denom().Int64())
			}
		}
		grain /= float64(least * least)
	}
	return grain
}

// Largest bounds what G g Gᵀ and Bᵀ d B can be where |g| and |d| are at most so large.
func (t *Transform) Largest(g, d float64) (u, v float64) {
	inG, inB := growth(t.abs[1]), growth(t.abs[2])
	return inG * inG * g, inB * inB * d
}

// Lost is how many smallest normal numbers a result may lose, beside its roundings, to a device that takes denormals for
// 0: each operation loses one at most, which the transforms then enlarge. u and v are those of Largest.
func (t *Transform) Lost(channels int, u, v float64) float64 {
	inG, inB, inA := loss(t.abs[1]), loss(t.abs[2]), loss(t.abs[0])
	gain := growth(t.abs[0])
	each := u*inB + v*inG + inG*inB + 2 // of a product, and of its addition
	return gain*gain*float64(channels)*each + inA
}

// growth is the largest sum of a row.
func growth(rows [][]float64) float64 {
	most := 0.0
	for _, row := range rows {
		sum := 0.0
		for _, c := range row {
			sum += c
		}
		most = max(most, sum)
	}
	return most
}

// loss is what the operations of two passes may lose: a multiplication and an addition for each coefficient, those of the
// first pass enlarged by the second.
func loss(rows [][]float64) float64 {
	return 2 * float64(len(rows[0])) * (1 + growth(rows))
}

// Weights is |G| |g| |Gᵀ| of a kernel g of R×R taps, in row-major order, T×T values.
func (t *Transform) Weights(to, g []float64) { sandwich(to, g, t.abs[1], R) }

// Cells is |Bᵀ| |d| |B| of a tile d of T×T cells.
func (t *Transform) Cells(to, d []float64) { sandwich(to, d, t.abs[2], t.T) }

// Results is |Aᵀ| x |A| of T×T sums of products: the Magnitude of a tile's M×M results.
func (t *Transform) Results(to, x []float64) { sandwich(to, x, t.abs[0], t.T) }

// sandwich is rows·|x|·rowsᵀ of a square x of n×n.
func sandwich(to, x []float64, rows [][]float64, n int) {
	var half [64]float64 // rows·|x|, a row of n for each
	for i, row := range rows {
		for j := range n {
			sum := 0.0
			for k, c := range row {
				if c != 0 {
					sum += c * abs(x[k*n+j])
				}
			}
			half[i*n+j] = sum
		}
	}
	m := len(rows)
	for i := range m {
		for j, row := range rows {
			sum := 0.0
			for k, c := range row {
				sum += c * half[i*n+k]
			}
			to[i*m+j] = sum
		}
	}
}

func abs(x float64) float64 {
	if x < 0 {
		return -x
	}
	return x
}
