package simd

import "math"

// The portable passes. byLane is whether a parameter goes by lane or by row.

// eachGo calls f for the rows of c, as wide as they are.
func eachGo(t *tile, f func(r int, row []float32)) {
	n := len(t.c) - (t.k-1)*t.ldc
	for r := range t.k {
		f(r, t.c[r*t.ldc:][:n])
	}
}

func biasGo(byLane bool) kernel {
	return func(t *tile) {
		eachGo(t, func(r int, row []float32) {
			for x := range row {
				row[x] += t.a[pick(byLane, r, x)]
			}
		})
	}
}

func pick(byLane bool, r, x int) int {
	if byLane {
		return x
	}
	return r
}

func scaleGo(byLane bool) kernel {
	return func(t *tile) {
		eachGo(t, func(r int, row []float32) {
			for x, v := range row {
				i := pick(byLane, r, x)
				row[x] = float32(v*t.a[i]) + t.b[i]
			}
		})
	}
}

func divideGo(byLane bool) kernel {
	return func(t *tile) {
		eachGo(t, func(r int, row []float32) {
			for x := range row {
				row[x] /= t.a[pick(byLane, r, x)]
			}
		})
	}
}

func leakGo(byLane bool) kernel {
	return func(t *tile) {
		eachGo(t, func(r int, row []float32) {
			for x, v := range row {
				if v < 0 {
					row[x] = v * t.a[pick(byLane, r, x)]
				}
			}
		})
	}
}

func clipGo(t *tile) {
	lo, hi := t.a[0], t.a[1]
	eachGo(t, func(_ int, row []float32) {
		for x, v := range row {
			row[x] = limit(v, lo, hi)
		}
	})
}

func quantizeGo(t *tile) {
	const small, whole = 1 << 21, 3 << 22 // as in gen
	eachGo(t, func(r int, row []float32) {
		scale, zero := t.a[r], t.b[r]
		for x, v := range Ints(row) {
			f := limit(float32(float32(v)*scale), -small, small)
			row[x] = limit(float32(float32(f+whole)-whole)+zero, t.limits[0], t.limits[1])
		}
	})
}

func raiseGo(t *tile) {
	by := Ints(t.a)
	eachGo(t, func(r int, row []float32) {
		sums := Ints(row)
		for x := range sums {
			sums[x] += by[r]
		}
	})
}

func integralGo(t *tile) {
	eachGo(t, func(_ int, row []float32) {
		whole := Ints(row)
		for x, v := range row {
			whole[x] = int32(v)
		}
	})
}

func dequantizeGo(t *tile) {
	eachGo(t, func(r int, row []float32) {
		for x, v := range Ints(row) {
			row[x] = float32(v) * t.a[r]
		}
	})
}

func residualGo(t *tile) {
	eachGo(t, func(r int, row []float32) {
		for x, v := range t.b[r*t.ldb:][:len(row)] {
			row[x] += v
		}
	})
}

// sumGo is one row of sums.
func sumGo(t *tile) {
	row := t.c[:len(t.c)-(t.rows-1)*t.ldc]
	if t.add == 0 {
		clear(row)
	}
	for p, off := range t.off {
		w := t.a[p]
		for x, v := range t.b[off:][:len(row)] {
			row[x] += float32(w * v)
		}
	}
}

// sumGo4 is four.
func sumGo4(t *tile) { fourGo(t, sumGo) }

// fourGo runs a kernel of one row on four.
func fourGo(t *tile, f kernel) {
	one := *t
	one.rows = 1
	n := len(t.c) - 3*t.ldc
	for r := range 4 {
		one.c, one.b = t.c[r*t.ldc:][:n], t.b[r*t.ldb:]
		f(&one)
	}
}

// mostGo is the greatest of shifted rows, one row.
func mostGo(t *tile) {
	row := t.c[:len(t.c)-(t.rows-1)*t.ldc]
	copy(row, t.b[t.off[0]:])
	for _, off := range t.off[1:] {
		for x, v := range t.b[off:][:len(row)] {
			if v > row[x] || v != v {
				row[x] = v
			}
		}
	}
}

// sumEvenGo and mostEvenGo are of every other element.
func sumEvenGo(t *tile) {
	if t.add == 0 {
		clear(t.c)
	}
	for p, off := range t.off {
		w, row := t.a[p], t.b[off:][:2*len(t.c)-1]
		for x := range t.c {
			t.c[x] += float32(w * row[2*x])
		}
	}
}

func mostEvenGo(t *tile) {
	for p, off := range t.off {
		row := t.b[off:][:2*len(t.c)-1]
		for x := range t.c {
			if v := row[2*x]; p == 0 || v > t.c[x] || v != v {
				t.c[x] = v
			}
		}
	}
}

// mostGo4 is four.
func mostGo4(t *tile) { fourGo(t, mostGo) }

// firstGo says which of shifted rows is the greatest.
func firstGo(t *tile) {
	which := Ints(t.c)
	for x := range which {
		best, at := float32(math.Inf(-1)), math.MinInt32
		for p := range t.k {
			if v := t.b[t.off[2*p]+x]; v > best || v != v {
				best, at = v, t.off[2*p+1]
			}
		}
		which[x] = int32(at)
	}
}

// dotGo is one row of a with one of b.
func dotGo(t *tile) {
	n := t.rows*lanesGo + t.lanes
	for r := range t.k {
		t.c[0] += Dot(t.a[r*t.lda:][:n], t.b[t.off[0]+r*t.ldb:][:n])
	}
}
