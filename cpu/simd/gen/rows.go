package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// copy512 copies as many rows of up to 16 lanes as tile.k says, from where tile.off says: c[i·ldc + x] = b[off[i] + x].
func (a asm) copy512() {
	for nv := 1; nv <= 3; nv++ {
		a.tileFunc(fmt.Sprintf("copy512x%d", nv), fmt.Sprintf("copy512x%d copies rows of up to %d lanes.", nv, 16*nv))
		a.mask16(at(regTile, tileLanes), reg.K1)
		a.MOVQ(at(regTile, tileC), regC)
		a.MOVQ(at(regTile, tileLdc), regLdc)
		a.SHLQ(operand.Imm(2), regLdc)
		a.TESTQ(regK, regK)
		a.JZ(operand.LabelRef("done"))
		a.align()
		a.Label("loop")
		a.MOVQ(at(regOff, 0), regTmp)
		for v := range nv - 1 {
			a.VMOVUPS(row(regB, regTmp, 64*v), zmm(v))
		}
		a.VMOVUPS_Z(row(regB, regTmp, 64*(nv-1)), reg.K1, zmm(nv-1))
		for v := range nv - 1 {
			a.VMOVUPS(zmm(v), at(regC, 64*v))
		}
		a.VMOVUPS(zmm(nv-1), reg.K1, at(regC, 64*(nv-1)))
		a.nextRow()
		a.ADDQ(operand.Imm(8), regOff)
		a.DECQ(regK)
		a.JNZ(operand.LabelRef("loop"))
		a.Label("done")
		a.VZEROUPPER()
		a.RET()
	}
}

// copy256 is the same with rows of up to 8 and 16 lanes.
func (a asm) copy256() {
	for nv := 1; nv <= 2; nv++ {
		a.tileFunc(fmt.Sprintf("copy256x%d", nv), fmt.Sprintf("copy256x%d copies rows of up to %d lanes.", nv, 8*nv))
		a.mask8(at(regTile, tileLanes), reg.Y15)
		a.MOVQ(at(regTile, tileC), regC)
		a.MOVQ(at(regTile, tileLdc), regLdc)
		a.SHLQ(operand.Imm(2), regLdc)
		a.TESTQ(regK, regK)
		a.JZ(operand.LabelRef("done"))
		a.CMPQ(at(regTile, tileLanes), operand.Imm(8))
		a.JNE(operand.LabelRef("masked"))
		for _, loop := range []string{"loop", "masked"} {
			a.align()
			a.Label(loop)
			a.MOVQ(at(regOff, 0), regTmp)
			for v := range nv {
				from, to := row(regB, regTmp, 32*v), at(regC, 32*v)
				if v == nv-1 && loop == "masked" {
					a.VMASKMOVPS(from, reg.Y15, ymm(v))
					a.storePieces("piece", ymm(v), to, at(regTile, tileLanes), regRow)
				} else {
					a.VMOVUPS(from, ymm(v))
					a.VMOVUPS(ymm(v), to)
				}
			}
			a.nextRow()
			a.ADDQ(operand.Imm(8), regOff)
			a.DECQ(regK)
			a.JNZ(operand.LabelRef(loop))
			if loop == "loop" {
				a.JMP(operand.LabelRef("done"))
			}
		}
		a.Label("done")
		a.VZEROUPPER()
		a.RET()
	}
}

// peak is n rounds of independent fused multiply-adds: what the cores can do at best.
func (a asm) peak(name string, chains int, vec func(int) reg.VecPhysical) {
	a.Function(name)
	a.Attributes(attr.NOSPLIT)
	a.SignatureExpr("func(n int)")
	a.Doc(fmt.Sprintf("%s runs n rounds of %d independent fused multiply-adds.", name, chains))
	a.Load(a.Param("n"), regK)
	for i := range chains + 2 {
		if chains > 12 {
			a.VPXORD(vec(i), vec(i), vec(i))
		} else {
			a.VXORPS(vec(i), vec(i), vec(i))
		}
	}
	a.align()
	a.Label("loop")
	for i := range chains {
		a.VFMADD231PS(vec(chains), vec(chains+1), vec(i))
	}
	a.DECQ(regK)
	a.JNZ(operand.LabelRef("loop"))
	a.VZEROUPPER()
	a.RET()
}

func avx512(a asm) {
	a.laneLists()
	for nv, rows := range []int{14, 14, 8} {
		for mr := 1; mr <= rows; mr++ {
			a.gemm512(floats, mr, nv+1)
		}
	}
	for nv, rows := range []int{14, 14, 9, 7} {
		for mr := 1; mr <= rows; mr++ {
			a.spread512(floats, mr, nv+1)
		}
	}
	a.copy512()
	a.transpose512()
	a.split(isa512)
	a.halves(isa512)
	a.posts(isa512)
	a.sums(isa512)
	a.firsts(isa512)
	a.every(isa512)
	a.joins(isa512)
	a.peak("peak512", 24, zmm)
}

func avx2(a asm) {
	a.laneMasks()
	for nv := 1; nv <= 2; nv++ {
		for mr := 1; mr <= 6; mr++ {
			a.gemm256(floats, mr, nv)
		}
		for mr := 1; mr <= 5; mr++ {
			a.gemm256(pairs, mr, nv)
		}
	}
	for nv, rows := range []int{12, 6, 4} {
		for mr := 1; mr <= rows; mr++ {
			a.spread256(mr, nv+1)
		}
	}
	a.copy256()
	a.join256()
	a.transpose256()
	a.split(isa256)
	a.halves(isa256)
	a.posts(isa256)
	a.sums(isa256)
	a.firsts(isa256)
	a.every(isa256)
	a.joins(isa256)
	a.peak("peak256", 12, ymm)
}

func vnni(a asm) {
	for nv, rows := range []int{14, 14, 8} {
		for mr := 1; mr <= rows; mr++ {
			a.gemm512(pairsVNNI, mr, nv+1)
		}
	}
	a.join512()
}
