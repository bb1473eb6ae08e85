package simd

import "math"

// Twiddles of the portable kernels, as in assembly: e^(2πi·j/64).
var fourierCos, fourierSin = func() (cos, sin [64]float32) {
	for j := range cos {
		s, c := math.Sincos(2 * math.Pi * float64(j) / 64)
		cos[j], sin[j] = float32(c), float32(s)
	}
	cos[16], cos[48], sin[32] = 0, 0, 0
	return cos, sin
}()

// fourierVector is an element of lines of as many tiles as a vector has lanes.
type fourierVector [lanesGo]float32

func (v *fourierVector) plus(x *fourierVector) (sum fourierVector) {
	for i := range sum {
		sum[i] = v[i] + x[i]
	}
	return sum
}

func (v *fourierVector) minus(x *fourierVector) (difference fourierVector) {
	for i := range difference {
		difference[i] = v[i] - x[i]
	}
	return difference
}

// fourierNumber is a complex one.
type fourierNumber struct{ re, im fourierVector }

func (x *fourierNumber) plus(y *fourierNumber) fourierNumber {
	return fourierNumber{x.re.plus(&y.re), x.im.plus(&y.im)}
}

func (x *fourierNumber) minus(y *fourierNumber) fourierNumber {
	return fourierNumber{x.re.minus(&y.re), x.im.minus(&y.im)}
}

// rotated is x·e^(−2πi·j/64), back the other way.
func (x fourierNumber) rotated(j int, back bool) fourierNumber {
	if j == 0 {
		return x
	}
	cos, sin := fourierCos[j], fourierSin[j]
	if back {
		sin = -sin
	}
	for i, re := range x.re {
		x.re[i], x.im[i] = re*cos+x.im[i]*sin, x.im[i]*cos-re*sin
	}
	return x
}

// fourier4 transforms four numbers.
func fourier4(x [4]fourierNumber, back bool) [4]fourierNumber {
	a, b, c, d := x[0].plus(&x[2]), x[0].minus(&x[2]), x[1].plus(&x[3]), x[1].minus(&x[3])
	if back {
		d.re, d.im = x[3].re.minus(&x[1].re), x[3].im.minus(&x[1].im)
	}
	turned := fourierNumber{re: d.im}
	for i, v := range d.re {
		turned.im[i] = -v
	}
	return [4]fourierNumber{a.plus(&c), b.plus(&turned), a.minus(&c), b.minus(&turned)}
}

// fourierComplex transforms x, which it uses up, to the order of complexOrder.
func fourierComplex(x []fourierNumber) {
	n := len(x)
	switch n {
	case 1:
		return
	case 2:
		x[0], x[1] = x[0].plus(&x[1]), x[0].minus(&x[1])
		return
	}
	q := n / 4
	for i := range q {
		for p, v := range fourier4([4]fourierNumber{x[i], x[i+q], x[i+2*q], x[i+3*q]}, false) {
			x[i+p*q] = v.rotated(i*p*64/n, false)
		}
	}
	for p := range 4 {
		fourierComplex(x[p*q:][:q])
	}
}

// fourierComplexBack is n times the inverse.
func fourierComplexBack(x []fourierNumber) {
	n := len(x)
	switch n {
	case 1:
		return
	case 2:
		x[0], x[1] = x[0].plus(&x[1]), x[0].minus(&x[1])
		return
	}
	q := n / 4
	for p := range 4 {
		fourierComplexBack(x[p*q:][:q])
	}
	for i := range q {
		var y [4]fourierNumber
		for p := range y {
			y[p] = x[i+p*q].rotated(i*p*64/n, true)
		}
		for p, v := range fourier4(y, true) {
			x[i+p*q] = v
		}
	}
}

// fourierReal transforms x, which it uses up, to the n/2+1 numbers of to, in the order of realOrder: see cpu/simd/gen.
func fourierReal(to []fourierNumber, x []fourierVector) {
	n := len(x)
	switch n {
	case 1:
		to[0] = fourierNumber{re: x[0]}
		return
	case 2:
		to[0], to[1] = fourierNumber{re: x[0].plus(&x[1])}, fourierNumber{re: x[0].minus(&x[1])}
		return
	}
	q := n / 4
	odd, even, rest := to[:q], to[q:q+max(1, q/2)], to[q+max(1, q/2):]
	for i := range q {
		a, b := x[i].plus(&x[i+2*q]), x[i].minus(&x[i+2*q])
		c, d := x[i+q].plus(&x[i+3*q]), x[i+3*q].minus(&x[i+q])
		odd[i] = fourierNumber{b, d}.rotated(i*64/n, false)
		x[i] = a.plus(&c)
		if 2*i < q {
			even[i].re = a.minus(&c)
		} else {
			even[i-q/2].im = c.minus(&a)
		}
	}
	if q == 1 {
		even[0].im = fourierVector{}
	}
	for i := range even {
		even[i] = even[i].rotated(2*i*64/n, false)
	}
	fourierComplex(odd)
	fourierComplex(even)
	fourierReal(rest, x[:q])
}

// fourierRealBack is its transpose.
func fourierRealBack(x []fourierVector, from []fourierNumber) {
	n := len(x)
	switch n {
	case 1:
		x[0] = from[0].re
		return
	case 2:
		x[0], x[1] = from[0].re.plus(&from[1].re), from[0].re.minus(&from[1].re)
		return
	}
	q := n / 4
	odd, even, rest := from[:q], from[q:q+max(1, q/2)], from[q+max(1, q/2):]
	fourierComplexBack(odd)
	fourierComplexBack(even)
	fourierRealBack(x[:q], rest)
	for i := range q {
		var a, c fourierVector
		if 2*i < q {
			half := even[i].rotated(2*i*64/n, true)
			a, c = x[i].plus(&half.re), x[i].minus(&half.re)
		} else {
			half := even[i-q/2].rotated(2*(i-q/2)*64/n, true)
			a, c = x[i].minus(&half.im), x[i].plus(&half.im)
		}
		z := odd[i].rotated(i*64/n, true)
		x[i], x[i+2*q] = a.plus(&z.re), a.minus(&z.re)
		x[i+q], x[i+3*q] = c.minus(&z.im), c.plus(&z.im)
	}
}

// fourierGo are the kernels of lines of n.
func fourierGo(n int) fourierKernels {
	order := realOrder(n)
	pitch := (n + 1) * lanesGo
	vector := func(v []float32) *fourierVector { return (*fourierVector)(v) }
	// Where a row has the number k of its transform.
	slots := func(k int) (re, im int) { return min(k, n-k) * lanesGo, max(k, n-k) * lanesGo }
	return fourierKernels{load: fourierLoadGo, store: fourierStoreGo,
		rows: func(t *tile) {
			var x [64]fourierVector
			var to [33]fourierNumber
			for y := range t.k {
				row := t.b[y*pitch:]
				for i := range n {
					x[i] = *vector(row[i*lanesGo:])
				}
				fourierReal(to[:n/2+1], x[:n])
				for i, k := range order {
					re, im := slots(k)
					*vector(row[re:]) = to[i].re
					if k%(n/2) != 0 {
						*vector(row[im:]) = to[i].im
					}
				}
			}
		},
		rowsBack: func(t *tile) {
			var x [64]fourierVector
			var from [33]fourierNumber
			for y := range t.k {
				row := t.b[y*pitch:]
				for i, k := range order {
					re, im := slots(k)
					if from[i].re = *vector(row[re:]); k%(n/2) != 0 {
						from[i].im = *vector(row[im:])
					}
				}
				fourierRealBack(x[:n], from[:n/2+1])
				for i := range n {
					*vector(row[i*lanesGo:]) = x[i]
				}
			}
		},
		real: func(t *tile) {
			var x [64]fourierVector
			var to [33]fourierNumber
			for c := range t.k {
				for i := range n {
					x[i] = *vector(t.b[i*pitch+c*n/2*lanesGo:])
				}
				fourierReal(to[:n/2+1], x[:n])
				fourierPut(t, c*(n/2+1), to[:n/2+1])
			}
		},
		realBack: func(t *tile) {
			var x [64]fourierVector
			var from [33]fourierNumber
			for c := range t.k {
				fourierTake(t, c*(n/2+1), from[:n/2+1])
				fourierRealBack(x[:n], from[:n/2+1])
				for i := range n {
					*vector(t.b[i*pitch+c*n/2*lanesGo:]) = x[i]
				}
			}
		},
		columns: func(t *tile) {
			var x [64]fourierNumber
			for c := range t.k {
				for i := range n {
					x[i].re, x[i].im = *vector(t.b[i*pitch+c*lanesGo:]), *vector(t.b[i*pitch+(n-2-c)*lanesGo:])
				}
				fourierComplex(x[:n])
				fourierPut(t, c*n, x[:n])
			}
		},
		columnsBack: func(t *tile) {
			var x [64]fourierNumber
			for c := range t.k {
				fourierTake(t, c*n, x[:n])
				fourierComplexBack(x[:n])
				for i := range n {
					*vector(t.b[i*pitch+c*lanesGo:]), *vector(t.b[i*pitch+(n-2-c)*lanesGo:]) = x[i].re, x[i].im
				}
			}
		},
	}
}

// fourierPut stores bins from the first on.
func fourierPut(t *tile, first int, x []fourierNumber) {
	for i := range x {
		to := t.c[(first+i)*t.ldb:]
		*(*fourierVector)(to), *(*fourierVector)(to[t.ldc:]) = x[i].re, x[i].im
	}
}

// fourierTake is the way back.
func fourierTake(t *tile, first int, x []fourierNumber) {
	for i := range x {
		from := t.c[(first+i)*t.ldb:]
		x[i].re, x[i].im = *(*fourierVector)(from), *(*fourierVector)(from[t.ldc:])
	}
}

func fourierLoadGo(t *tile) {
	for r := range t.k {
		for i, off := range t.off {
			for x, v := range t.b[off+r*t.ldb:][:lanesGo] {
				t.c[r*t.ldc+x*lanesGo+i] = v
			}
		}
	}
}

func fourierStoreGo(t *tile) {
	for i := range t.lanes {
		for r := range t.rows {
			for x := range t.off[1] {
				v := t.b[r*t.ldb+x*lanesGo+i]
				t.a[i] += v * 0
				t.c[i*t.off[0]+r*t.ldc+x] = limit(v+t.bias[i], t.limits[0], t.limits[1])
			}
		}
	}
}

// fourierProductGo is of one tile and one vector.
func fourierProductGo(t *tile) {
	var r0, r1, r2, r3, i0, i1, i2, i3 float32
	b := t.b
	for _, off := range t.off[:t.k] {
		w, x, y := (*[8]float32)(b), t.a[off], t.a[off+t.lda]
		b = b[8:]
		r0 += w[0]*x - w[4]*y
		r1 += w[1]*x - w[5]*y
		r2 += w[2]*x - w[6]*y
		r3 += w[3]*x - w[7]*y
		i0 += w[0]*y + w[4]*x
		i1 += w[1]*y + w[5]*x
		i2 += w[2]*y + w[6]*x
		i3 += w[3]*y + w[7]*x
	}
	*(*[4]float32)(t.c) = [4]float32{r0, r1, r2, r3}
	*(*[4]float32)(t.c[t.plane:]) = [4]float32{i0, i1, i2, i3}
}
