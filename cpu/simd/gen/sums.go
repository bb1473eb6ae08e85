package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// sums writes the kernels of depthwise convolutions: every row of c is a sum of shifted rows of b,
//
//	c[r·ldc + x] (+)= Σ_p a[p] · b[off[p] + r·ldb + x]
//
// for 4 rows or one, of up to 4 vectors (2 where there are 16 registers).
func (a asm) sums(s isa) {
	widest := s.lanes / 4
	for nv := 1; nv <= widest; nv++ {
		for _, rows := range []int{1, 4} {
			a.sum(s, rows, nv)
		}
	}
}

func (a asm) sum(s isa, rows, nv int) {
	name := fmt.Sprintf("sum%dx%dx%d", s.bits, nv, rows)
	a.tileFunc(name, fmt.Sprintf("%s computes %d rows of up to %d lanes as sums of shifted rows.", name, rows, nv*s.lanes))
	acc := func(r, v int) reg.VecPhysical { return s.vec(r*nv + v) }
	w, last, mask := rows*nv, rows*nv+1, rows*nv+2
	if s.bits == 512 {
		a.mask16(at(regTile, tileLanes), reg.K1)
	} else {
		a.mask8(at(regTile, tileLanes), s.vec(mask))
	}
	load := func(m operand.Mem, to int) {
		if s.bits == 512 {
			a.VMOVUPS_Z(m, reg.K1, s.vec(to))
		} else {
			a.VMASKMOVPS(m, s.vec(mask), s.vec(to))
		}
	}
	for i := range rows * nv {
		a.zero(s, i)
	}
	a.MOVQ(at(regTile, tileLdb), regLdc) // of b until the sums are done
	a.SHLQ(operand.Imm(2), regLdc)
	a.TESTQ(regK, regK)
	a.JZ(operand.LabelRef("store"))
	a.align()
	a.Label("loop")
	a.MOVQ(at(regOff, 0), regTmp)
	a.LEAQ(row(regB, regTmp, 0), regTmp)
	a.VBROADCASTSS(at(regA, 0), s.vec(w))
	for r := range rows {
		for v := range nv - 1 {
			a.VFMADD231PS(at(regTmp, v*s.bits/8), s.vec(w), acc(r, v))
		}
		load(at(regTmp, (nv-1)*s.bits/8), last)
		a.VFMADD231PS(s.vec(last), s.vec(w), acc(r, nv-1))
		if r < rows-1 {
			a.ADDQ(regLdc, regTmp)
		}
	}
	a.ADDQ(operand.Imm(4), regA)
	a.ADDQ(operand.Imm(8), regOff)
	a.DECQ(regK)
	a.JNZ(operand.LabelRef("loop"))

	a.Label("store")
	a.MOVQ(at(regTile, tileC), regC)
	a.MOVQ(at(regTile, tileLdc), regLdc)
	a.SHLQ(operand.Imm(2), regLdc)
	a.CMPQ(at(regTile, tileAdd), operand.Imm(0))
	a.JEQ(operand.LabelRef("put"))
	a.MOVQ(regC, regRow)
	for r := range rows {
		for v := range nv - 1 {
			a.VADDPS(at(regRow, v*s.bits/8), acc(r, v), acc(r, v))
		}
		load(at(regRow, (nv-1)*s.bits/8), last)
		a.VADDPS(s.vec(last), acc(r, nv-1), acc(r, nv-1))
		a.ADDQ(regLdc, regRow)
	}
	a.Label("put")
	for r := range rows {
		for v := range nv - 1 {
			a.VMOVUPS(acc(r, v), at(regC, v*s.bits/8))
		}
		if s.bits == 512 {
			a.VMOVUPS(acc(r, nv-1), reg.K1, at(regC, (nv-1)*s.bits/8))
		} else {
			a.VMASKMOVPS(acc(r, nv-1), s.vec(mask), at(regC, (nv-1)*s.bits/8))
		}
		a.nextRow()
	}
	a.VZEROUPPER()
	a.RET()
}
