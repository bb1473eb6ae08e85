package simd

// The transforms of winograd.go in Go, for any m.

func winogradGo(m Winograd) transforms {
	return transforms{
		src: func(t *tile) { winogradSrcGo(int(m), t) },
		dst: func(t *tile) { winogradDstGo(int(m), t) },
	}
}

func winogradSrcGo(m int, t *tile) {
	plane, n := t.off[1], m+2
	for c := range t.k {
		from := t.off[0] + c*t.off[2]
		for x := range t.lanes {
			var d, half [8][8]float32
			for i := range t.rows {
				row := &d[t.add+i]
				for j := range n {
					v, lane := (m*x+j)/lanesGo, (m*x+j)%lanesGo
					if lane >= t.off[3+2*v] && lane < t.off[4+2*v] {
						row[j] = t.b[from+i*t.ldb+m*x+j]
					}
				}
				transposedB(m, row)
			}
			for j := range n {
				column := &half[j]
				for i := range n {
					column[i] = d[i][j]
				}
				transposedB(m, column)
				for i, v := range column[:n] {
					t.c[(n*i+j)*plane+c*t.ldc+x] = v
				}
			}
		}
	}
}

// transposedB is Bᵀ d, in place.
func transposedB(m int, d *[8]float32) {
	switch m {
	case 2:
		*d = [8]float32{d[2] - d[0], d[2] + d[1], d[2] - d[1], d[3] - d[1]}
	case 4:
		even, odd := d[4]-4*d[2], d[3]-4*d[1]
		far, near := d[4]-d[2], 2*(d[3]-d[1])
		*d = [8]float32{4*d[0] + d[4] - 5*d[2], even + odd, even - odd, far + near, far - near, 4*d[1] + d[5] - 5*d[3]}
	default:
		even, odd := d[6]+d[2]-4.25*d[4], d[5]+d[1]-4.25*d[3]
		far, near := d[6]+0.25*d[2]-1.25*d[4], 2*(d[5]+0.25*d[1]-1.25*d[3])
		small, inner := d[6]+4*d[2]-5*d[4], 0.5*(d[5]+4*d[1]-5*d[3])
		*d = [8]float32{d[6] - d[0] + 5.25*d[2] - 5.25*d[4], even + odd, even - odd, far + near, far - near,
			small + inner, small - inner, d[7] - d[1] + 5.25*d[3] - 5.25*d[5]}
	}
}

func winogradDstGo(m int, t *tile) {
	plane, channel, cols, n := t.off[0], t.off[1], t.off[2], m+2
	for c := range t.lanes {
		mark := float32(0)
		for tile := range t.k {
			var half [8][8]float32
			for j := range n {
				var v [8]float32
				for i := range n {
					v[i] = t.b[(n*i+j)*plane+tile*t.ldb+c]
				}
				transposedA(m, &v)
				for y, e := range v[:m] {
					half[y][j] = e
				}
			}
			for y := range t.rows {
				transposedA(m, &half[y])
				for i, v := range half[y][:m] {
					mark += v * 0
					if x := m*tile + i; x < cols {
						t.c[c*channel+y*t.ldc+x] = limit(v+t.bias[c], t.limits[0], t.limits[1])
					}
				}
			}
		}
		t.a[c] = mark
	}
}

// transposedA is Aᵀ p, in place.
func transposedA(m int, p *[8]float32) {
	a, b := p[1]+p[2], p[1]-p[2]
	if m == 2 {
		*p = [8]float32{p[0] + a, b + p[3]}
		return
	}
	c, d := p[3]+p[4], p[3]-p[4]
	if m == 4 {
		*p = [8]float32{p[0] + a + c, b + 2*d, a + 4*c, b + 8*d + p[5]}
		return
	}
	e, f := p[5]+p[6], p[5]-p[6]
	*p = [8]float32{p[0] + a + c + e, b + 2*d + f/2, a + 4*c + e/4, b + 8*d + f/8, a + 16*c + e/16, b + p[7] + 32*d + f/32}
}
