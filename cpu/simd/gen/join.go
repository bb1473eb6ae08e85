package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The kernels here pair rows of 16-bit integers: row p of c has, in each element of 32 bits, an element of row off[2·p] of
// b in the lower half and one of row off[2·p+1] in the upper. There are tile.rows whole vectors, then one of tile.lanes.

func (a asm) join512() {
	a.tileFunc("join512", "join512 pairs rows of 16-bit integers.")
	a.mask16(at(regTile, tileLanes), reg.K1)
	a.join(isa512, func(from, to operand.Op, last bool) {
		if last {
			a.VPMOVZXWD_Z(from, reg.K1, to)
		} else {
			a.VPMOVZXWD(from, to)
		}
	}, func(from reg.Register, to operand.Mem, last bool) {
		if last {
			a.VMOVDQU32(from, reg.K1, to)
		} else {
			a.VMOVDQU32(from, to)
		}
	}, func(x, y operand.Op) { a.VPORD(x, y, y) })
}

// join256 has no masked loads of 16 bits: what calls it leaves room behind the rows of b.
func (a asm) join256() {
	a.tileFunc("join256", "join256 pairs rows of 16-bit integers; it reads whole vectors of b.")
	a.mask8(at(regTile, tileLanes), reg.Y15)
	a.join(isa256, func(from, to operand.Op, _ bool) { a.VPMOVZXWD(from, to) },
		func(from reg.Register, to operand.Mem, last bool) {
			if last {
				a.VMASKMOVPS(from, reg.Y15, to)
			} else {
				a.VMOVUPS(from, to)
			}
		}, func(x, y operand.Op) { a.VPOR(x, y, y) })
}

func (a asm) join(s isa, load func(from, to operand.Op, last bool), store func(from reg.Register, to operand.Mem, last bool),
	or func(x, y operand.Op)) {
	lower, upper := reg.R12, reg.R13
	a.MOVQ(at(regTile, tileC), regC)
	a.MOVQ(at(regTile, tileLdc), regLdc)
	a.SHLQ(operand.Imm(2), regLdc)
	step := func(last bool) {
		load(at(lower, 0), s.vec(0), last)
		load(at(upper, 0), s.vec(1), last)
		a.VPSLLD(operand.Imm(16), s.vec(1), s.vec(1))
		or(s.vec(0), s.vec(1))
		store(s.vec(1), at(regRow, 0), last)
	}
	a.Label("row")
	a.MOVQ(at(regOff, 0), lower)
	a.MOVQ(at(regOff, 8), upper)
	a.LEAQ(operand.Mem{Base: regB, Index: lower, Scale: 2}, lower)
	a.LEAQ(operand.Mem{Base: regB, Index: upper, Scale: 2}, upper)
	a.MOVQ(regC, regRow)
	a.MOVQ(at(regTile, tileRows), regTmp)
	a.JMP(operand.LabelRef("test"))
	a.Label("vector")
	step(false)
	a.ADDQ(operand.Imm(uint64(s.bits/8)), regRow)
	a.ADDQ(operand.Imm(uint64(s.bits/16)), lower)
	a.ADDQ(operand.Imm(uint64(s.bits/16)), upper)
	a.Label("test")
	a.DECQ(regTmp)
	a.JNZ(operand.LabelRef("vector"))
	step(true)
	a.nextRow()
	a.ADDQ(operand.Imm(16), regOff)
	a.DECQ(regK)
	a.JNZ(operand.LabelRef("row"))
	a.VZEROUPPER()
	a.RET()
}
