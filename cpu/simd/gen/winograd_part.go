package main

import (
	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// part parts tile.k rows of m vectors by m, after off[17] rows of zeros and before off[18] others:
//
//	c[p·off[0] + (off[17] + r)·ldc + x] = b[off[1] + r·ldb + m·x + p]
//
// for p < m and x < tile.lanes, and then the same of tile.rows − 1 more channels, each off[15] elements of b and off[16] of c
// behind the rows of the one before. What is off[2] elements further is fetched meanwhile. Of vector v, lanes off[3+2v] …
// off[4+2v] are there to be loaded, the others are zeros. The masks of 256 bits are kept in a. tile.rows is used up.
func (w transform) part() {
	w.start("Part", "parts rows of vectors by as many")
	loads := []reg.Register{reg.K2, reg.K3, reg.K4, reg.K5, reg.K6, reg.K7}
	bytes := w.bits / 8
	for v := range w.m {
		from, to := at(regOff, 24+16*v), at(regOff, 32+16*v)
		if w.bits == 512 { // 2^to − 2^from
			w.MOVQ(to, regRow)
			w.XORQ(regTmp, regTmp)
			w.BTSQ(regRow, regTmp)
			w.MOVQ(from, regRow)
			w.XORQ(regC, regC)
			w.BTSQ(regRow, regC)
			w.SUBQ(regC, regTmp)
			w.KMOVW(regTmp.As32(), loads[v])
			continue
		}
		w.mask8(to, w.vec(partMask))
		w.mask8(from, w.vec(0))
		w.VANDNPS(w.vec(partMask), w.vec(0), w.vec(partMask))
		w.VMOVUPS(w.vec(partMask), at(regA, v*bytes))
	}
	w.tables(w.isa, evenName, oddName)
	if w.m == 6 {
		w.thirdTables()
	}
	if w.bits == 512 {
		w.mask16(at(regTile, tileLanes), reg.K1)
	}
	ahead := reg.R14
	w.MOVQ(at(regOff, 0), wPart)
	w.SHLQ(operand.Imm(2), wPart)
	w.MOVQ(at(regOff, 8), regTmp)
	w.LEAQ(row(regB, regTmp, 0), regB)
	w.MOVQ(at(regOff, 16), ahead)
	w.strides()
	if w.bits == 256 { // the masks of stores
		w.MOVQ(at(regTile, tileLanes), regTmp)
		w.NEGQ(regTmp)
		w.LEAQ(operand.NewDataAddr(operand.NewStaticSymbol(maskName), 32), wLine)
		w.LEAQ(row(wLine, regTmp, 0), wLine)
	}
	w.Label("channel")
	w.nothing(at(regOff, 8*17), "before")
	w.MOVQ(at(regTile, tileK), regK)
	w.TESTQ(regK, regK)
	w.JZ(operand.LabelRef("parted"))
	w.Label("row")
	for v := range w.m {
		w.PREFETCHT0(row(regB, ahead, v*bytes))
		if w.bits == 512 {
			w.VMOVUPS_Z(at(regB, v*bytes), loads[v], w.vec(v))
		} else {
			w.VMOVUPS(at(regA, v*bytes), w.vec(partMask))
			w.VMASKMOVPS(at(regB, v*bytes), w.vec(partMask), w.vec(v))
		}
	}
	parts := w.partBy()
	w.putParts("parts", func(p int) reg.VecPhysical { return w.vec(parts + p) })
	w.ADDQ(regRow, regB)
	w.DECQ(regK)
	w.JNZ(operand.LabelRef("row"))
	w.Label("parted")
	w.nothing(at(regOff, 8*18), "after")
	for i, to := range []reg.Register{regB, regC} {
		w.MOVQ(at(regOff, 8*(15+i)), regTmp)
		w.LEAQ(row(to, regTmp, 0), to)
	}
	w.DECQ(at(regTile, tileRows))
	w.JNZ(operand.LabelRef("channel"))
	w.VZEROUPPER()
	w.RET()
}

// partMask is the register of part's masks, of 256 bits.
const partMask = 12

// nothing stores so many rows of zeros.
func (w transform) nothing(rows operand.Op, label string) {
	w.MOVQ(rows, regK)
	w.TESTQ(regK, regK)
	w.JZ(operand.LabelRef(label + "Done"))
	w.zero(w.isa, 0)
	w.Label(label)
	w.putParts(label, func(int) reg.VecPhysical { return w.vec(0) })
	w.DECQ(regK)
	w.JNZ(operand.LabelRef(label))
	w.Label(label + "Done")
}

// putParts stores a row's m parts and moves on to the next row.
func (w transform) putParts(label string, part func(p int) reg.VecPhysical) {
	w.MOVQ(regC, wPoint)
	store := func(put func(v reg.VecPhysical)) {
		for p := range w.m {
			put(part(p))
			w.ADDQ(wPart, wPoint)
		}
	}
	if w.bits == 512 {
		store(func(v reg.VecPhysical) { w.VMOVUPS(v, reg.K1, at(wPoint, 0)) })
	} else { // whose stores by a mask are slow
		w.CMPQ(at(regTile, tileLanes), operand.Imm(8))
		w.JEQ(operand.LabelRef(label + "Whole"))
		w.VMOVUPS(at(wLine, 0), w.vec(partMask))
		store(func(v reg.VecPhysical) { w.VMASKMOVPS(v, w.vec(partMask), at(wPoint, 0)) })
		w.JMP(operand.LabelRef(label + "Next"))
		w.Label(label + "Whole")
		store(func(v reg.VecPhysical) { w.VMOVUPS(v, at(wPoint, 0)) })
		w.Label(label + "Next")
	}
	w.nextRow()
}

// partBy parts the first m vectors by m and returns the first register of the parts.
func (w transform) partBy() int {
	switch w.m {
	case 2:
		w.pick(w.isa, 0, 1, 2, 3)
		return 2
	case 4: // Even and odd elements, and those of each: parts 0 and 2, 1 and 3.
		w.pick(w.isa, 0, 1, 4, 6)
		w.pick(w.isa, 2, 3, 5, 7)
		w.pick(w.isa, 4, 5, 8, 10)
		w.pick(w.isa, 6, 7, 9, 11)
		return 8
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
	return 0
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
