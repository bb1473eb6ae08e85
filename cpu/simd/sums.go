package simd

import "math"

// Shifted is a combination of shifted rows. The sum is what a channel of a depthwise convolution of stride 1 makes of its
// padded plane, the greatest what max pooling does:
//
//	dst[r·LDDst + x] (+)= Σ_p Wei[p] · src[Off[p] + r·LDSrc + s·x]      r < Rows, x < Cols
//	dst[r·LDDst + x] = max_p src[Off[p] + r·LDSrc + s·x]
//
// with s = 1 or, if Even is set, 2.
type Shifted struct {
	Wei          []float32
	Off          []int
	Rows, Cols   int
	LDSrc, LDDst int
	Add          bool
	Even         bool
	Far          bool // src is in no cache: the next row's is fetched ahead
}

// Sum computes the sums.
func (s *Shifted) Sum(isa ISA, dst, src []float32) {
	t := tiles.Get().(*tile)
	defer t.release()
	t.a = s.Wei[:len(s.Off)]
	if s.Add {
		t.add = 1
	}
	k := kernelsOf(isa)
	s.run(t, k, k.sum, k.sumEven, dst, src)
}

// Max computes the greatest, of at least one offset: NaN if one is NaN, else the first of equals.
func (s *Shifted) Max(isa ISA, dst, src []float32) {
	if len(s.Off) == 0 {
		panic("simd: the greatest of no rows")
	}
	t := tiles.Get().(*tile)
	defer t.release()
	k := kernelsOf(isa)
	s.run(t, k, k.most, k.mostEven, dst, src)
}

// run calls the kernels for blocks of 4 rows and single ones.
func (s *Shifted) run(t *tile, k *kernels, kernels [][2]kernel, even []kernel, dst, src []float32) {
	if s.Rows == 0 || s.Cols == 0 {
		return
	}
	step := 1
	if s.Even {
		step = 2
	}
	far := max(1, reach(s.Off, 1)) - 1
	t.off, t.k, t.ldb, t.ldc = s.Off, len(s.Off), s.LDSrc, s.LDDst
	widest := len(kernels) * k.lanes
	for r := 0; r < s.Rows; r += t.rows {
		block := 1
		if t.rows = 4; s.Even || r+4 > s.Rows {
			t.rows, block = 1, 0
		}
		for x := 0; x < s.Cols; x += widest {
			n := min(widest, s.Cols-x)
			var v int
			v, t.lanes = k.vectors(n)
			t.c = dst[r*s.LDDst+x:][:(t.rows-1)*s.LDDst+n]
			t.b = src[r*s.LDSrc+step*x:]
			_ = t.b[:far+(t.rows-1)*s.LDSrc+step*(n-1)+1]
			if s.Even {
				if s.Far {
					t.next = src[:1]
				}
				even[v-1](t)
			} else {
				kernels[v-1][block](t)
			}
		}
	}
}

// None is what Firsts says where all are −∞.
const None = math.MinInt32

// Firsts says which of shifted rows is the greatest at each of len(dst) positions: the first of equals, the last NaN before all,
// None where all are −∞. Row p is at src[from[2p]:], and called from[2p+1], which has 32 bits.
func Firsts(isa ISA, dst []int32, src []float32, from []int) {
	far := 0
	for p := 0; p < len(from); p += 2 {
		far = max(far, from[p])
		_ = src[from[p]:]
	}
	if len(dst) == 0 {
		return
	}
	if len(from) == 0 {
		panic("simd: the greatest of no rows")
	}
	k := kernelsOf(isa)
	t := tiles.Get().(*tile)
	defer t.release()
	t.off, t.k = from, len(from)/2
	widest := len(k.first) * k.lanes
	for x := 0; x < len(dst); x += widest {
		n := min(widest, len(dst)-x)
		var v int
		v, t.lanes = k.vectors(n)
		t.c, t.b = Words(dst[x:][:n]), src[x:]
		_ = t.b[:far+n]
		k.first[v-1](t)
	}
}
