package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
)

// halves converts tile.k whole vectors between b and c: from 16-bit floats, and to them, rounded to nearest even.
func (a asm) halves(s isa) {
	for _, widen := range []bool{true, false} {
		name, what, from, to := "narrow", "to 16-bit floats", s.bits/8, s.bits/16
		if widen {
			name, what, from, to = "widen", "from 16-bit floats", s.bits/16, s.bits/8
		}
		name = fmt.Sprintf("%s%d", name, s.bits)
		a.tileFunc(name, fmt.Sprintf("%s converts whole vectors %s.", name, what))
		a.MOVQ(at(regTile, tileC), regC)
		a.align()
		a.Label("loop")
		if widen {
			a.VCVTPH2PS(at(regB, 0), s.vec(0))
			a.VMOVUPS(s.vec(0), at(regC, 0))
		} else {
			a.VMOVUPS(at(regB, 0), s.vec(0))
			a.VCVTPS2PH(operand.Imm(0), s.vec(0), at(regC, 0))
		}
		a.ADDQ(operand.Imm(uint64(from)), regB)
		a.ADDQ(operand.Imm(uint64(to)), regC)
		a.DECQ(regK)
		a.JNZ(operand.LabelRef("loop"))
		a.VZEROUPPER()
		a.RET()
	}
}
