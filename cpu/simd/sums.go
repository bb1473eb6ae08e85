package simd

// Shifted is a sum of shifted rows, such as a channel of a depthwise convolution with stride 1 makes of its padded plane:
//
//	dst[r·LDDst + x] (+)= Σ_p Wei[p] · src[Off[p] + r·LDSrc + x]      r < Rows, x < Cols
type Shifted struct {
	Wei          []float32
	Off          []int
	Rows, Cols   int
	LDSrc, LDDst int
	Add          bool
}

// Run computes the sums.
func (s *Shifted) Run(isa ISA, dst, src []float32) {
	if s.Rows == 0 || s.Cols == 0 {
		return
	}
	k := kernelsOf(isa)
	t := tiles.Get().(*tile)
	defer t.release()
	reach := 0
	for _, o := range s.Off {
		reach = max(reach, o)
	}
	t.a, t.off, t.k, t.ldb, t.ldc = s.Wei[:len(s.Off)], s.Off, len(s.Off), s.LDSrc, s.LDDst
	if s.Add {
		t.add = 1
	}
	widest := len(k.sum) * k.lanes
	for x := 0; x < s.Cols; x += widest {
		n := min(widest, s.Cols-x)
		var v int
		v, t.lanes = k.vectors(n)
		for r := 0; r < s.Rows; r += t.rows {
			f := k.sum[v-1][1]
			if t.rows = 4; r+4 > s.Rows {
				t.rows, f = 1, k.sum[v-1][0]
			}
			t.c = dst[r*s.LDDst+x:][:(t.rows-1)*s.LDDst+n]
			t.b = src[r*s.LDSrc+x:]
			_ = t.b[:reach+(t.rows-1)*s.LDSrc+n]
			f(t)
		}
	}
}
