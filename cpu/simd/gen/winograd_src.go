package main

import (
	"math"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// What cells keeps in tile.a behind the vectors between the passes: of 256 bits, the masks of loads and that of stores; of 512,
// in numbers of 8 bytes, the mask of the last load, that of stores, and in both cases where the rows that are there begin
// between the passes.
const (
	cellsLast = iota
	cellsLanes
	cellsFirst
)

// kept is vector i behind those between the passes.
func (w transform) kept(i int) operand.Mem { return at(regA, (w.t*w.t+i)*w.bits/8) }

// number is number i of those that follow the masks.
func (w transform) number(i int) operand.Mem {
	m := w.kept(0)
	if w.bits == 256 {
		m = w.kept(w.m + 2)
	}
	m.Disp += 8 * i
	return m
}

// cells transforms a vector of neighbouring tiles of the source, of tile.k channels, in the rows that it has them in:
//
//	c[(t·i + j)·off[1] + channel·ldc + x] = Bᵀ d B [i, j],  d[i, j] = b[off[0] + channel·off[2] + (i − add)·ldb + m·x + j]
//
// for x < tile.lanes; of d, rows from tile.add on are there, tile.rows of them, the others are zeros. Of vector v of a row,
// v ≤ m, lanes off[3+2v] … off[4+2v] are there to be loaded, the others are zeros, too. The first pass is along the rows, each
// of which is parted by m: what neighbouring tiles have at the same place become neighbours. What is off[17] elements further is
// fetched meanwhile.
func (w transform) cells() {
	w.start("Src", "transforms a vector of tiles of the source, for some channels")
	bytes := w.bits / 8
	loads := []reg.Register{reg.K2, reg.K3, reg.K4, reg.K5, reg.K6, reg.K7}
	three, plane, between, rows := reg.R14, reg.R15, reg.R13, reg.R12 // 3 times wStep; bytes from plane to plane
	w.loadMasks(loads)
	w.base = wKept + 8 // behind the tables
	w.tables(w.isa, evenName, oddName)
	for i := -1; i < len(w.points()); i++ {
		for _, f := range w.polynomial(i) {
			w.keep([]float64{math.Abs(f)})
		}
	}
	w.keep(w.points())
	w.zero(w.isa, 0)
	for i := range w.t * w.t { // rows that are not there
		w.VMOVUPS(w.vec(0), at(regA, i*bytes))
	}
	w.MOVQ(at(regTile, tileAdd), between)
	w.IMUL3Q(operand.U32(uint32(w.t*bytes)), between, between)
	w.ADDQ(regA, between)
	w.MOVQ(between, w.number(cellsFirst))
	w.MOVQ(at(regOff, 0), regTmp)
	w.LEAQ(row(regB, regTmp, 0), regB)
	w.MOVQ(at(regOff, 8), plane)
	w.SHLQ(operand.Imm(2), plane)
	w.strides()
	w.times(w.t, plane, wStep)
	w.LEAQ(operand.Mem{Base: wStep, Index: wStep, Scale: 2}, three)

	w.Label("channel")
	w.MOVQ(at(regTile, tileRows), rows)
	w.TESTQ(rows, rows)
	w.JZ(operand.LabelRef("columns"))
	w.MOVQ(regB, wPoint)
	w.MOVQ(w.number(cellsFirst), between)
	w.MOVQ(at(regTile, tileOff), regTmp)
	w.MOVQ(at(regTmp, 8*17), regTmp)
	w.SHLQ(operand.Imm(2), regTmp)
	if w.m == 6 {
		w.thirdTables()
	}
	if w.bits == 512 {
		w.KMOVW(w.number(cellsLast), reg.K1)
	}
	w.Label("row")
	first := w.loaded()
	for v := range w.m {
		if v*bytes%64 == 0 {
			w.PREFETCHT0(operand.Mem{Base: wPoint, Index: regTmp, Scale: 1, Disp: v * bytes})
		}
		if w.bits == 512 {
			w.VMOVUPS_Z(at(wPoint, v*bytes), loads[v], w.vec(first+v))
		} else {
			w.VMOVUPS(w.kept(v), w.vec(partMask))
			w.VMASKMOVPS(at(wPoint, v*bytes), w.vec(partMask), w.vec(first+v))
		}
	}
	w.partBy()
	w.shift()
	w.transposedB(func(j, v int) { w.VMOVUPS(w.vec(v), at(between, j*bytes)) })
	w.ADDQ(regRow, wPoint)
	w.ADDQ(operand.U32(uint32(w.t*bytes)), between)
	w.DECQ(rows)
	w.JNZ(operand.LabelRef("row"))

	w.Label("columns")
	w.MOVQ(regC, wPoint)
	if w.bits == 512 {
		w.KMOVW(w.number(cellsLanes), reg.K1)
		w.columns(plane, func(i, v int) { w.storeMasked(w.isa, v, w.planeAt(i, three)) })
	} else { // whose stores by a mask are slow
		w.CMPQ(at(regTile, tileLanes), operand.Imm(8))
		w.JEQ(operand.LabelRef("whole"))
		w.VMOVUPS(w.kept(w.m+1), w.vec(vMask))
		w.columns(plane, func(i, v int) { w.storeMasked(w.isa, v, w.planeAt(i, three)) })
		w.JMP(operand.LabelRef("next"))
		w.Label("whole")
		w.columns(plane, func(i, v int) { w.VMOVUPS(w.vec(v), w.planeAt(i, three)) })
		w.Label("next")
	}
	w.MOVQ(at(regTile, tileOff), regTmp)
	w.MOVQ(at(regTmp, 16), regTmp)
	w.LEAQ(row(regB, regTmp, 0), regB)
	w.nextRow()
	w.DECQ(regK)
	w.JNZ(operand.LabelRef("channel"))
	w.VZEROUPPER()
	w.RET()
}

// loadMasks sets the masks of cells.
func (w transform) loadMasks(loads []reg.Register) {
	for v := range w.m + 1 {
		from, to := at(regOff, 24+16*v), at(regOff, 32+16*v)
		if w.bits == 256 {
			w.mask8(to, w.vec(1))
			w.mask8(from, w.vec(0))
			w.VANDNPS(w.vec(1), w.vec(0), w.vec(1))
			w.VMOVUPS(w.vec(1), w.kept(v))
			continue
		}
		w.MOVQ(to, regRow) // 2^to − 2^from
		w.XORQ(regTmp, regTmp)
		w.BTSQ(regRow, regTmp)
		w.MOVQ(from, regRow)
		w.XORQ(regC, regC)
		w.BTSQ(regRow, regC)
		w.SUBQ(regC, regTmp)
		if v < w.m {
			w.KMOVW(regTmp.As32(), loads[v])
		} else {
			w.MOVQ(regTmp, w.number(cellsLast))
		}
	}
	if w.bits == 256 {
		w.mask8(at(regTile, tileLanes), w.vec(0))
		w.VMOVUPS(w.vec(0), w.kept(w.m+1))
		return
	}
	w.MOVQ(at(regTile, tileLanes), regRow)
	w.XORQ(regTmp, regTmp)
	w.BTSQ(regRow, regTmp)
	w.DECQ(regTmp)
	w.MOVQ(regTmp, w.number(cellsLanes))
}

// columns is the pass along the columns.
func (w transform) columns(plane reg.Register, emit func(i, v int)) {
	for j := range w.t {
		for i := range w.t {
			w.VMOVUPS(w.between(i, j), w.vec(i))
		}
		w.transposedB(emit)
		if j < w.t-1 {
			w.ADDQ(plane, wPoint)
		}
	}
}

// Registers of cells between loads and the first pass: the mask of a load of 256 bits, and what shift takes.
const (
	partMask  = 12
	shiftLast = 10
)

// shift makes operands m and m+1 of the first two, moved on by a tile; the last of each comes from the vector that follows.
func (w transform) shift() {
	v, last := w.vec, w.vec(shiftLast)
	m := at(wPoint, w.m*w.bits/8)
	if w.bits == 512 {
		w.VMOVUPS_Z(m, reg.K1, last)
	} else {
		w.VMOVUPS(w.kept(w.m), v(partMask))
		w.VMASKMOVPS(m, v(partMask), last)
	}
	for p := range 2 {
		if p == 1 {
			w.VMOVSHDUP(last, last)
		}
		if w.bits == 512 {
			w.VALIGND(operand.Imm(1), v(p), last, v(w.m+p))
			continue
		}
		w.VPERM2F128(operand.U8(0x21), last, v(p), v(shiftLast+1)) // the upper half, and then the last
		w.VPALIGNR(operand.Imm(4), v(p), v(shiftLast+1), v(w.m+p))
	}
}

// loaded is the first of the m registers that partBy parts.
func (w transform) loaded() int {
	if w.m == 2 {
		return 2
	}
	return 0
}

// partBy parts m vectors by m, into the first m registers.
func (w transform) partBy() {
	switch w.m {
	case 2:
		w.pick(w.isa, 2, 3, 0, 1)
		return
	case 4: // Even and odd elements, and those of each: parts 0 and 2, 1 and 3.
		w.pick(w.isa, 0, 1, 4, 6)
		w.pick(w.isa, 2, 3, 5, 7)
		w.pick(w.isa, 4, 5, 0, 2)
		w.pick(w.isa, 6, 7, 1, 3)
		return
	}
	// Those of all three, of three vectors each, and the even and odd ones of these.
	for half := range 2 {
		for r := range 3 {
			w.third(3*half, r, 6+3*half+r)
		}
	}
	for r := range 3 {
		w.pick(w.isa, 6+r, 9+r, r, r+3)
	}
}

// pick is the even and the odd elements of two vectors.
func (a asm) pick(s isa, x, y, even, odd int) {
	v := s.vec
	for i, to := range []int{even, odd} {
		if s.bits == 512 {
			a.VMOVAPS(v(x), v(to))
			a.VPERMT2PS(v(y), v(lists+i), v(to))
			continue
		}
		a.VSHUFPS([]operand.U8{evenQuarters, oddQuarters}[i], v(y), v(x), v(to))
		a.VPERMPD(operand.U8(0xd8), v(to), v(to))
	}
}

// The tables of third: where lane k has element 3k + r, of 8 lanes modulo these; of 16, if it is in the first two vectors, and
// then if it is in the last.
const (
	thirdName  = "thirdLanes"
	thirdsAt   = 13        // 256 bits
	thirdsWide = wKept + 2 // 512 bits
)

func (a asm) thirds() {
	a.StaticGlobal(thirdName)
	a.DataAttributes(attr.RODATA | attr.NOPTR)
	at := 0
	put := func(n int) {
		a.AddDatum(at, operand.U32(n))
		at += 4
	}
	for r := range 3 {
		for k := range 16 {
			put(min(3*k+r, 31))
		}
		for k := range 16 {
			if e := 3*k + r; e < 32 {
				put(k)
			} else {
				put(e - 16)
			}
		}
	}
	for r := range 3 {
		for k := range 8 {
			put((3*k + r) % 8)
		}
	}
}

func (w transform) thirdTables() {
	m := func(disp int) operand.Mem { return operand.NewDataAddr(operand.NewStaticSymbol(thirdName), disp) }
	if w.bits == 256 {
		for r := range 3 {
			w.VMOVUPS(m(6*64+32*r), w.vec(thirdsAt+r))
		}
		return
	}
	for i := range 6 {
		w.VMOVUPS(m(64*i), w.vec(thirdsWide+i))
	}
}

// third is elements 3k + r of three vectors from first on.
func (w transform) third(first, r, to int) {
	v := w.vec
	if w.bits == 512 {
		w.VMOVAPS(v(first), v(to))
		w.VPERMT2PS(v(first+1), v(thirdsWide+2*r), v(to))
		w.VPERMT2PS(v(first+2), v(thirdsWide+2*r+1), v(to))
		return
	}
	var from [3]uint8 // lanes that a vector has elements in, which no other has
	for k := range 8 {
		e := 3*k + r
		from[e/8] |= 1 << (e % 8)
	}
	w.VBLENDPS(operand.U8(from[1]), v(first+1), v(first), v(to))
	w.VBLENDPS(operand.U8(from[2]), v(first+2), v(to), v(to))
	w.VPERMPS(v(to), v(thirdsAt+r), v(to))
}

// lists is where the two tables of pick and weave are, of 512 bits.
const lists = 16

// tables loads them; of 256 bits none are needed.
func (a asm) tables(s isa, names ...string) {
	if s.bits == 256 {
		return
	}
	for i, n := range names {
		a.VMOVUPS(operand.NewDataAddr(operand.NewStaticSymbol(n), 0), s.vec(lists+i))
	}
}
