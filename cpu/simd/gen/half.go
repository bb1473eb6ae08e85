package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// halves converts tile.k rows of tile.rows whole vectors between b and c: from 16-bit floats, and to them, rounded to nearest
// even.
func (a asm) halves(s isa) {
	for _, widen := range []bool{true, false} {
		name, what, from, to := "narrow", "to 16-bit floats", s.bits/8, s.bits/16
		if widen {
			name, what, from, to = "widen", "from 16-bit floats", s.bits/16, s.bits/8
		}
		name = fmt.Sprintf("%s%d", name, s.bits)
		a.tileFunc(name, fmt.Sprintf("%s converts rows of whole vectors %s.", name, what))
		a.strides()
		if widen {
			a.SHRQ(operand.Imm(1), regRow)
		} else {
			a.SHRQ(operand.Imm(1), regLdc)
		}
		src, dst := reg.R12, reg.R13
		a.Label("row")
		a.MOVQ(regB, src)
		a.MOVQ(regC, dst)
		a.MOVQ(at(regTile, tileRows), regTmp)
		a.align()
		a.Label("vector")
		if widen {
			a.VCVTPH2PS(at(src, 0), s.vec(0))
			a.VMOVUPS(s.vec(0), at(dst, 0))
		} else {
			a.VMOVUPS(at(src, 0), s.vec(0))
			a.VCVTPS2PH(operand.Imm(0), s.vec(0), at(dst, 0))
		}
		a.ADDQ(operand.Imm(uint64(from)), src)
		a.ADDQ(operand.Imm(uint64(to)), dst)
		a.DECQ(regTmp)
		a.JNZ(operand.LabelRef("vector"))
		a.ADDQ(regRow, regB)
		a.eachRow(regK)
	}
}
