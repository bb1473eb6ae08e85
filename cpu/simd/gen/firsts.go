package main

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// firsts writes the kernels that say which of shifted rows is the greatest: the first of equals, the last NaN before all,
//
//	c[x] = off[2p + 1] of the p with the greatest b[off[2p] + x], or the least integer where all are −∞
//
// for a row of up to 4 vectors (2 where there are 16 registers).
func (a asm) firsts(s isa) {
	for nv := 1; nv <= s.lanes/4; nv++ {
		a.first(s, nv)
	}
}

// greater is the predicate of VCMPPS that is false for NaN.
const greater = 0x1e

func (a asm) first(s isa, nv int) {
	name := fmt.Sprintf("first%dx%d", s.bits, nv)
	a.tileFunc(name, fmt.Sprintf("%s says of up to %d lanes which of shifted rows is the greatest.", name, nv*s.lanes))
	best := func(v int) reg.VecPhysical { return s.vec(v) }
	which := func(v int) reg.VecPhysical { return s.vec(nv + v) }
	x, this, more, nan, mask := s.vec(2*nv), s.vec(2*nv+1), s.vec(2*nv+2), s.vec(2*nv+3), s.vec(2*nv+4)
	if s.bits == 512 {
		a.mask16(at(regTile, tileLanes), reg.K1)
	} else {
		a.mask8(at(regTile, tileLanes), mask)
	}
	for v, bits := range []uint32{math.Float32bits(float32(math.Inf(-1))), 1 << 31} {
		a.MOVL(operand.U32(bits), regTmp.As32())
		if s.bits == 512 {
			a.VPBROADCASTD(regTmp.As32(), s.vec(v*nv))
		} else {
			a.VMOVD(regTmp.As32(), s.vec(v*nv).AsX())
			a.VPBROADCASTD(s.vec(v*nv).AsX(), s.vec(v*nv))
		}
		for i := 1; i < nv; i++ {
			a.VMOVAPS(s.vec(v*nv), s.vec(v*nv+i))
		}
	}
	a.align()
	a.Label("loop")
	a.MOVQ(at(regOff, 0), regTmp)
	a.VPBROADCASTD(at(regOff, 8), this)
	for v := range nv {
		m := row(regB, regTmp, v*s.bits/8)
		switch {
		case v < nv-1:
			a.VMOVUPS(m, x)
		case s.bits == 512:
			a.VMOVUPS_Z(m, reg.K1, x)
		default:
			a.VMASKMOVPS(m, mask, x)
		}
		if s.bits == 512 {
			a.VCMPPS(operand.U8(greater), best(v), x, reg.K2)
			a.VCMPPS(operand.U8(unordered), x, x, reg.K3)
			a.KORW(reg.K2, reg.K3, reg.K2)
			a.VMOVAPS(x, reg.K2, best(v))
			a.VMOVAPS(this, reg.K2, which(v))
			continue
		}
		a.VCMPPS(operand.U8(greater), best(v), x, more)
		a.VCMPPS(operand.U8(unordered), x, x, nan)
		a.VORPS(more, nan, more)
		a.VBLENDVPS(more, x, best(v), best(v))
		a.VBLENDVPS(more, this, which(v), which(v))
	}
	a.ADDQ(operand.Imm(16), regOff)
	a.DECQ(regK)
	a.JNZ(operand.LabelRef("loop"))
	a.MOVQ(at(regTile, tileC), regC)
	for v := range nv {
		switch m := at(regC, v*s.bits/8); {
		case v < nv-1:
			a.VMOVUPS(which(v), m)
		case s.bits == 512:
			a.VMOVUPS(which(v), reg.K1, m)
		default:
			a.storeFirst("last", which(v).(reg.VecPhysical), m, at(regTile, tileLanes), regTmp)
		}
	}
	a.VZEROUPPER()
	a.RET()
}

// every writes rows of whole vectors to every other element: c[2x] = b[x]. What lies between stays, but where there are no
// masks it is written as it was.
func (a asm) every(s isa) {
	name := fmt.Sprintf("every%d", s.bits)
	a.tileFunc(name, name+" sets every other element of rows.")
	x, y := s.vec(0), s.vec(1)
	if s.bits == 512 {
		a.MOVL(operand.U32(0x5555), regTmp.As32())
		a.KMOVW(regTmp.As32(), reg.K1)
	}
	a.strides()
	from, to := reg.R12, reg.R13
	a.Label("row")
	a.MOVQ(regB, from)
	a.MOVQ(regC, to)
	a.MOVQ(at(regTile, tileRows), regTmp)
	a.Label("vector")
	a.VPMOVZXDQ(at(from, 0), x)
	if s.bits == 512 {
		a.VMOVUPS(x, reg.K1, at(to, 0))
	} else {
		a.VMOVUPS(at(to, 0), y)
		a.VBLENDPS(operand.U8(0x55), x, y, y)
		a.VMOVUPS(y, at(to, 0))
	}
	a.ADDQ(operand.Imm(uint64(s.bits/16)), from)
	a.ADDQ(operand.Imm(uint64(s.bits/8)), to)
	a.DECQ(regTmp)
	a.JNZ(operand.LabelRef("vector"))
	a.ADDQ(regRow, regB)
	a.eachRow(regK)
}

// joins writes rows of pairs of elements, of a and of b, whole vectors of them: c[2x] = a[x], c[2x+1] = b[x].
func (a asm) joins(s isa) {
	name := fmt.Sprintf("joins%d", s.bits)
	a.tileFunc(name, name+" joins rows of even and of odd elements.")
	x, y := s.vec(0), s.vec(1)
	a.strides()
	stride := reg.R8 // of a
	a.MOVQ(at(regTile, tileLda), stride)
	a.SHLQ(operand.Imm(2), stride)
	from, to := reg.R12, reg.R13
	a.Label("row")
	a.XORQ(from, from)
	a.MOVQ(regC, to)
	a.MOVQ(at(regTile, tileRows), regTmp)
	a.Label("vector")
	a.VPMOVZXDQ(operand.Mem{Base: regA, Index: from, Scale: 1}, x)
	a.VPMOVZXDQ(operand.Mem{Base: regB, Index: from, Scale: 1}, y)
	a.VPSLLQ(operand.Imm(32), y, y)
	if s.bits == 512 {
		a.VPORQ(x, y, x)
	} else {
		a.VPOR(x, y, x)
	}
	a.VMOVUPS(x, at(to, 0))
	a.ADDQ(operand.Imm(uint64(s.bits/16)), from)
	a.ADDQ(operand.Imm(uint64(s.bits/8)), to)
	a.DECQ(regTmp)
	a.JNZ(operand.LabelRef("vector"))
	a.ADDQ(stride, regA)
	a.ADDQ(regRow, regB)
	a.eachRow(regK)
}
