package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of simd.strip, which simd's tests compare with the compiler's.
const (
	stripSrc   = 0
	stripDst   = 8
	stripWei   = 16
	stripDiv   = 24
	stripMasks = 32
	stripStart = 40
	stripRow   = 48
	stripEnd   = 56
	stripSteps = 64
	stripSkip  = 72
	stripLdSrc = 80
	stripLdDst = 88
	stripDone  = 96
	stripBias  = 104
	stripLimit = 108
	stripAhead = 120
	stripPast  = 128
	stripMore  = 136
	// of fours
	stripFrom     = 144
	stripSrcPlane = 152
	stripDstPlane = 160
	stripBiases   = 168
)

// masksStored is where the masks of 256 bits say how many lanes of the last vector are stored.
const masksStored = 32

// registers of the kernels of windows.
var (
	winStrip = reg.RDI
	winWei   = reg.RSI
	winAt    = reg.RDX // the current row, from the strip's first column on; it need not exist
	winSteps = reg.RCX
	winMasks = reg.R8
	winDst   = reg.R9
	winLdDst = reg.R10
	winRow   = reg.R11 // the number of the current row
	winLdSrc = reg.R12
	winDiv   = reg.R13
	winEnd   = reg.RBX
)

// window is a kernel of windows that move over a plane: rows of results one after the other, of some vectors of columns.
//
//	weigh: dst[y, x] = Σ_{i,j} wei[i, j] · src[s·y + i, s·x + j]      sum: the same without weights, divided by div[y, x]
//	most:  dst[y, x] = max_{i,j} src[s·y + i, s·x + j]
//	grad:  wei[i, j] += Σ_{y,x} dst[y, x] · src[s·y + i, s·x + j]
//
// Each row of the source is loaded once: it goes to all results that it is a part of, which stay in registers meanwhile.
// Rows that do not exist are left out, columns that do not exist masked. For grad, whose sums stay in registers to the end,
// it is the rows of dst that stay for all rows of the source that they are multiplied with.
type window struct {
	kind       string
	kh, kw     int
	stride     int
	wide, thin int // most vectors, of 512 bits and of 256
}

var windows = []window{
	{"weigh", 3, 3, 1, 4, 3}, {"weigh", 5, 5, 1, 4, 2}, {"weigh", 7, 7, 1, 3, 1},
	{"weigh", 3, 3, 2, 4, 3}, {"weigh", 5, 5, 2, 4, 2},
	{"grad", 3, 3, 1, 4, 1}, {"grad", 3, 3, 2, 4, 1}, {"grad", 5, 5, 1, 1, 0},
	{"sum", 3, 3, 1, 4, 3}, {"sum", 3, 3, 2, 4, 3}, {"sum", 2, 2, 2, 4, 3},
	{"most", 3, 3, 1, 4, 3}, {"most", 3, 3, 2, 4, 3}, {"most", 2, 2, 2, 4, 3},
}

// slides writes the kernels of windows, and the means of rows.
func slides(a asm) {
	a.laneLists()
	for _, s := range []isa{isa512, isa256} {
		for _, w := range windows {
			most := w.wide
			if s.bits == 256 {
				most = w.thin
			}
			for nv := 1; nv <= most; nv++ {
				a.slide(s, w, nv, false)
			}
			if most > 0 && w.kind != "grad" {
				a.slide(s, w, most, true)
			}
		}
		a.fours(s, map[int]int{512: 2, 256: 1}[s.bits])
		a.rowMeans(s)
	}
	a.Function("storeFence")
	a.Attributes(attr.NOSPLIT)
	a.SignatureExpr("func()")
	a.Doc("storeFence has stores past the caches seen before later ones.")
	a.SFENCE()
	a.RET()
}

// slide is a kernel of windows while it is written.
type slide struct {
	asm
	isa
	window
	nv   int
	all  bool // all columns exist, and those of the strips to the right that follow
	live int  // rows of results that a row of the source can be a part of
	free int  // the first vector register that is not used
	// Vector registers: single ones, and lists of nv.
	even, odd, low, w, mask, nan, x, y, h int
	xs, odds                              int
	weights                               int // all of them, if they stay in registers
}

func (k *slide) take(n int) int { k.free += n; return k.free - n }

func (k *slide) acc(m, v int) reg.VecPhysical { return k.vec(m*k.nv + v) }

func (a asm) stripFunc(name, doc string) {
	a.Function(name)
	a.Attributes(attr.NOSPLIT)
	a.Pragma("noescape")
	a.Signature(takes("strip"))
	a.Doc(doc)
	a.Load(a.Param("t"), winStrip)
}

func (a asm) slide(s isa, w window, nv int, all bool) {
	k := &slide{asm: a, isa: s, window: w, nv: nv, all: all, live: (w.kh + w.stride - 1) / w.stride, weights: -1}
	name := fmt.Sprintf("%s%d%dx%dx%d", w.kind, s.bits, w.kh, w.stride, nv)
	lanes := fmt.Sprintf("on up to %d lanes", nv*s.lanes)
	if all {
		name, lanes = name+"all", fmt.Sprintf("on %d lanes of each strip", nv*s.lanes)
	}
	a.stripFunc(name, fmt.Sprintf("%s is windows of %d×%d, stride %d, %s.", name, w.kh, w.kw, w.stride, lanes))
	k.loadFields(stripField{winWei, stripWei}, stripField{winMasks, stripMasks}, stripField{winEnd, stripEnd},
		stripField{winLdSrc, stripLdSrc}, stripField{winLdDst, stripLdDst})
	k.registers()
	if s.bits == 256 && k.free > 16 || k.free > 32 {
		panic(name + " needs more registers than there are")
	}
	a.Label("strip")
	k.loadFields(stripField{winAt, stripSrc}, stripField{winDst, stripDst}, stripField{winDiv, stripDiv}, stripField{winRow, stripRow},
		stripField{winSteps, stripSteps})
	a.ADDQ(at(winStrip, stripStart), winAt)
	for m := range k.live {
		k.clear(m)
	}
	a.align()
	a.Label("loop")
	if w.kind == "grad" {
		k.loadRow()
	}
	for phase := range w.stride {
		skip := fmt.Sprintf("skip%d", phase)
		a.CMPQ(winRow, winEnd)
		a.JAE(operand.LabelRef(skip))
		k.ahead(phase)
		if w.kind == "weigh" || w.kind == "grad" {
			k.weighRow(phase)
		} else {
			k.foldRow(phase)
		}
		a.Label(skip)
		a.INCQ(winRow)
		a.ADDQ(winLdSrc, winAt)
	}
	if w.kind != "grad" {
		a.SUBQ(operand.Imm(1), at(winStrip, stripSkip))
		a.JGE(operand.LabelRef("next"))
		k.finish()
		k.store()
		a.Label("next")
	}
	for m := k.live - 1; m > 0; m-- {
		for v := range nv {
			a.VMOVAPS(k.acc(m-1, v), k.acc(m, v))
		}
	}
	k.clear(0)
	a.DECQ(winSteps)
	a.JNZ(operand.LabelRef("loop"))
	if w.kind == "grad" {
		k.addWeights()
	}
	if k.all {
		k.nextStrip()
	}
	a.VZEROUPPER()
	a.RET()
}

// stripField is a field of the strip that a register is to have.
type stripField struct {
	to   reg.Register
	from int
}

func (k *slide) loadFields(fields ...stripField) {
	for _, f := range fields {
		k.MOVQ(at(winStrip, f.from), f.to)
	}
}

// nextStrip goes on with the strip to the right, if there are more.
func (k *slide) nextStrip() {
	k.SUBQ(operand.Imm(1), at(winStrip, stripMore))
	k.JL(operand.LabelRef("done"))
	wide := uint64(k.nv * k.bits / 8)
	k.MOVQ(at(winStrip, stripSteps), reg.RAX)
	k.ADDQ(reg.RAX, at(winStrip, stripSkip)) // which has counted down
	k.ADDQ(operand.U32(uint64(k.stride)*wide), at(winStrip, stripStart))
	k.ADDQ(operand.U32(wide), at(winStrip, stripDst))
	if k.kind == "sum" {
		k.ADDQ(operand.U32(wide), at(winStrip, stripDiv))
	}
	k.JMP(operand.LabelRef("strip"))
	k.Label("done")
}

// loadRow loads the next row of dst, of as many as skip says.
func (k *slide) loadRow() {
	k.SUBQ(operand.Imm(1), at(winStrip, stripSkip))
	k.JL(operand.LabelRef("loaded"))
	for v := range k.nv {
		k.loadStored(winDst, v, v)
	}
	k.ADDQ(winLdDst, winDst)
	k.Label("loaded")
}

// addWeights adds the sums to wei.
func (k *slide) addWeights() {
	for tap := range k.kh * k.kw {
		k.across(k.isa, k.vec(k.weights+tap), k.vec(0))
		sum := k.vec(k.weights + tap).AsX()
		k.VADDSS(at(winWei, 4*tap), sum, sum)
		k.VMOVSS(sum, at(winWei, 4*tap))
	}
}

// ahead fetches what is that far from the current row into the cache.
func (k *slide) ahead(phase int) {
	near := fmt.Sprintf("near%d", phase)
	k.MOVQ(at(winStrip, stripAhead), reg.RAX)
	k.TESTQ(reg.RAX, reg.RAX)
	k.JZ(operand.LabelRef(near))
	k.ADDQ(winAt, reg.RAX)
	for line := range (k.stride*k.nv*k.bits/8 + 63) / 64 {
		k.PREFETCHT0(at(reg.RAX, 64*line))
	}
	k.Label(near)
}

// registers shares the vector registers out, and loads constants.
func (k *slide) registers() {
	k.take(k.live * k.nv)
	if k.stride == 2 && k.bits == 512 {
		k.even, k.odd = k.take(1), k.take(1)
		k.VMOVUPS(operand.NewDataAddr(operand.NewStaticSymbol(evenName), 0), k.vec(k.even))
		k.VMOVUPS(operand.NewDataAddr(operand.NewStaticSymbol(oddName), 0), k.vec(k.odd))
	}
	if k.bits == 256 {
		k.mask = k.take(1)
	}
	k.y = k.take(1)
	if k.kind == "sum" || k.kind == "most" {
		k.x, k.h, k.xs = k.take(1), k.take(1), k.take(1)
		if k.kind == "most" {
			k.low, k.nan = k.take(1), k.take(1)
			k.MOVL(operand.U32(0xff800000), reg.EAX) // −∞
			k.VMOVD(reg.EAX, k.vec(k.low).AsX())
			k.VBROADCASTSS(k.vec(k.low).AsX(), k.vec(k.low))
		}
		return
	}
	k.xs = k.take(k.nv)
	if k.stride == 2 {
		k.odds = k.take(k.nv)
	}
	if k.kind == "grad" {
		k.weights = k.take(k.kh * k.kw)
		for i := range k.kh * k.kw {
			k.zero(k.isa, k.weights+i)
		}
		return
	}
	if k.bits == 512 && k.kh*k.kw <= 9 {
		k.weights = k.take(k.kh * k.kw)
		for i := range k.kh * k.kw {
			k.VBROADCASTSS(at(winWei, 4*i), k.vec(k.weights+i))
		}
		return
	}
	k.w = k.take(1)
}

// clear begins a row of results.
func (k *slide) clear(m int) {
	for v := range k.nv {
		if k.kind == "most" {
			k.VMOVAPS(k.vec(k.low), k.acc(m, v))
		} else {
			k.zero(k.isa, m*k.nv+v)
		}
	}
}

// load is element n·lanes of the v-th vector, from the current row's column on; where it does not exist, 0 or −∞. Whether
// all do not is known of the first and the last vector only.
func (k *slide) load(v, half, column, to int) { k.loadAt(winAt, v, half, column, to) }

// loadAt is load from a row that is elsewhere.
func (k *slide) loadAt(row reg.Register, v, half, column, to int) {
	bytes := k.bits / 8
	m := at(row, (k.stride*v+half)*bytes+4*column)
	which := 0
	switch {
	case v == 0 && !k.all:
	case v == k.nv-1 && !k.all:
		which = 1
	default:
		k.VMOVUPS(m, k.vec(to))
		return
	}
	mask := at(winMasks, 32*(2*(1+column+half)+which))
	switch {
	case k.bits == 256:
		k.VMOVUPS(mask, k.vec(k.mask))
		k.VMASKMOVPS(m, k.vec(k.mask), k.vec(to))
		if k.kind == "most" {
			k.VBLENDVPS(k.vec(k.mask), k.vec(to), k.vec(k.low), k.vec(to))
		}
	case k.kind == "most":
		k.KMOVW(mask, reg.K1)
		k.VMOVAPS(k.vec(k.low), k.vec(to))
		k.VMOVUPS(m, reg.K1, k.vec(to))
	default:
		k.KMOVW(mask, reg.K1)
		k.VMOVUPS_Z(m, reg.K1, k.vec(to))
	}
}

// part loads elements column, column+2, … to x and, if asked for, those between to odd.
func (k *slide) part(v, column, x, odd int, both bool) {
	k.load(v, 0, column, odd)
	k.load(v, 1, column, k.y)
	if k.bits == 512 {
		k.VMOVAPS(k.vec(odd), k.vec(x))
		k.VPERMT2PS(k.vec(k.y), k.vec(k.even), k.vec(x))
		if both {
			k.VPERMT2PS(k.vec(k.y), k.vec(k.odd), k.vec(odd))
		}
		return
	}
	k.VSHUFPS(evenQuarters, k.vec(k.y), k.vec(odd), k.vec(x))
	k.VPERMPD(operand.U8(0xd8), k.vec(x), k.vec(x))
	if both {
		k.VSHUFPS(oddQuarters, k.vec(k.y), k.vec(odd), k.vec(odd))
		k.VPERMPD(operand.U8(0xd8), k.vec(odd), k.vec(odd))
	}
}

// weighRow adds the current row to the results that it is a part of, or its products with these to the sums of weights.
func (k *slide) weighRow(phase int) {
	for j := 0; j < k.kw; j += k.stride {
		for v := range k.nv {
			if k.stride == 1 {
				k.load(v, 0, j, k.xs+v)
			} else {
				k.part(v, j, k.xs+v, k.odds+v, j+1 < k.kw)
			}
		}
		for n, from := range []int{k.xs, k.odds}[:min(k.stride, k.kw-j)] {
			for m := 0; phase+k.stride*m < k.kh; m++ {
				tap := (phase+k.stride*m)*k.kw + j + n
				w := k.weights + tap
				if k.weights < 0 {
					w = k.w
					k.VBROADCASTSS(at(winWei, 4*tap), k.vec(w))
				}
				for v := range k.nv {
					if k.kind == "grad" {
						k.VFMADD231PS(k.vec(from+v), k.acc(m, v), k.vec(w))
					} else {
						k.VFMADD231PS(k.vec(from+v), k.vec(w), k.acc(m, v))
					}
				}
			}
		}
	}
}

// foldRow sums a row's elements of each window, or takes the greatest, and does the same with the results.
func (k *slide) foldRow(phase int) {
	for v := range k.nv {
		for j := 0; j < k.kw; j += k.stride {
			if k.stride == 1 {
				if j == 0 {
					k.load(v, 0, j, k.h)
					continue
				}
				k.load(v, 0, j, k.x)
				k.fold(k.x, k.h)
				continue
			}
			both := j+1 < k.kw
			if j == 0 {
				k.part(v, j, k.h, k.x, both)
				if both {
					k.fold(k.x, k.h)
				}
				continue
			}
			k.part(v, j, k.xs, k.x, both)
			k.fold(k.xs, k.h)
			if both {
				k.fold(k.x, k.h)
			}
		}
		for m := 0; phase+k.stride*m < k.kh; m++ {
			k.fold(k.h, m*k.nv+v)
		}
	}
}

// fold adds a vector to another, or takes the greatest: see most.
func (k *slide) fold(next, acc int) {
	n, c := k.vec(next), k.vec(acc)
	switch {
	case k.kind == "sum":
		k.VADDPS(n, c, c)
	case k.bits == 512:
		k.VCMPPS(operand.U8(unordered), n, n, reg.K2)
		k.VMAXPS(c, n, c)
		k.VMOVAPS(n, reg.K2, c)
	default:
		k.VCMPPS(operand.U8(unordered), n, n, k.vec(k.nan))
		k.VMAXPS(c, n, c)
		k.VBLENDVPS(k.vec(k.nan), n, c, c)
	}
}

// addsUp is a bit of finish beside those of gemm.go: what was stored before is added.
const addsUp = 8

// finish divides the complete row of results, or adds what was there and the bias, and clips.
func (k *slide) finish() {
	last := k.live - 1
	switch k.kind {
	case "sum":
		for v := range k.nv {
			k.loadStored(winDiv, v, k.x)
			k.VDIVPS(k.vec(k.x), k.acc(last, v), k.acc(last, v))
		}
		k.ADDQ(winLdDst, winDiv)
	case "weigh":
		k.MOVQ(at(winStrip, stripDone), reg.RAX)
		k.TESTQ(reg.RAX, reg.RAX)
		k.JZ(operand.LabelRef("store"))
		k.TESTL(operand.U32(addsUp), reg.EAX)
		k.JZ(operand.LabelRef("bias"))
		for v := range k.nv {
			k.loadStored(winDst, v, k.y)
			k.VADDPS(k.vec(k.y), k.acc(last, v), k.acc(last, v))
		}
		k.Label("bias")
		k.TESTL(operand.U32(biasByRow), reg.EAX)
		k.JZ(operand.LabelRef("store"))
		k.VBROADCASTSS(at(winStrip, stripBias), k.vec(k.y))
		for v := range k.nv {
			k.VADDPS(k.vec(k.y), k.acc(last, v), k.acc(last, v))
		}
		k.TESTL(operand.U32(clipped), reg.EAX)
		k.JZ(operand.LabelRef("store"))
		for i := range 2 {
			k.VBROADCASTSS(at(winStrip, stripLimit+4*i), k.vec(k.y))
			for v := range k.nv {
				c := k.acc(last, v)
				if i == 0 { // as the pass clip
					k.VMAXPS(c, k.vec(k.y), c)
				} else {
					k.VMINPS(c, k.vec(k.y), c)
				}
			}
		}
		k.Label("store")
	}
}

// loadStored loads the v-th vector from a base on, in the lanes that are stored.
func (k *slide) loadStored(base reg.Register, v, to int) {
	m := at(base, v*k.bits/8)
	switch {
	case v < k.nv-1 || k.all:
		k.VMOVUPS(m, k.vec(to))
	case k.bits == 512:
		k.KMOVW(at(winMasks, 0), reg.K1)
		k.VMOVUPS_Z(m, reg.K1, k.vec(to))
	default:
		k.VMOVUPS(at(winMasks, 0), k.vec(k.mask))
		k.VMASKMOVPS(m, k.vec(k.mask), k.vec(to))
	}
}

// store writes the complete row, past the caches if asked for.
func (k *slide) store() {
	last := k.live - 1
	k.CMPQ(at(winStrip, stripPast), operand.Imm(0))
	k.JNE(operand.LabelRef("past"))
	for v := range k.nv {
		c, m := k.acc(last, v), at(winDst, v*k.bits/8)
		switch {
		case v < k.nv-1 || k.all:
			k.VMOVUPS(c, m)
		case k.bits == 512:
			k.KMOVW(at(winMasks, 0), reg.K1)
			k.VMOVUPS(c, reg.K1, m)
		default:
			k.storeFirst("store", c, m, at(winMasks, masksStored), reg.RAX)
		}
	}
	k.JMP(operand.LabelRef("stored"))
	k.Label("past")
	for v := range k.nv {
		k.VMOVNTPS(k.acc(last, v), at(winDst, v*k.bits/8))
	}
	k.Label("stored")
	k.ADDQ(winLdDst, winDst)
}

// rowMeans is dst[r] = Σ_x src[r·ldSrc + x] / bias, in steps rows of end whole vectors and a last one.
func (a asm) rowMeans(s isa) {
	name := fmt.Sprintf("rowMeans%d", s.bits)
	a.stripFunc(name, name+" is the sums of rows of any length, each divided by the same.")
	bytes := s.bits / 8
	a.MOVQ(at(winStrip, stripSrc), winAt)
	a.MOVQ(at(winStrip, stripDst), winDst)
	a.MOVQ(at(winStrip, stripSteps), winSteps)
	a.MOVQ(at(winStrip, stripMasks), winMasks)
	if s.bits == 512 {
		a.KMOVW(at(winMasks, 0), reg.K1)
	} else {
		a.VMOVUPS(at(winMasks, 0), s.vec(vMask))
	}
	a.VMOVSS(at(winStrip, stripBias), reg.X8)
	a.Label("row")
	for i := range 4 {
		a.zero(s, i)
	}
	a.MOVQ(winAt, winRow)
	a.MOVQ(at(winStrip, stripEnd), winEnd) // whole vectors
	a.SUBQ(operand.Imm(4), winEnd)
	a.JL(operand.LabelRef("rest"))
	a.align()
	a.Label("four")
	for i := range 4 {
		a.VADDPS(at(winRow, i*bytes), s.vec(i), s.vec(i))
	}
	a.ADDQ(operand.U32(uint64(4*bytes)), winRow)
	a.SUBQ(operand.Imm(4), winEnd)
	a.JGE(operand.LabelRef("four"))
	a.Label("rest")
	a.ADDQ(operand.Imm(4), winEnd)
	for i := range 3 {
		a.JZ(operand.LabelRef("last"))
		a.VADDPS(at(winRow, 0), s.vec(i), s.vec(i))
		a.ADDQ(operand.U32(uint64(bytes)), winRow)
		a.DECQ(winEnd)
	}
	a.Label("last")
	if s.bits == 512 {
		a.VMOVUPS_Z(at(winRow, 0), reg.K1, s.vec(4))
	} else {
		a.VMASKMOVPS(at(winRow, 0), s.vec(vMask), s.vec(4))
	}
	a.VADDPS(s.vec(4), s.vec(3), s.vec(3))
	a.VADDPS(s.vec(1), s.vec(0), s.vec(0))
	a.VADDPS(s.vec(3), s.vec(2), s.vec(2))
	a.VADDPS(s.vec(2), s.vec(0), s.vec(0))
	if s.bits == 512 {
		a.VEXTRACTF64X4(operand.Imm(1), reg.Z0, reg.Y1)
		a.VADDPS(reg.Y1, reg.Y0, reg.Y0)
	}
	a.VEXTRACTF128(operand.Imm(1), reg.Y0, reg.X1)
	a.VADDPS(reg.X1, reg.X0, reg.X0)
	a.VMOVHLPS(reg.X0, reg.X0, reg.X1)
	a.VADDPS(reg.X1, reg.X0, reg.X0)
	a.VMOVSHDUP(reg.X0, reg.X1)
	a.VADDSS(reg.X1, reg.X0, reg.X0)
	a.VDIVSS(reg.X8, reg.X0, reg.X0)
	a.VMOVSS(reg.X0, at(winDst, 0))
	a.ADDQ(operand.Imm(4), winDst)
	a.ADDQ(at(winStrip, stripLdSrc), winAt)
	a.DECQ(winSteps)
	a.JNZ(operand.LabelRef("row"))
	a.VZEROUPPER()
	a.RET()
}
