package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// integers writes what 8-bit integers need on the way to sums and back: conversions of tile.k whole vectors of elements
// between b and c, and passes over sums of 32 bits.
func integers(a asm) {
	a.laneMasks()
	for _, s := range []isa{isa512, isa256} {
		for _, signed := range []bool{false, true} {
			a.fromBytes(s, signed, false)
			a.fromBytes(s, signed, true)
			a.toBytes(s, signed)
		}
		a.toShorts(s)
		none := func() {}
		v := s.vec
		a.pass(s, fmt.Sprintf("raise%d", s.bits), false, 1, none, func() { a.VPADDD(v(vP), v(vC), v(vC)) })
		a.pass(s, fmt.Sprintf("integral%d", s.bits), false, 0, none, func() { a.VCVTPS2DQ(v(vC), v(vC)) })
		a.pass(s, fmt.Sprintf("dequantize%d", s.bits), false, 1, none, func() {
			a.VCVTDQ2PS(v(vC), v(vC))
			a.VMULPS(v(vP), v(vC), v(vC))
		})
	}
}

// sign is the letter of a type of bytes.
func sign(signed bool) string {
	if signed {
		return "S"
	}
	return "U"
}

// fromBytes widens bytes, to floats or to integers of 32 bits.
func (a asm) fromBytes(s isa, signed, floats bool) {
	name, what := fmt.Sprintf("ints%s%d", sign(signed), s.bits), "integers of 32 bits"
	if floats {
		name, what = fmt.Sprintf("floats%s%d", sign(signed), s.bits), "floats"
	}
	a.tileFunc(name, fmt.Sprintf("%s converts whole vectors of 8-bit integers to %s.", name, what))
	a.MOVQ(at(regTile, tileC), regC)
	a.align()
	a.Label("loop")
	if signed {
		a.VPMOVSXBD(at(regB, 0), s.vec(0))
	} else {
		a.VPMOVZXBD(at(regB, 0), s.vec(0))
	}
	if floats {
		a.VCVTDQ2PS(s.vec(0), s.vec(0))
	}
	a.VMOVUPS(s.vec(0), at(regC, 0))
	a.ADDQ(operand.Imm(uint64(s.lanes)), regB)
	a.ADDQ(operand.Imm(uint64(4*s.lanes)), regC)
	a.DECQ(regK)
	a.JNZ(operand.LabelRef("loop"))
	a.VZEROUPPER()
	a.RET()
}

// ordered is the predicate of VCMPPS for what is no NaN.
const ordered = 7

// toBytes rounds floats to nearest even, within tile.limits; NaN is 0.
func (a asm) toBytes(s isa, signed bool) {
	name := fmt.Sprintf("bytes%s%d", sign(signed), s.bits)
	a.tileFunc(name, name+" rounds whole vectors of floats to 8-bit integers, within limits.")
	const x, lo, hi, ok = 0, 1, 2, 3
	v := s.vec
	a.MOVQ(at(regTile, tileC), regC)
	a.VBROADCASTSS(at(regTile, tileLimit), v(lo))
	a.VBROADCASTSS(at(regTile, tileLimit+4), v(hi))
	a.align()
	a.Label("loop")
	a.VMOVUPS(at(regB, 0), v(x))
	if s.bits == 512 {
		a.VCMPPS(operand.U8(ordered), v(x), v(x), reg.K1)
		a.VMOVAPS_Z(v(x), reg.K1, v(x))
	} else {
		a.VCMPPS(operand.U8(ordered), v(x), v(x), v(ok))
		a.VANDPS(v(ok), v(x), v(x))
	}
	a.VMAXPS(v(lo), v(x), v(x))
	a.VMINPS(v(hi), v(x), v(x))
	a.VCVTPS2DQ(v(x), v(x))
	if s.bits == 512 {
		a.VPMOVDB(v(x), at(regC, 0))
	} else {
		low, high := v(x).AsX(), v(ok).AsX()
		a.VEXTRACTI128(operand.Imm(1), v(x), high)
		a.VPACKSSDW(high, low, low)
		if signed {
			a.VPACKSSWB(low, low, low)
		} else {
			a.VPACKUSWB(low, low, low)
		}
		a.VMOVQ(low, at(regC, 0))
	}
	a.ADDQ(operand.Imm(uint64(4*s.lanes)), regB)
	a.ADDQ(operand.Imm(uint64(s.lanes)), regC)
	a.DECQ(regK)
	a.JNZ(operand.LabelRef("loop"))
	a.VZEROUPPER()
	a.RET()
}

// toShorts takes tile.limits[0], as an integer, from whole vectors of integers of 32 bits, and has 16 of each left; the
// differences fit in these.
func (a asm) toShorts(s isa) {
	name := fmt.Sprintf("shorts%d", s.bits)
	a.tileFunc(name, name+" has 16 bits left of whole vectors of differences.")
	v := s.vec
	a.MOVQ(at(regTile, tileC), regC)
	a.VBROADCASTSS(at(regTile, tileLimit), v(1))
	a.align()
	a.Label("loop")
	a.VMOVUPS(at(regB, 0), v(0))
	a.VPSUBD(v(1), v(0), v(0))
	if s.bits == 512 {
		a.VPMOVDW(v(0), at(regC, 0))
	} else {
		a.VEXTRACTI128(operand.Imm(1), v(0), v(2).AsX())
		a.VPACKSSDW(v(2).AsX(), v(0).AsX(), v(0).AsX())
		a.VMOVUPS(v(0).AsX(), at(regC, 0))
	}
	a.ADDQ(operand.Imm(uint64(4*s.lanes)), regB)
	a.ADDQ(operand.Imm(uint64(2*s.lanes)), regC)
	a.DECQ(regK)
	a.JNZ(operand.LabelRef("loop"))
	a.VZEROUPPER()
	a.RET()
}
