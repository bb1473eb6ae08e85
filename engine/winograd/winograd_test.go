package winograd

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// product is a·x over the rationals.
func product(a, x [][]*big.Rat) [][]*big.Rat {
	y := zeros(len(a), len(x[0]))
	for i := range a {
		for j := range x[0] {
			for k, c := range a[i] {
				y[i][j].Add(y[i][j], new(big.Rat).Mul(c, x[k][j]))
			}
		}
	}
	return y
}

func transposed(a [][]*big.Rat) [][]*big.Rat {
	y := zeros(len(a[0]), len(a))
	for i := range a {
		for j, c := range a[i] {
			y[j][i].Set(c)
		}
	}
	return y
}

// unit is the vector that has a 1 at i.
func unit(n, i int) [][]*big.Rat {
	v := zeros(n, 1)
	v[i][0].SetInt64(1)
	return v
}

// identity reports the first monomial of Aᵀ[(G g) ⊙ (Bᵀ d)] that is not that of a correlation: the products are bilinear,
// so the units decide.
func identity(t *Transform) (result, tap, cell int, ok bool) {
	for k := range R {
		g := product(t.G, unit(R, k))
		for j := range t.T {
			v := product(t.BT, unit(t.T, j))
			for x := range v {
				v[x][0].Mul(v[x][0], g[x][0])
			}
			for i, y := range product(t.AT, v) {
				want := int64(0)
				if j == i+k {
					want = 1
				}
				if y[0].Cmp(big.NewRat(want, 1)) != 0 {
					return i, k, j, false
				}
			}
		}
	}
	return 0, 0, 0, true
}

func TestIdentity(t *testing.T) {
	for _, m := range Sizes {
		f, err := New(m)
		if err != nil {
			t.Fatal(err)
		}
		if i, k, j, ok := identity(f); !ok {
			t.Errorf("F(%d, 3): result %d has the wrong share of tap %d and cell %d", m, i, k, j)
		}
	}
	if _, err := New(3); err == nil {
		t.Error("there is an F(3, 3)")
	}
}

// A wrong coefficient anywhere breaks the identity.
func TestIdentityFindsFaults(t *testing.T) {
	for _, m := range Sizes {
		for which := range 3 {
			for range 20 {
				f := build(m)
				rows := [][][]*big.Rat{f.AT, f.G, f.BT}[which]
				row := rows[rand.IntN(len(rows))]
				c := row[rand.IntN(len(row))]
				c.Add(c, big.NewRat(1, 64))
				if _, _, _, ok := identity(f); ok {
					t.Errorf("F(%d, 3) with a wrong coefficient of matrix %d computes correlations", m, which)
				}
			}
		}
	}
}

// In two dimensions, too, in rational arithmetic, on random integers.
func TestTile(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, m := range Sizes {
		f, _ := New(m)
		d, g := zeros(f.T, f.T), zeros(R, R)
		for _, rows := range [][][]*big.Rat{d, g} {
			for _, row := range rows {
				for _, c := range row {
					c.SetInt64(rnd.Int64N(201) - 100)
				}
			}
		}
		u := product(product(f.G, g), transposed(f.G))
		v := product(product(f.BT, d), transposed(f.BT))
		for i := range v {
			for j := range v {
				v[i][j].Mul(v[i][j], u[i][j])
			}
		}
		y := product(product(f.AT, v), transposed(f.AT))
		for i := range y {
			for j := range y {
				want := new(big.Rat)
				for a := range R {
					for b := range R {
						want.Add(want, new(big.Rat).Mul(d[i+a][j+b], g[a][b]))
					}
				}
				if y[i][j].Cmp(want) != 0 {
					t.Fatalf("F(%d×%[1]d, 3×3): result %d, %d is %v, not %v", m, i, j, y[i][j], want)
				}
			}
		}
	}
}

// What the bound counts: 2·(1 + 2 + 2) + 1 − 1 roundings of one channel by F(2×2, 3×3), and so on.
func TestRoundings(t *testing.T) {
	for m, want := range map[int]int64{2: 2*(1+2+2) + 64, 4: 2*(3+4+4) + 64, 6: 2*(6+4+6) + 64} {
		f, _ := New(m)
		if got := f.Roundings(64); got != want {
			t.Errorf("F(%d, 3) takes %d roundings of 64 channels, not %d", m, got, want)
		}
		if got, want := f.Grain(), map[int]float64{2: 0.25}[m]; got != want {
			t.Errorf("F(%d, 3) has the grain %v, not %v", m, got, want)
		}
	}
}

// compute is F(m×m, 3×3) of one tile in f32, by plain loops over the matrices; spoil is added to one coefficient of Bᵀ.
func compute(f *Transform, d, g [][]float32, spoil float32) []float32 {
	dense := func(rows [][]*big.Rat) [][]float32 {
		a := make([][]float32, len(rows))
		for i, row := range rows {
			for _, c := range row {
				v, _ := c.Float32()
				a[i] = append(a[i], v)
			}
		}
		return a
	}
	at, gm, bt := dense(f.AT), dense(f.G), dense(f.BT)
	bt[1][1] += spoil
	pass := func(rows [][]float32, x []float32, n int) []float32 { // (rows · x · rowsᵀ)
		half := make([]float32, len(rows)*n)
		for i := range rows {
			for j := range n {
				for k := range n {
					half[i*n+j] += rows[i][k] * x[k*n+j]
				}
			}
		}
		y := make([]float32, len(rows)*len(rows))
		for i := range rows {
			for j := range rows {
				for k := range n {
					y[i*len(rows)+j] += rows[j][k] * half[i*n+k]
				}
			}
		}
		return y
	}
	sum := make([]float32, f.T*f.T)
	for c := range d {
		u, v := pass(gm, g[c], R), pass(bt, d[c], f.T)
		for i := range sum {
			sum[i] += u[i] * v[i]
		}
	}
	return pass(at, sum, f.T)
}

// share is the largest share of the bound that an error of compute takes.
func share(f *Transform, d, g [][]float32, spoil float32) float64 {
	magnitudes, sums := make([]float64, f.M*f.M), make([]float64, f.T*f.T)
	u, v := make([]float64, f.T*f.T), make([]float64, f.T*f.T)
	wide := func(x []float32) []float64 {
		y := make([]float64, len(x))
		for i := range x {
			y[i] = float64(x[i])
		}
		return y
	}
	for c := range d {
		f.Weights(u, wide(g[c]))
		f.Cells(v, wide(d[c]))
		for i := range sums {
			sums[i] += u[i] * v[i]
		}
	}
	f.Results(magnitudes, sums)
	n := float64(f.Roundings(len(d))) * 0x1p-24
	most := 0.0
	for i, got := range compute(f, d, g, spoil) {
		want := 0.0
		for c := range d {
			for k := range R * R {
				want += float64(d[c][(i/f.M+k/R)*f.T+i%f.M+k%R]) * float64(g[c][k])
			}
		}
		most = max(most, math.Abs(float64(got)-want)/(n/(1-n)*magnitudes[i]+1e-36))
	}
	return most
}

// The bound holds, for random and for adverse numbers, and it is not so wide that a wrong coefficient hides in it.
func TestBound(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	fills := map[string]func(i int) float32{
		"uniform":     func(int) float32 { return 2*rnd.Float32() - 1 },
		"positive":    func(int) float32 { return 1 + rnd.Float32() },
		"cancelling":  func(i int) float32 { return float32(1-2*(i%2)) * (1 + 0x1p-12*rnd.Float32()) },
		"wide":        func(int) float32 { return float32(math.Ldexp(rnd.Float64()-0.5, rnd.IntN(40)-20)) },
		"small whole": func(int) float32 { return float32(rnd.IntN(7) - 3) },
	}
	for _, m := range Sizes {
		f, _ := New(m)
		for name, fill := range fills {
			used := 0.0
			for trial := range 60 {
				channels := 1 + trial%64
				d, g := make([][]float32, channels), make([][]float32, channels)
				for c := range d {
					for i := range f.T * f.T {
						d[c] = append(d[c], fill(i))
					}
					for i := range R * R {
						g[c] = append(g[c], fill(i))
					}
				}
				used = max(used, share(f, d, g, 0))
				if name != "wide" && share(f, d, g, 0.25) < 1 {
					t.Errorf("F(%d×%[1]d, 3×3), %s, %d channels: a coefficient off by 1/4 is within the bound", m, name, channels)
				}
			}
			t.Logf("F(%d×%[1]d, 3×3), %s: errors take %.3g of the bound", m, name, used)
			if used > 1 {
				t.Errorf("F(%d×%[1]d, 3×3), %s: an error is %.3g times the bound", m, name, used)
			}
		}
	}
}

// The operations are those of cpu/simd's transforms, counted by hand. Lavin and Gray have 32 and 24 for F(2×2, 3×3).
func TestOperations(t *testing.T) {
	for m, want := range map[int][2]int{
		2: {2 * 4 * 4, (4 + 2) * 4},
		4: {2 * 6 * 19, (6 + 4) * 13},
		6: {2 * 8 * 40, (8 + 6) * 30},
	} {
		f, err := New(m)
		if err != nil {
			t.Fatal(err)
		}
		if source, result := f.Operations(); source != want[0] || result != want[1] {
			t.Errorf("F(%d×%[1]d, 3×3): %d and %d operations, not %v", m, source, result, want)
		}
	}
}
