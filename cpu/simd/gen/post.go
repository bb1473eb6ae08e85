package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// isa is what the kernels that only pass over data differ in.
type isa struct {
	bits  int
	lanes int
	vec   func(int) reg.VecPhysical
}

var (
	isa512 = isa{512, 16, zmm}
	isa256 = isa{256, 8, ymm}
)

// vector registers of the passes: the results, the two parameters, two constants, and scratch.
const (
	vC = iota
	vP
	vQ
	vLo
	vHi
	vTmp
	vSmall
	vBelow
	vWhole
	vMask = 15
)

// post is a pass over tile.k rows of c: tile.rows vectors each, the last with tile.lanes. Parameters are at a and b, as
// many as body takes, one for each row or, in the variant Lane, one for each lane.
func (a asm) post(s isa, name string, params int, start, body func()) {
	for _, lane := range []bool{false, true} {
		variant := "Row"
		if lane {
			variant = "Lane"
		}
		if params == 0 {
			if lane {
				continue
			}
			variant = ""
		}
		a.pass(s, fmt.Sprintf("%s%s%d", name, variant, s.bits), lane, params, start, body)
	}
}

// pass is one of them.
func (a asm) pass(s isa, name string, lane bool, params int, start, body func()) {
	a.tileFunc(name, name+" is a pass over finished results, see post.go.")
	a.mask(s)
	a.MOVQ(at(regTile, tileC), regC)
	a.MOVQ(at(regTile, tileLdc), regLdc)
	a.SHLQ(operand.Imm(2), regLdc)
	start()
	from := []reg.Register{regA, regB}[:params]
	a.Label("row")
	a.MOVQ(regC, regRow)
	a.MOVQ(at(regTile, tileRows), regTmp)
	for i, p := range from {
		if lane {
			a.MOVQ(p, laneParams[i])
		} else {
			a.VBROADCASTSS(at(p, 0), s.vec(vP+i))
			a.ADDQ(operand.Imm(4), p)
		}
	}
	a.JMP(operand.LabelRef("test"))
	a.Label("vector")
	for i := range from {
		if lane {
			a.VMOVUPS(at(laneParams[i], 0), s.vec(vP+i))
			a.ADDQ(operand.Imm(uint64(s.bits/8)), laneParams[i])
		}
	}
	a.VMOVUPS(at(regRow, 0), s.vec(vC))
	body()
	a.VMOVUPS(s.vec(vC), at(regRow, 0))
	a.ADDQ(operand.Imm(uint64(s.bits/8)), regRow)
	a.Label("test")
	a.DECQ(regTmp)
	a.JNZ(operand.LabelRef("vector"))
	for i := range from {
		if lane {
			a.loadMasked(s, at(laneParams[i], 0), vP+i)
		}
	}
	a.loadMasked(s, at(regRow, 0), vC)
	body()
	a.storeMasked(s, vC, at(regRow, 0))
	a.eachRow(regK)
}

var laneParams = []reg.Register{reg.R8, reg.R12}

// mask prepares the mask of the last vector.
func (a asm) mask(s isa) {
	if s.bits == 512 {
		a.mask16(at(regTile, tileLanes), reg.K1)
	} else {
		a.mask8(at(regTile, tileLanes), s.vec(vMask))
	}
}

func (a asm) loadMasked(s isa, m operand.Mem, to int) {
	if s.bits == 512 {
		a.VMOVUPS_Z(m, reg.K1, s.vec(to))
	} else {
		a.VMASKMOVPS(m, s.vec(vMask), s.vec(to))
	}
}

func (a asm) storeMasked(s isa, from int, m operand.Mem) {
	if s.bits == 512 {
		a.VMOVUPS(s.vec(from), reg.K1, m)
	} else {
		a.VMASKMOVPS(s.vec(from), s.vec(vMask), m)
	}
}

func (a asm) zero(s isa, v int) {
	if s.bits == 512 {
		a.VPXORD(s.vec(v), s.vec(v), s.vec(v))
	} else {
		a.VXORPS(s.vec(v), s.vec(v), s.vec(v))
	}
}

// posts writes all passes.
func (a asm) posts(s isa) {
	none := func() {}
	v := s.vec
	a.post(s, "bias", 1, none, func() { a.VADDPS(v(vP), v(vC), v(vC)) })
	a.post(s, "scale", 2, none, func() {
		// Two roundings, as the definition has it.
		a.VMULPS(v(vP), v(vC), v(vC))
		a.VADDPS(v(vQ), v(vC), v(vC))
	})
	a.post(s, "divide", 1, none, func() { a.VDIVPS(v(vP), v(vC), v(vC)) })
	a.post(s, "leak", 1, func() { a.zero(s, vLo) }, func() {
		if s.bits == 512 {
			a.VCMPPS(operand.U8(less), v(vLo), v(vC), reg.K2)
			a.VMULPS(v(vP), v(vC), reg.K2, v(vC))
			return
		}
		a.VCMPPS(operand.U8(less), v(vLo), v(vC), v(vHi))
		a.VMULPS(v(vP), v(vC), v(vTmp))
		a.VBLENDVPS(v(vHi), v(vTmp), v(vC), v(vC))
	})
	a.post(s, "clip", 0, func() {
		a.VBROADCASTSS(at(regA, 0), v(vLo))
		a.VBROADCASTSS(at(regA, 4), v(vHi))
	}, func() {
		// The second of Intel's operands, here the first, is the result if one is NaN, or both are zeros.
		a.VMAXPS(v(vC), v(vLo), v(vC))
		a.VMINPS(v(vC), v(vHi), v(vC))
	})
	a.pass(s, fmt.Sprintf("quantize%d", s.bits), false, 2, func() {
		a.constant(s, small, vSmall)
		a.constant(s, small|signBit, vBelow)
		a.constant(s, whole, vWhole)
		a.VBROADCASTSS(at(regTile, tileLimit), v(vLo))
		a.VBROADCASTSS(at(regTile, tileLimit+4), v(vHi))
	}, func() {
		a.VCVTDQ2PS(v(vC), v(vC))
		a.VMULPS(v(vP), v(vC), v(vC))
		a.VMAXPS(v(vBelow), v(vC), v(vC))
		a.VMINPS(v(vSmall), v(vC), v(vC))
		a.VADDPS(v(vWhole), v(vC), v(vC)) // which rounds to an integer
		a.VSUBPS(v(vWhole), v(vC), v(vC))
		a.VADDPS(v(vQ), v(vC), v(vC))
		a.VMAXPS(v(vLo), v(vC), v(vC))
		a.VMINPS(v(vHi), v(vC), v(vC))
	})
	a.residual(s)
}

// The bits of what quantize takes: 2^21, beyond which all results are limits, and 3·2^22, to which numbers below that are
// added as integers.
const (
	small = 0x4a000000
	whole = 0x4b400000
)

// less is the predicate "less than" of VCMPPS, false for NaN.
const less = 0x11

// residual adds rows of b, ldb apart.
func (a asm) residual(s isa) {
	name := fmt.Sprintf("residual%d", s.bits)
	a.tileFunc(name, name+" adds rows of b to those of c, see post.go.")
	a.mask(s)
	a.MOVQ(at(regTile, tileC), regC)
	a.MOVQ(at(regTile, tileLdc), regLdc)
	a.SHLQ(operand.Imm(2), regLdc)
	a.MOVQ(at(regTile, tileLdb), regNext)
	a.SHLQ(operand.Imm(2), regNext)
	a.Label("row")
	a.MOVQ(regC, regRow)
	a.MOVQ(regB, regA)
	a.MOVQ(at(regTile, tileRows), regTmp)
	a.JMP(operand.LabelRef("test"))
	a.Label("vector")
	a.VMOVUPS(at(regRow, 0), s.vec(vC))
	a.VADDPS(at(regA, 0), s.vec(vC), s.vec(vC))
	a.VMOVUPS(s.vec(vC), at(regRow, 0))
	a.ADDQ(operand.Imm(uint64(s.bits/8)), regRow)
	a.ADDQ(operand.Imm(uint64(s.bits/8)), regA)
	a.Label("test")
	a.DECQ(regTmp)
	a.JNZ(operand.LabelRef("vector"))
	a.loadMasked(s, at(regRow, 0), vC)
	a.loadMasked(s, at(regA, 0), vP)
	a.VADDPS(s.vec(vP), s.vec(vC), s.vec(vC))
	a.storeMasked(s, vC, at(regRow, 0))
	a.nextRow()
	a.ADDQ(regNext, regB)
	a.DECQ(regK)
	a.JNZ(operand.LabelRef("row"))
	a.VZEROUPPER()
	a.RET()
}

// constant fills a vector with the float of these bits.
func (a asm) constant(s isa, bits uint64, v int) {
	a.MOVL(operand.U32(bits), regTmp.As32())
	x := s.vec(v).AsX()
	a.VMOVD(regTmp.As32(), x)
	a.VBROADCASTSS(x, s.vec(v))
}
