package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Immediate operands that choose the even and the odd ones of four quarters of two vectors, and the lower and upper
// halves.
const (
	evenQuarters = operand.U8(0x88)
	oddQuarters  = operand.U8(0xdd)
	lowHalves    = operand.U8(0x20)
	highHalves   = operand.U8(0x31)
)

// interleave is the two steps that transpose 4×4 blocks in n vectors, from those at from to others and back.
func (a asm) interleave(n int, vec func(int) reg.VecPhysical) {
	for i := 0; i < n; i += 2 {
		a.VUNPCKLPS(vec(i+1), vec(i), vec(n+i))
		a.VUNPCKHPS(vec(i+1), vec(i), vec(n+i+1))
	}
	for i := 0; i < n; i += 4 {
		for j := range 2 {
			x, y := vec(n+i+j), vec(n+i+j+2)
			a.VUNPCKLPD(y, x, vec(i+2*j))
			a.VUNPCKHPD(y, x, vec(i+2*j+1))
		}
	}
}

// square512 transposes the 16×16 of the first 16 vectors, and takes the others.
func (a asm) square512() {
	a.interleave(16, zmm)
	for half := range 2 {
		for i := range 4 {
			x, y := zmm(8*half+i), zmm(8*half+i+4)
			a.VSHUFF32X4(evenQuarters, y, x, zmm(16+8*half+i))
			a.VSHUFF32X4(oddQuarters, y, x, zmm(16+8*half+i+4))
		}
	}
	for i := range 8 {
		a.VSHUFF32X4(evenQuarters, zmm(24+i), zmm(16+i), zmm(i))
		a.VSHUFF32X4(oddQuarters, zmm(24+i), zmm(16+i), zmm(8+i))
	}
}

// square256 transposes the 8×8 of the first 8 vectors to the others.
func (a asm) square256() {
	a.interleave(8, ymm)
	for i := range 4 {
		a.VPERM2F128(lowHalves, ymm(4+i), ymm(i), ymm(8+i))
		a.VPERM2F128(highHalves, ymm(4+i), ymm(i), ymm(12+i))
	}
}

// transpose512 transposes up to 16×16.
func (a asm) transpose512() {
	a.turn512("transpose512", "transpose512 transposes a block of up to 16×16.", false)
}

// turnBytes512 transposes up to 16×16, of which it stores the lowest bytes.
func (a asm) turnBytes512() {
	a.turn512("turnBytes512", "turnBytes512 transposes a block of up to 16×16, of which bytes are left.", true)
}

func (a asm) turn512(name, doc string, bytes bool) {
	a.tileFunc(name, doc)
	a.mask16(at(regTile, tileLanes), reg.K1)
	a.mask16(at(regTile, tileK), reg.K2)
	a.strides()
	if bytes {
		a.SHRQ(operand.Imm(2), regLdc)
	}
	for r := range 16 {
		a.CMPQ(regK, operand.Imm(uint64(r)))
		a.JLE(operand.LabelRef("loaded"))
		a.VMOVUPS_Z(at(regB, 0), reg.K1, zmm(r))
		a.ADDQ(regRow, regB)
	}
	a.Label("loaded")
	a.square512()
	a.MOVQ(at(regTile, tileLanes), regK)
	for x := range 16 {
		a.CMPQ(regK, operand.Imm(uint64(x)))
		a.JLE(operand.LabelRef("stored"))
		if bytes {
			a.VPMOVDB(zmm(x), reg.K2, at(regC, 0))
		} else {
			a.VMOVUPS(zmm(x), reg.K2, at(regC, 0))
		}
		a.nextRow()
	}
	a.Label("stored")
	a.VZEROUPPER()
	a.RET()
}

// strides loads the destination, and both strides in bytes: the source's into regRow.
func (a asm) strides() {
	a.MOVQ(at(regTile, tileC), regC)
	a.MOVQ(at(regTile, tileLdc), regLdc)
	a.SHLQ(operand.Imm(2), regLdc)
	a.MOVQ(at(regTile, tileLdb), regRow)
	a.SHLQ(operand.Imm(2), regRow)
}

// transpose256 transposes up to 8×8, whole blocks without masks.
func (a asm) transpose256() {
	a.tileFunc("transpose256", "transpose256 transposes a block of up to 8×8.")
	a.mask8(at(regTile, tileLanes), reg.Y15)
	a.strides()
	a.MOVQ(regK, regTmp)
	a.ANDQ(at(regTile, tileLanes), regTmp)
	a.CMPQ(regTmp, operand.Imm(8)) // both are 8 at most
	a.JNE(operand.LabelRef("part"))
	for r := range 8 {
		a.VMOVUPS(at(regB, 0), ymm(r))
		a.ADDQ(regRow, regB)
	}
	a.JMP(operand.LabelRef("loaded"))
	a.Label("part")
	for r := range 8 {
		a.CMPQ(regK, operand.Imm(uint64(r)))
		a.JLE(operand.LabelRef("loaded"))
		a.VMASKMOVPS(at(regB, 0), reg.Y15, ymm(r))
		a.ADDQ(regRow, regB)
	}
	a.Label("loaded")
	a.square256()
	a.CMPQ(regTmp, operand.Imm(8))
	a.JNE(operand.LabelRef("partStore"))
	for x := range 8 {
		a.VMOVUPS(ymm(8+x), at(regC, 0))
		a.nextRow()
	}
	a.VZEROUPPER()
	a.RET()
	a.Label("partStore")
	a.MOVQ(at(regTile, tileLanes), regK)
	for x := range 8 {
		a.CMPQ(regK, operand.Imm(uint64(x)))
		a.JLE(operand.LabelRef("stored"))
		a.storeFirst(fmt.Sprint("row", x), ymm(8+x), at(regC, 0), at(regTile, tileK), regTmp)
		a.nextRow()
	}
	a.Label("stored")
	a.VZEROUPPER()
	a.RET()
}
