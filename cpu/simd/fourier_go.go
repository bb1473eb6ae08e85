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

// fourierGo is the kernel of one line of n.
func fourierGo(n int) kernel {
	return func(t *tile) {
		var re, im, toRe, toIm [64]float32
		for lane := range lanesGo {
			for i := range n {
				re[i], im[i] = t.b[i*t.ldb+lane], t.c[i*t.ldb+lane]
			}
			fourierLine(re[:n], im[:n], toRe[:n], toIm[:n], 1)
			for i := range n {
				t.b[i*t.ldb+lane], t.c[i*t.ldb+lane] = toRe[i], toIm[i]
			}
		}
	}
}

// fourierLine writes the transform of a line, which it uses up, to elements of to that are step apart.
func fourierLine(re, im, toRe, toIm []float32, step int) {
	n := len(re)
	if n == 2 {
		toRe[0], toIm[0] = re[0]+re[1], im[0]+im[1]
		toRe[step], toIm[step] = re[0]-re[1], im[0]-im[1]
		return
	}
	q := n / 4
	for i := range q {
		ar, ai, br, bi := re[i]+re[i+2*q], im[i]+im[i+2*q], re[i]-re[i+2*q], im[i]-im[i+2*q]
		cr, ci, dr, di := re[i+q]+re[i+3*q], im[i+q]+im[i+3*q], re[i+q]-re[i+3*q], im[i+q]-im[i+3*q]
		for p, v := range [4][2]float32{{ar + cr, ai + ci}, {br + di, bi - dr}, {ar - cr, ai - ci}, {br - di, bi + dr}} {
			if j := i * p * 64 / n; j != 0 {
				cos, sin := fourierCos[j], fourierSin[j]
				v = [2]float32{v[0]*cos + v[1]*sin, v[1]*cos - v[0]*sin}
			}
			re[i+p*q], im[i+p*q] = v[0], v[1]
		}
	}
	for p := range 4 {
		if q == 1 {
			toRe[p*step], toIm[p*step] = re[p], im[p]
			continue
		}
		fourierLine(re[p*q:][:q], im[p*q:][:q], toRe[p*step:], toIm[p*step:], 4*step)
	}
}

func fourierPartGo(t *tile) {
	n := t.lanes
	for lane := range lanesGo {
		for _, i := range []int{0, n / 2} {
			t.b[i*t.ldb+lane] *= 2
			t.c[i*t.ldb+lane] *= 2
		}
		for i := 1; i < n/2; i++ {
			near, far := i*t.ldb+lane, (n-i)*t.ldb+lane
			ar, ai, br, bi := t.b[near], t.c[near], t.b[far], t.c[far]
			t.b[near], t.b[far], t.c[near], t.c[far] = ar+br, ai-bi, ai+bi, br-ar
		}
	}
}

func fourierJoinGo(t *tile) {
	n := t.lanes
	for lane := range lanesGo {
		for i := 1; i < n/2; i++ {
			near, far := i*t.ldb+lane, (n-i)*t.ldb+lane
			ar, ai, br, bi := t.b[near], t.b[far], t.c[near], t.c[far]
			t.b[near], t.b[far], t.c[near], t.c[far] = ar-bi, ar+bi, ai+br, br-ai
		}
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

func fourierBinsGo(t *tile) {
	for i := range t.k {
		re, im := t.b[t.off[2*i]:][:t.lanes], t.b[t.off[2*i+1]:][:t.lanes]
		to := t.c[i*t.ldb:]
		for lane, v := range im {
			to[lane], to[t.ldc+lane], to[2*t.ldc+lane] = v, re[lane], -v
		}
	}
}

func fourierSumsGo(t *tile) {
	for i := range t.k {
		from := t.b[i*t.ldb:]
		copy(t.a[t.off[2*i]:][:lanesGo], from)
		copy(t.a[t.off[2*i+1]:][:lanesGo], from[t.ldc:])
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
