package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// sums writes the kernels of depthwise convolutions and of poolings: every row of c is a sum of shifted rows of b, or the
// greatest of them,
//
//	c[r·ldc + x] (+)= Σ_p a[p] · b[off[p] + r·ldb + x]      c[r·ldc + x] = max_p b[off[p] + r·ldb + x]
//
// for 4 rows or one, of up to 4 vectors (2 where there are 16 registers).
func (a asm) sums(s isa) {
	widest := s.lanes / 4
	for nv := 1; nv <= widest; nv++ {
		a.strided(s, nv, false)
		a.strided(s, nv, true)
		for _, rows := range []int{1, 4} {
			a.sum(s, rows, nv)
			a.most(s, rows, nv)
		}
	}
}

// most is the greatest: NaN where there is one. There is at least one shifted row.
func (a asm) most(s isa, rows, nv int) {
	name := fmt.Sprintf("most%dx%dx%d", s.bits, nv, rows)
	a.tileFunc(name, fmt.Sprintf("%s computes %d rows of up to %d lanes as the greatest of shifted rows.", name, rows, nv*s.lanes))
	acc := func(r, v int) reg.VecPhysical { return s.vec(r*nv + v) }
	next, mask, nan := s.vec(rows*nv), s.vec(rows*nv+1), s.vec(rows*nv+2)
	if s.bits == 512 {
		a.mask16(at(regTile, tileLanes), reg.K1)
	} else {
		a.mask8(at(regTile, tileLanes), mask)
	}
	a.MOVQ(at(regTile, tileLdb), regLdc) // of b until the end
	a.SHLQ(operand.Imm(2), regLdc)
	// each visits the vectors of the shifted row that regOff points to.
	each := func(visit func(r, v int, m operand.Mem)) {
		a.MOVQ(at(regOff, 0), regTmp)
		a.LEAQ(row(regB, regTmp, 0), regTmp)
		for r := range rows {
			for v := range nv {
				visit(r, v, at(regTmp, v*s.bits/8))
			}
			if r < rows-1 {
				a.ADDQ(regLdc, regTmp)
			}
		}
		a.ADDQ(operand.Imm(8), regOff)
	}
	load := func(v int, m operand.Mem, to reg.Register) {
		switch {
		case v < nv-1:
			a.VMOVUPS(m, to)
		case s.bits == 512:
			a.VMOVUPS_Z(m, reg.K1, to)
		default:
			a.VMASKMOVPS(m, mask, to)
		}
	}
	each(func(r, v int, m operand.Mem) { load(v, m, acc(r, v)) })
	a.JMP(operand.LabelRef("test"))
	a.align()
	a.Label("loop")
	each(func(r, v int, m operand.Mem) {
		load(v, m, next)
		// Of equals, and if one is NaN, the maximum is the second of Intel's operands, here the first: what was there
		// before stays. A new NaN then comes in by itself.
		if s.bits == 512 {
			a.VCMPPS(operand.U8(unordered), next, next, reg.K2)
			a.VMAXPS(acc(r, v), next, acc(r, v))
			a.VMOVAPS(next, reg.K2, acc(r, v))
			return
		}
		a.VCMPPS(operand.U8(unordered), next, next, nan)
		a.VMAXPS(acc(r, v), next, acc(r, v))
		a.VBLENDVPS(nan, next, acc(r, v), acc(r, v))
	})
	a.Label("test")
	a.DECQ(regK)
	a.JNZ(operand.LabelRef("loop"))
	a.MOVQ(at(regTile, tileC), regC)
	a.MOVQ(at(regTile, tileLdc), regLdc)
	a.SHLQ(operand.Imm(2), regLdc)
	for r := range rows {
		for v := range nv - 1 {
			a.VMOVUPS(acc(r, v), at(regC, v*s.bits/8))
		}
		if s.bits == 512 {
			a.VMOVUPS(acc(r, nv-1), reg.K1, at(regC, (nv-1)*s.bits/8))
		} else {
			a.storeFirst(fmt.Sprint("row", r), acc(r, nv-1), at(regC, (nv-1)*s.bits/8), at(regTile, tileLanes), regTmp)
		}
		a.nextRow()
	}
	a.VZEROUPPER()
	a.RET()
}

// unordered is the predicate of VCMPPS for NaN.
const unordered = 3

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
			a.storeFirst(fmt.Sprint("row", r), acc(r, nv-1), at(regC, (nv-1)*s.bits/8), at(regTile, tileLanes), regTmp)
		}
		a.nextRow()
	}
	a.VZEROUPPER()
	a.RET()
}

// strided is a row of up to nv vectors of every other element of shifted rows,
//
//	c[x] (+)= Σ_p a[p] · b[off[p] + 2x]      c[x] = max_p b[off[p] + 2x]
//
// of which nothing is loaded beyond the last element.
func (a asm) strided(s isa, nv int, greatest bool) {
	kind, what := "sumEven", "sums"
	if greatest {
		kind, what = "mostEven", "the greatest"
	}
	name := fmt.Sprintf("%s%dx%d", kind, s.bits, nv)
	a.tileFunc(name, fmt.Sprintf("%s computes a row of up to %d lanes as %s of every other element of shifted rows.", name, nv*s.lanes, what))
	bytes := s.bits / 8
	w, x, y, next, nan := nv, nv+1, nv+2, nv+3, nv+4
	masks := []int{nv + 5, nv + 6} // of 256 bits
	const table = 16               // of 512 bits
	opmasks := []reg.Register{reg.K1, reg.K2}
	// The last vector's elements are in two, of 2·lanes − 1 in all.
	a.MOVQ(at(regTile, tileLanes), regNext)
	a.LEAQ(operand.Mem{Base: regNext, Index: regNext, Scale: 1, Disp: -1}, regNext)
	a.MOVQ(operand.U32(uint64(s.lanes)), regTmp)
	a.CMPQ(regNext, regTmp)
	a.CMOVQLT(regNext, regTmp) // in the first
	a.SUBQ(regTmp, regNext)    // in the second
	for i, n := range []reg.Register{regTmp, regNext} {
		if s.bits == 512 {
			a.MOVQ(operand.U32(1), regC)
			a.SHLXQ(n, regC, regC)
			a.DECQ(regC)
			a.KMOVW(regC.As32(), opmasks[i])
			continue
		}
		a.NEGQ(n)
		a.LEAQ(operand.NewDataAddr(operand.NewStaticSymbol(maskName), 32), regC)
		a.VMOVUPS(row(regC, n, 0), s.vec(masks[i]))
	}
	if s.bits == 512 {
		a.VMOVUPS(operand.NewDataAddr(operand.NewStaticSymbol(evenName), 0), s.vec(table))
	}
	a.MOVQ(at(regTile, tileLdb), regLdc)
	for v := range nv {
		a.zero(s, v)
	}
	each := func(visit func(v int)) {
		a.MOVQ(at(regOff, 0), regTmp)
		a.LEAQ(row(regB, regTmp, 0), regTmp)
		for v := range nv {
			for i, to := range []int{x, y} {
				switch m := at(regTmp, (2*v+i)*bytes); {
				case v < nv-1:
					a.VMOVUPS(m, s.vec(to))
				case s.bits == 512:
					a.VMOVUPS_Z(m, opmasks[i], s.vec(to))
				default:
					a.VMASKMOVPS(m, s.vec(masks[i]), s.vec(to))
				}
			}
			if s.bits == 512 {
				a.VPERMT2PS(s.vec(y), s.vec(table), s.vec(x))
			} else {
				a.VSHUFPS(evenQuarters, s.vec(y), s.vec(x), s.vec(x))
				a.VPERMPD(operand.U8(0xd8), s.vec(x), s.vec(x))
			}
			visit(v)
		}
		a.ADDQ(operand.Imm(8), regOff)
	}
	if greatest {
		each(func(v int) { a.VMOVAPS(s.vec(x), s.vec(v)) })
		a.DECQ(regK)
	}
	a.TESTQ(regK, regK)
	a.JZ(operand.LabelRef("store"))
	a.MOVQ(at(regTile, tileNext), regRow)
	a.TESTQ(regRow, regRow)
	a.JNZ(operand.LabelRef("far"))
	for _, loop := range []string{"loop", "far"} {
		a.align()
		a.Label(loop)
		if !greatest {
			a.VBROADCASTSS(at(regA, 0), s.vec(w))
		}
		each(func(v int) {
			if loop == "far" { // the next row's
				for i := range 2 {
					a.PREFETCHT0(operand.Mem{Base: regTmp, Index: regLdc, Scale: 4, Disp: (2*v + i) * bytes})
				}
			}
			switch {
			case !greatest:
				a.VFMADD231PS(s.vec(x), s.vec(w), s.vec(v))
			case s.bits == 512: // as in most
				a.VCMPPS(operand.U8(unordered), s.vec(x), s.vec(x), reg.K3)
				a.VMAXPS(s.vec(v), s.vec(x), s.vec(v))
				a.VMOVAPS(s.vec(x), reg.K3, s.vec(v))
			default:
				a.VCMPPS(operand.U8(unordered), s.vec(x), s.vec(x), s.vec(nan))
				a.VMAXPS(s.vec(v), s.vec(x), s.vec(v))
				a.VBLENDVPS(s.vec(nan), s.vec(x), s.vec(v), s.vec(v))
			}
		})
		a.ADDQ(operand.Imm(4), regA)
		a.DECQ(regK)
		a.JNZ(operand.LabelRef(loop))
		if loop == "loop" {
			a.JMP(operand.LabelRef("store"))
		}
	}
	a.Label("store")
	last := next
	if s.bits == 512 {
		a.mask16(at(regTile, tileLanes), reg.K1)
	} else {
		a.mask8(at(regTile, tileLanes), s.vec(masks[0]))
	}
	a.MOVQ(at(regTile, tileC), regC)
	if !greatest {
		a.CMPQ(at(regTile, tileAdd), operand.Imm(0))
		a.JEQ(operand.LabelRef("put"))
		for v := range nv {
			m := at(regC, v*bytes)
			switch {
			case v < nv-1:
				a.VMOVUPS(m, s.vec(last))
			case s.bits == 512:
				a.VMOVUPS_Z(m, reg.K1, s.vec(last))
			default:
				a.VMASKMOVPS(m, s.vec(masks[0]), s.vec(last))
			}
			a.VADDPS(s.vec(last), s.vec(v), s.vec(v))
		}
		a.Label("put")
	}
	for v := range nv {
		switch m := at(regC, v*bytes); {
		case v < nv-1:
			a.VMOVUPS(s.vec(v), m)
		case s.bits == 512:
			a.VMOVUPS(s.vec(v), reg.K1, m)
		default:
			a.storeFirst("last", s.vec(v), m, at(regTile, tileLanes), regTmp)
		}
	}
	a.VZEROUPPER()
	a.RET()
}
