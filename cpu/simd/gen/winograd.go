package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The transforms of Winograd's F(4×4, 3×3), a vector of neighbouring tiles at a time. Each is two passes of the same
// one-dimensional transform, down the columns and along the rows, with the vectors between them in tile.a.
//
// Vector registers: operands from 0 on, results from 6 on, constants at the end. The masks of 256 bits take 15 in src and
// are loaded where they are needed in dst.
const (
	wIn    = 0
	wOut   = 6
	wSpare = 10 // two, of dst
	wFive  = 12 // of src
	wMark  = 12 // of dst: NaN where a result is not finite
	wTwo   = 13
	wFour  = 14
	wEight = 15 // of dst
)

// General registers beside those of all kernels.
var (
	wLine  = reg.R12 // bytes from row to row of the operand
	wPart  = reg.R13
	wPoint = reg.RBX
	wStep  = reg.R8 // bytes from plane to plane of the transformed
)

// constant fills a vector with the float of these bits.
func (a asm) constant(s isa, bits uint64, v int) {
	a.MOVL(operand.U32(bits), regTmp.As32())
	x := s.vec(v).AsX()
	a.VMOVD(regTmp.As32(), x)
	a.VBROADCASTSS(x, s.vec(v))
}

// The bits of constants.
const (
	two   = 0x40000000
	four  = 0x40800000
	five  = 0x40a00000
	eight = 0x41000000
)

// plus is to = x + f·y, minus to = x − f·y.
func (a asm) plus(s isa, x, f, y, to int) {
	a.VMOVAPS(s.vec(x), s.vec(to))
	a.VFMADD231PS(s.vec(f), s.vec(y), s.vec(to))
}

func (a asm) minus(s isa, x, f, y, to int) {
	a.VMOVAPS(s.vec(x), s.vec(to))
	a.VFNMADD231PS(s.vec(f), s.vec(y), s.vec(to))
}

// transposedB is Bᵀ of six vectors d at wIn: six at wOut. No sum has parts that are larger than Bᵀ says.
func (a asm) transposedB(s isa) {
	const d, o = wIn, wOut
	v := s.vec
	a.plus(s, d+4, wFour, d, o)
	a.VFNMADD231PS(v(wFive), v(d+2), v(o)) // 4·d0 − 5·d2 + d4
	a.minus(s, d+4, wFour, d+2, o+3)
	a.minus(s, d+3, wFour, d+1, o+4)
	a.VADDPS(v(o+4), v(o+3), v(o+1)) // (d4 − 4·d2) ± (d3 − 4·d1)
	a.VSUBPS(v(o+4), v(o+3), v(o+2))
	a.plus(s, d+5, wFour, d+1, o+5)
	a.VFNMADD231PS(v(wFive), v(d+3), v(o+5)) // 4·d1 − 5·d3 + d5
	a.VSUBPS(v(d+2), v(d+4), v(d+4))
	a.VSUBPS(v(d+1), v(d+3), v(d+3))
	a.plus(s, d+4, wTwo, d+3, o+3) // (d4 − d2) ± 2·(d3 − d1)
	a.minus(s, d+4, wTwo, d+3, o+4)
}

// transposedA is Aᵀ of six vectors m at wIn: four at wOut.
func (a asm) transposedA(s isa) {
	const m, y = wIn, wOut
	v := s.vec
	a.VSUBPS(v(m+2), v(m+1), v(y+1)) // m1 − m2
	a.VADDPS(v(m+2), v(m+1), v(m+1)) // m1 + m2
	a.VSUBPS(v(m+4), v(m+3), v(m+2)) // m3 − m4
	a.VADDPS(v(m+4), v(m+3), v(m+3)) // m3 + m4
	a.VADDPS(v(m+1), v(m), v(y))
	a.VADDPS(v(m+3), v(y), v(y))
	a.plus(s, m+1, wFour, m+3, y+2)
	a.plus(s, y+1, wEight, m+2, y+3)
	a.VADDPS(v(m+5), v(y+3), v(y+3))
	a.VFMADD231PS(v(wTwo), v(m+2), v(y+1))
}

// winogradSrc transforms the source's tiles of tile.k channels from rows that are parted by four:
//
//	c[(6i + j)·off[1] + channel·ldc + n] = Bᵀ d B [i, j],  d[i, j] = b[channel·ldb + (4i + j mod 4)·off[0] + j/4 + t]
//
// for the tiles t of the vector that off[2] has a bit for, tile.lanes in all, the n-th of them; of 256 bits, these are the
// first.
func (a asm) winogradSrc(s isa) {
	name := fmt.Sprintf("winogradSrc%d", s.bits)
	a.tileFunc(name, name+" transforms a vector of tiles of the source, for some channels.")
	a.mask(s)
	if s.bits == 512 {
		a.KMOVW(at(regOff, 16), reg.K2)
	}
	a.MOVQ(at(regOff, 0), wPart)
	a.SHLQ(operand.Imm(2), wPart)
	a.MOVQ(wPart, wLine)
	a.SHLQ(operand.Imm(2), wLine)
	a.MOVQ(at(regOff, 8), wStep)
	a.SHLQ(operand.Imm(2), wStep)
	a.strides()
	a.constant(s, two, wTwo)
	a.constant(s, four, wFour)
	a.constant(s, five, wFive)
	bytes := s.bits / 8
	a.Label("channel")
	a.MOVQ(regB, wPoint)
	for j := range 6 {
		switch {
		case j == 4:
			a.LEAQ(at(regB, 4), wPoint)
		case j > 0:
			a.ADDQ(wPart, wPoint)
		}
		a.column(s, 6)
		a.transposedB(s)
		for i := range 6 {
			a.VMOVUPS(s.vec(wOut+i), at(regA, (6*i+j)*bytes))
		}
	}
	a.MOVQ(regC, wPoint)
	for i := range 6 {
		a.between(s, 6*i)
		a.transposedB(s)
		for j := range 6 {
			if s.bits == 512 {
				a.VCOMPRESSPS_Z(s.vec(wOut+j), reg.K2, s.vec(wOut+j))
			}
			a.storeMasked(s, wOut+j, at(wPoint, 0))
			a.ADDQ(wStep, wPoint)
		}
	}
	a.ADDQ(regRow, regB)
	a.nextRow()
	a.DECQ(regK)
	a.JNZ(operand.LabelRef("channel"))
	a.VZEROUPPER()
	a.RET()
}

// winogradPart parts tile.k rows of four vectors by four:
//
//	c[p·off[0] + r·ldc + x] = b[off[1] + r·ldb + 4x + p]
//
// for p < 4 and x < tile.lanes. What is off[10] elements further is fetched meanwhile. Of vector v, lanes off[2+2v] … off[3+2v] are there to be loaded, the others are zeros.
func (a asm) winogradPart(s isa) {
	name := fmt.Sprintf("winogradPart%d", s.bits)
	a.tileFunc(name, name+" parts rows of four vectors by four.")
	const halves, parts, masks = 4, 8, 12
	loads := []reg.Register{reg.K2, reg.K3, reg.K4, reg.K5}
	bytes := s.bits / 8
	for v := range 4 {
		from, to := at(regOff, 16+16*v), at(regOff, 24+16*v)
		if s.bits == 512 {
			a.mask16(to, loads[v])
			a.mask16(from, reg.K6)
			a.KANDNW(loads[v], reg.K6, loads[v])
			continue
		}
		a.mask8(to, s.vec(masks+v))
		a.mask8(from, s.vec(0))
		a.VANDNPS(s.vec(masks+v), s.vec(0), s.vec(masks+v))
	}
	a.tables(s, evenName, oddName)
	if s.bits == 512 {
		a.mask16(at(regTile, tileLanes), reg.K1)
	}
	a.MOVQ(at(regOff, 0), wPart)
	a.SHLQ(operand.Imm(2), wPart)
	a.MOVQ(at(regOff, 8), regTmp)
	a.LEAQ(row(regB, regTmp, 0), regB)
	a.strides()
	masksAt, ahead := reg.R12, reg.R14
	a.MOVQ(at(regOff, 80), ahead)
	if s.bits == 256 {
		a.LEAQ(operand.NewDataAddr(operand.NewStaticSymbol(maskName), 32), masksAt)
	}
	a.Label("row")
	for v := range 4 {
		a.PREFETCHT0(row(regB, ahead, v*bytes))
		if s.bits == 512 {
			a.VMOVUPS_Z(at(regB, v*bytes), loads[v], s.vec(v))
		} else {
			a.VMASKMOVPS(at(regB, v*bytes), s.vec(masks+v), s.vec(v))
		}
	}
	// Even and odd elements, and those of each: parts 0 and 2, 1 and 3.
	a.pick(s, 0, 1, halves, halves+2)
	a.pick(s, 2, 3, halves+1, halves+3)
	a.pick(s, halves, halves+1, parts, parts+2)
	a.pick(s, halves+2, halves+3, parts+1, parts+3)
	a.MOVQ(regC, wPoint)
	if s.bits == 256 {
		a.MOVQ(at(regTile, tileLanes), regTmp)
		a.NEGQ(regTmp)
		a.VMOVUPS(row(masksAt, regTmp, 0), s.vec(0))
	}
	for p := range 4 {
		if s.bits == 512 {
			a.VMOVUPS(s.vec(parts+p), reg.K1, at(wPoint, 0))
		} else {
			a.VMASKMOVPS(s.vec(parts+p), s.vec(0), at(wPoint, 0))
		}
		a.ADDQ(wPart, wPoint)
	}
	a.ADDQ(regRow, regB)
	a.nextRow()
	a.DECQ(regK)
	a.JNZ(operand.LabelRef("row"))
	a.VZEROUPPER()
	a.RET()
}

// pick is the even and the odd elements of two vectors.
func (a asm) pick(s isa, x, y, even, odd int) {
	v := s.vec
	for i, to := range []int{even, odd} {
		if s.bits == 512 {
			a.VMOVAPS(v(x), v(to))
			a.VPERMT2PS(v(y), v(lists+i), v(to))
			continue
		}
		a.VSHUFPS([]operand.U8{evenQuarters, oddQuarters}[i], v(y), v(x), v(to))
		a.VPERMPD(operand.U8(0xd8), v(to), v(to))
	}
}

// column loads six vectors from wPoint on, wLine apart.
func (a asm) column(s isa, n int) {
	a.MOVQ(wPoint, regTmp)
	for i := range n {
		m := at(regTmp, 0)
		if i%3 > 0 {
			m = operand.Mem{Base: regTmp, Index: wLine, Scale: uint8(i % 3)}
		}
		a.VMOVUPS(m, s.vec(wIn+i))
		if i%3 == 2 {
			a.LEAQ(operand.Mem{Base: regTmp, Index: wLine, Scale: 2}, regTmp)
			a.ADDQ(wLine, regTmp)
		}
	}
}

// between loads the six vectors from the first-th of those between the passes on.
func (a asm) between(s isa, first int) {
	for j := range 6 {
		a.VMOVUPS(at(regA, (first+j)*s.bits/8), s.vec(wIn+j))
	}
}

// winogradDst transforms a row of tile.k tiles of products back, for the tile.lanes channels of a vector:
//
//	c[channel·off[1] + y·ldc + 4t + x] = clip(Aᵀ m A [y, x] + bias[channel]),  m[i, j] = b[(6i + j)·off[0] + t·ldb + channel]
//
// for y < rows and 4t + x < off[2]; of 512 bits, if add is not 0, past the caches, by whole vectors at addresses that are
// multiples of theirs. It works on as many tiles at a time as have a vector of results in a row, which is then
// transposed. off[2] is used up. In the end a begins with a vector that has NaN where a result of a channel, before bias
// and limits, is not finite; lanes beyond the channels may have it as well.
func (a asm) winogradDst(s isa) {
	name := fmt.Sprintf("winogradDst%d", s.bits)
	a.tileFunc(name, name+" transforms a row of tiles of products back, for a vector of channels.")
	bytes := s.bits / 8
	// Vectors of tile.a: those between the passes, results to be transposed, the mark and the biases.
	const between = 24
	mark, bias := at(regA, (between+4*s.lanes)*bytes), at(regA, (between+4*s.lanes+1)*bytes)
	tiles, results := reg.R11, reg.R14
	a.MOVQ(at(regTile, tileBias), wPoint)
	if s.bits == 512 {
		a.mask16(at(regTile, tileLanes), reg.K1)
		a.VMOVUPS_Z(at(wPoint, 0), reg.K1, s.vec(0))
	} else {
		a.mask8(at(regTile, tileLanes), s.vec(1))
		a.VMASKMOVPS(at(wPoint, 0), s.vec(1), s.vec(0))
	}
	a.VMOVUPS(s.vec(0), bias)
	a.zero(s, 0)
	a.VMOVUPS(s.vec(0), mark)
	a.MOVQ(at(regTile, tileC), regC)
	a.MOVQ(at(regTile, tileLdc), regLdc)
	a.SHLQ(operand.Imm(2), regLdc)
	a.MOVQ(at(regOff, 0), wPart)
	a.SHLQ(operand.Imm(2), wPart) // from plane to plane
	a.LEAQ(operand.Mem{Base: wPart, Index: wPart, Scale: 2}, wLine)
	a.SHLQ(operand.Imm(1), wLine)

	a.Label("tiles")
	a.constant(s, two, wTwo)
	a.constant(s, four, wFour)
	a.constant(s, eight, wEight)
	a.VMOVUPS(mark, s.vec(wMark))
	a.MOVQ(operand.U32(uint64(s.lanes/4)), tiles)
	a.CMPQ(regK, tiles)
	a.CMOVQLT(regK, tiles)
	a.SUBQ(tiles, regK)
	a.LEAQ(at(regA, between*bytes), results)
	a.Label("tile")
	a.MOVQ(regB, wPoint)
	for j := range 6 {
		if j > 0 {
			a.ADDQ(wPart, wPoint)
		}
		a.column(s, 6)
		a.transposedA(s)
		for y := range 4 {
			a.VMOVUPS(s.vec(wOut+y), at(regA, (6*y+j)*bytes))
		}
	}
	for y := range 4 {
		a.between(s, 6*y)
		a.transposedA(s)
		a.zero(s, wSpare)
		for x := range 4 {
			a.VFMADD231PS(s.vec(wSpare), s.vec(wOut+x), s.vec(wMark))
		}
		a.VMOVUPS(bias, s.vec(wSpare))
		for x := range 4 {
			a.VADDPS(s.vec(wSpare), s.vec(wOut+x), s.vec(wOut+x))
		}
		for i, limit := range []func(...operand.Op){a.VMAXPS, a.VMINPS} { // as in finish
			a.VBROADCASTSS(at(regTile, tileLimit+4*i), s.vec(wSpare))
			for x := range 4 {
				limit(s.vec(wOut+x), s.vec(wSpare), s.vec(wOut+x))
			}
		}
		for x := range 4 {
			a.VMOVUPS(s.vec(wOut+x), at(results, (s.lanes*y+x)*bytes))
		}
	}
	a.MOVQ(at(regTile, tileLdb), regTmp)
	a.LEAQ(row(regB, regTmp, 0), regB)
	a.ADDQ(operand.U32(uint32(4*bytes)), results)
	a.DECQ(tiles)
	a.JNZ(operand.LabelRef("tile"))
	a.VMOVUPS(s.vec(wMark), mark)

	a.winogradStore(s, between*bytes)
	a.ADDQ(operand.Imm(uint64(bytes)), regC)
	a.SUBQ(operand.Imm(uint64(s.lanes)), at(regOff, 16))
	a.TESTQ(regK, regK)
	a.JNZ(operand.LabelRef("tiles"))
	a.VMOVUPS(mark, s.vec(0))
	a.VMOVUPS(s.vec(0), at(regA, 0))
	if s.bits == 512 {
		a.SFENCE()
	}
	a.VZEROUPPER()
	a.RET()
}

// winogradStore transposes and stores up to four rows of a vector of results, which lie from byte first of tile.a on. It
// takes the general registers of winogradDst that work on a tile.
func (a asm) winogradStore(s isa, first int) {
	bytes := s.bits / 8
	step, line, to := reg.R11, wPoint, regTmp
	turned := 0 // the first register of the transposed
	if s.bits == 512 {
		a.MOVQ(operand.U32(16), line)
		a.CMPQ(at(regOff, 16), line)
		a.CMOVQLT(at(regOff, 16), line)
		a.MOVQ(operand.U32(1), to)
		a.SHLXQ(line, to, to)
		a.DECQ(to)
		a.KMOVW(to.As32(), reg.K2)
	} else {
		turned = 8
	}
	a.MOVQ(at(regOff, 8), step)
	a.SHLQ(operand.Imm(2), step)
	a.MOVQ(regC, line)
	for y := range 4 {
		a.CMPQ(at(regTile, tileRows), operand.Imm(uint64(y)))
		a.JLE(operand.LabelRef("stored"))
		for i := range s.lanes {
			a.VMOVUPS(at(regA, first+(s.lanes*y+i)*bytes), s.vec(i))
		}
		part, done := fmt.Sprintf("part%d", y), fmt.Sprintf("done%d", y)
		if s.bits == 512 {
			a.square512()
		} else {
			a.square256()
			a.CMPQ(at(regOff, 16), operand.Imm(8))
			a.JLT(operand.LabelRef(part))
		}
		a.MOVQ(line, to)
		store := func(put func(v reg.VecPhysical)) {
			for i := range s.lanes {
				if i > 0 {
					a.CMPQ(at(regTile, tileLanes), operand.Imm(uint64(i)))
					a.JLE(operand.LabelRef(done))
				}
				put(s.vec(turned + i))
				a.ADDQ(step, to)
			}
		}
		if s.bits == 512 {
			a.CMPQ(at(regTile, tileAdd), operand.Imm(0))
			a.JNE(operand.LabelRef(part))
			store(func(v reg.VecPhysical) { a.VMOVUPS(v, reg.K2, at(to, 0)) })
			a.JMP(operand.LabelRef(done))
			a.Label(part)
			store(func(v reg.VecPhysical) { a.VMOVNTPS(v, at(to, 0)) })
		} else {
			store(func(v reg.VecPhysical) { a.VMOVUPS(v, at(to, 0)) })
			a.JMP(operand.LabelRef(done))
			a.Label(part)
			a.MOVQ(at(regOff, 16), reg.R14)
			a.NEGQ(reg.R14)
			a.LEAQ(operand.NewDataAddr(operand.NewStaticSymbol(maskName), 32), to)
			a.VMOVUPS(row(to, reg.R14, 0), s.vec(0))
			a.MOVQ(line, to)
			store(func(v reg.VecPhysical) { a.VMASKMOVPS(v, s.vec(0), at(to, 0)) })
		}
		a.Label(done)
		a.ADDQ(regLdc, line)
	}
	a.Label("stored")
}

// lists is where the two tables of pick and weave are, of 512 bits.
const lists = 16

// tables loads them; of 256 bits none are needed.
func (a asm) tables(s isa, names ...string) {
	if s.bits == 256 {
		return
	}
	for i, n := range names {
		a.VMOVUPS(operand.NewDataAddr(operand.NewStaticSymbol(n), 0), s.vec(lists+i))
	}
}
