package simd

import "math"

var pairsPortable = kernels{
	isa: Portable, lanes: 4,
	gemm: [][]kernel{{pairsGo, pairsGo}},
	turn: transposeGo,
	join: joinGo,
}

// halves of an element.
func halves(word float32) (lower, upper int32) {
	bits := math.Float32bits(word)
	return int32(int16(bits)), int32(int16(bits >> 16))
}

// pairsGo is the micro-kernel of up to 2×4.
func pairsGo(t *tile) {
	var acc [2][4]int32
	for p, off := range t.off[:t.k] {
		b := t.b[off:][:t.lanes]
		for r, w := range t.a[p*t.rows:][:t.rows] {
			lower, upper := halves(w)
			for x, v := range b {
				l, u := halves(v)
				acc[r][x] += lower*l + upper*u
			}
		}
	}
	for r := range t.rows {
		c := Ints(t.c[r*t.ldc:][:t.lanes])
		for x := range c {
			if t.add != 0 {
				c[x] += acc[r][x]
			} else {
				c[x] = acc[r][x]
			}
		}
	}
}

func joinGo(t *tile) {
	n := len(t.c) - (t.k-1)*t.ldc
	for p := range t.k {
		lower, upper := t.halves[t.off[2*p]:][:n], t.halves[t.off[2*p+1]:][:n]
		row := Ints(t.c[p*t.ldc:][:n])
		for x := range row {
			row[x] = Pair(lower[x], upper[x])
		}
	}
}
