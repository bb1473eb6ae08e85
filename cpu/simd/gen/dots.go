package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// dots writes the kernels of gradients: products of rows of a with rows of b, summed up along them,
//
//	c[m·ldc + p] += Σ_r Σ_x a[m·plane + r·lda + x] · b[off[p] + r·ldb + x]
//
// for r < k and x < rows vectors and lanes of another. All sums stay in registers, to the end by lanes.
func dots(a asm) {
	a.laneMasks()
	for _, s := range []isa{isa512, isa256} {
		for _, d := range dotTiles[s.bits] {
			for n := 1; n <= d.most; n++ {
				a.dot(s, d.rows, n)
			}
		}
	}
}

// dotTiles are the rows of tiles, and how many sums these have each at most: so many rows of b as there are registers for.
var dotTiles = map[int][]struct{ rows, most int }{
	512: {{1, 9}, {2, 6}, {4, 6}},
	256: {{1, 9}, {2, 6}},
}

// General registers beside those of all kernels. Sums are of few rows where many rows of b take all of them.
var (
	dotAt    = reg.RDX // bytes from the start of b's rows
	dotRows  = []reg.Register{reg.R8, reg.R9, reg.R10, reg.R11, reg.R12, reg.R13, reg.RBX, reg.R14, reg.R15}
	dotPlane = []reg.Register{nil, reg.RBX, reg.RBX, reg.R14} // once and three times
)

func (a asm) dot(s isa, mr, n int) {
	name := fmt.Sprintf("dot%dx%dx%d", s.bits, mr, n)
	a.tileFunc(name, fmt.Sprintf("%s computes the sums of the products of %d rows with %d.", name, mr, n))
	acc := func(m, p int) reg.VecPhysical { return s.vec(m*n + p) }
	x := func(m int) reg.VecPhysical { return s.vec(mr*n + m) }
	y, mask := s.vec(mr*n+mr), s.vec(15)
	if s.bits == 512 {
		a.mask16(at(regTile, tileLanes), reg.K1)
	} else {
		a.mask8(at(regTile, tileLanes), mask)
	}
	a.MOVQ(regOff, regTmp)
	for p := range n {
		a.MOVQ(at(regTmp, 8*p), dotRows[p])
		a.LEAQ(row(regB, dotRows[p], 0), dotRows[p])
	}
	if mr > 1 {
		a.MOVQ(at(regTile, tilePlane), dotPlane[1])
		a.SHLQ(operand.Imm(2), dotPlane[1])
	}
	if mr > 3 {
		a.LEAQ(operand.Mem{Base: dotPlane[1], Index: dotPlane[1], Scale: 2}, dotPlane[3])
	}
	// What is left of a row's distance to the next behind its whole vectors.
	for _, ld := range []int{tileLda, tileLdb} {
		a.MOVQ(at(regTile, tileRows), regTmp)
		a.IMUL3Q(operand.Imm(uint64(s.lanes)), regTmp, regTmp)
		a.SUBQ(regTmp, at(regTile, ld))
		a.SHLQ(operand.Imm(2), at(regTile, ld))
	}
	for i := range mr * n {
		a.zero(s, i)
	}
	a.XORQ(dotAt, dotAt)
	left := func(m int) operand.Mem {
		switch m {
		case 0:
			return at(regA, 0)
		case 2:
			return operand.Mem{Base: regA, Index: dotPlane[1], Scale: 2}
		}
		return operand.Mem{Base: regA, Index: dotPlane[m], Scale: 1}
	}
	right := func(p int) operand.Mem { return operand.Mem{Base: dotRows[p], Index: dotAt, Scale: 1} }
	a.Label("row")
	a.MOVQ(at(regTile, tileRows), regK)
	a.TESTQ(regK, regK)
	a.JZ(operand.LabelRef("last"))
	a.align()
	a.Label("vector")
	for m := range mr {
		a.VMOVUPS(left(m), x(m))
	}
	for p := range n {
		if mr == 1 {
			a.VFMADD231PS(right(p), x(0), acc(0, p))
			continue
		}
		a.VMOVUPS(right(p), y)
		for m := range mr {
			a.VFMADD231PS(y, x(m), acc(m, p))
		}
	}
	a.ADDQ(operand.Imm(uint64(s.bits/8)), regA)
	a.ADDQ(operand.Imm(uint64(s.bits/8)), dotAt)
	a.DECQ(regK)
	a.JNZ(operand.LabelRef("vector"))
	a.Label("last")
	load := func(m operand.Mem, to reg.Register) {
		if s.bits == 512 {
			a.VMOVUPS_Z(m, reg.K1, to)
		} else {
			a.VMASKMOVPS(m, mask, to)
		}
	}
	for m := range mr {
		load(left(m), x(m))
	}
	for p := range n {
		load(right(p), y)
		for m := range mr {
			a.VFMADD231PS(y, x(m), acc(m, p))
		}
	}
	a.ADDQ(at(regTile, tileLda), regA)
	a.ADDQ(at(regTile, tileLdb), dotAt)
	a.DECQ(at(regTile, tileK))
	a.JNZ(operand.LabelRef("row"))

	a.MOVQ(at(regTile, tileC), regC)
	a.MOVQ(at(regTile, tileLdc), regLdc)
	a.SHLQ(operand.Imm(2), regLdc)
	for m := range mr {
		p := 0
		for ; p+4 <= n; p += 4 {
			a.pairwise(acc(m, p), acc(m, p+1), x(0))
			a.pairwise(acc(m, p+2), acc(m, p+3), x(0))
			a.VUNPCKLPD(acc(m, p+2), acc(m, p), x(0))
			a.VUNPCKHPD(acc(m, p+2), acc(m, p), acc(m, p))
			a.VADDPS(x(0), acc(m, p), acc(m, p))
			a.quarter(s, acc(m, p), x(0))
			sums := acc(m, p).AsX()
			a.VADDPS(at(regC, 4*p), sums, sums)
			a.VMOVUPS(sums, at(regC, 4*p))
		}
		for ; p+2 <= n; p += 2 {
			a.pairwise(acc(m, p), acc(m, p+1), x(0))
			a.quarter(s, acc(m, p), x(0))
			sums, t := acc(m, p).AsX(), x(0).AsX()
			a.VMOVHLPS(sums, sums, t)
			a.VADDPS(t, sums, sums)
			a.VMOVSD(at(regC, 4*p), t)
			a.VADDPS(t, sums, sums)
			a.VMOVSD(sums, at(regC, 4*p))
		}
		if p < n {
			a.across(s, acc(m, p), x(0))
			sum := acc(m, p).AsX()
			a.VADDSS(at(regC, 4*p), sum, sum)
			a.VMOVSS(sum, at(regC, 4*p))
		}
		a.nextRow()
	}
	a.VZEROUPPER()
	a.RET()
}

// pairwise has v, in each quarter, be two sums of two lanes of v and of w in turns; t is free.
func (a asm) pairwise(v, w, t reg.VecPhysical) {
	a.VUNPCKLPS(w, v, t)
	a.VUNPCKHPS(w, v, v)
	a.VADDPS(t, v, v)
}

// quarter adds up the quarters of a vector, or halves of 256 bits, lane by lane, to the first; t is free.
func (a asm) quarter(s isa, v, t reg.VecPhysical) {
	x, y := v.AsX(), t.AsX()
	if s.bits == 512 {
		a.VEXTRACTF64X4(operand.Imm(1), v, t.AsY())
		a.VADDPS(t.AsY(), v.AsY(), v.AsY())
		a.VEXTRACTF64X2(operand.Imm(1), v.AsY(), y)
	} else {
		a.VEXTRACTF128(operand.Imm(1), v, y)
	}
	a.VADDPS(y, x, x)
}

// across adds up the lanes of a vector, in the first of which the sum is then; t is free.
func (a asm) across(s isa, v, t reg.VecPhysical) {
	x, y := v.AsX(), t.AsX()
	a.quarter(s, v, t)
	a.VMOVHLPS(x, x, y)
	a.VADDPS(y, x, x)
	a.VMOVSHDUP(x, y)
	a.VADDSS(y, x, x)
}
