package main

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The Fourier transforms of package simd's fft.go. What a line of n complex numbers is made of lies in vectors, the real
// parts from tile.b and the imaginary ones from tile.c on, tile.ldb elements apart.

const twiddleName = "twiddles"

// twiddles are cos(2πj/64), then sin(2πj/64), j < 64.
func (a asm) twiddles() {
	a.StaticGlobal(twiddleName)
	a.DataAttributes(attr.RODATA | attr.NOPTR)
	for j := range 2 * 64 {
		sin, cos := math.Sincos(2 * math.Pi * float64(j%64) / 64)
		v := cos
		if j >= 64 {
			v = sin
		}
		if j%16 == 0 && math.Abs(v) < 0.5 {
			v = 0
		}
		a.AddDatum(4*j, operand.U32(math.Float32bits(float32(v))))
	}
}

// Registers of the transforms beside those of all kernels.
var (
	fStep    = reg.RBX // bytes from element to element
	fQuarter = reg.R10 // bytes of a quarter of a line
	fThree   = reg.R11 // of three quarters
	fRe      = reg.R12
	fIm      = reg.R13
)

// quarter is the vector of the q-th quarter from p on.
func quarter(p reg.Register, q int) operand.Mem {
	switch q {
	case 0:
		return at(p, 0)
	case 3:
		return operand.Mem{Base: p, Index: fThree, Scale: 1}
	}
	return operand.Mem{Base: p, Index: fQuarter, Scale: uint8(q)}
}

// fourier transforms tile.k lines of n = 16, 32 or 64 in place, X[j] = Σ x[i]·e^(−2πi·ij/n), each tile.ldc and tile.rows
// elements after the one before: a step of radix 4 from the line to tile.a, one there if n is more than 16, and the last,
// of radix 4 or 2, back to the line.
func (a asm) fourier(s isa, n int) {
	name := fmt.Sprintf("fourier%dx%d", s.bits, n)
	a.tileFunc(name, fmt.Sprintf("%s transforms lines of %d.", name, n))
	bytes := s.bits / 8
	a.MOVQ(at(regTile, tileC), regC)
	a.MOVQ(at(regTile, tileLdb), fStep)
	a.SHLQ(operand.Imm(2), fStep)
	a.MOVQ(fStep, fQuarter)
	for m := n / 4; m > 1; m /= 2 {
		a.SHLQ(operand.Imm(1), fQuarter)
	}
	a.LEAQ(operand.Mem{Base: fQuarter, Index: fQuarter, Scale: 2}, fThree)
	a.SHLQ(operand.Imm(2), at(regTile, tileLdc))
	a.SHLQ(operand.Imm(2), at(regTile, tileRows))
	between := func(i int) (re, im operand.Mem) { return at(regA, 2*i*bytes), at(regA, (2*i+1)*bytes) }
	v := s.vec

	a.align()
	a.Label("line")
	a.MOVQ(regB, fRe)
	a.MOVQ(regC, fIm)
	for i := range n / 4 {
		for q := range 4 {
			a.VMOVUPS(quarter(fRe, q), v(2*q))
			a.VMOVUPS(quarter(fIm, q), v(2*q+1))
		}
		a.radix4(s)
		for p := range 4 {
			a.twiddle(s, p, i*p*64/n)
			re, im := between(p*n/4 + i)
			a.VMOVUPS(v(2*p), re)
			a.VMOVUPS(v(2*p+1), im)
		}
		a.ADDQ(fStep, fRe)
		a.ADDQ(fStep, fIm)
	}
	if length := n / 4; length > 4 {
		for first := 0; first < n; first += length {
			for i := range length / 4 {
				for q := range 4 {
					re, im := between(first + i + q*length/4)
					a.VMOVUPS(re, v(2*q))
					a.VMOVUPS(im, v(2*q+1))
				}
				a.radix4(s)
				for p := range 4 {
					a.twiddle(s, p, i*p*64/length)
					re, im := between(first + i + p*length/4)
					a.VMOVUPS(v(2*p), re)
					a.VMOVUPS(v(2*p+1), im)
				}
			}
		}
	}
	radix := 4
	if n == 32 {
		radix = 2
	}
	a.MOVQ(regB, fRe)
	a.MOVQ(regC, fIm)
	for to := range n / radix {
		from := to // the digits of to, the other way about
		if n > 16 {
			from = to%4*(n/radix/4) + to/4
		}
		for q := range radix {
			re, im := between(from*radix + q)
			a.VMOVUPS(re, v(2*q))
			a.VMOVUPS(im, v(2*q+1))
		}
		if radix == 4 {
			a.radix4(s)
		} else {
			for i := range 2 {
				a.VSUBPS(v(2+i), v(i), v(4+i))
				a.VADDPS(v(2+i), v(i), v(i))
				a.VMOVAPS(v(4+i), v(2+i))
			}
		}
		for q := range radix {
			a.VMOVUPS(v(2*q), quarter(fRe, q*4/radix))
			a.VMOVUPS(v(2*q+1), quarter(fIm, q*4/radix))
		}
		a.ADDQ(fStep, fRe)
		a.ADDQ(fStep, fIm)
	}
	a.ADDQ(at(regTile, tileLdc), regB)
	a.ADDQ(at(regTile, tileRows), regC)
	a.DECQ(regK)
	a.JNZ(operand.LabelRef("line"))
	a.VZEROUPPER()
	a.RET()
}

// radix4 transforms the four numbers in the first eight vectors.
func (a asm) radix4(s isa) {
	v, t := s.vec, func(i int) reg.VecPhysical { return s.vec(8 + i) }
	for i := range 2 {
		a.VADDPS(v(4+i), v(i), t(i))     // x0 + x2
		a.VSUBPS(v(4+i), v(i), t(2+i))   // x0 − x2
		a.VADDPS(v(6+i), v(2+i), t(4+i)) // x1 + x3
		a.VSUBPS(v(6+i), v(2+i), t(6+i)) // x1 − x3
	}
	for i := range 2 {
		a.VADDPS(t(4+i), t(i), v(i))
		a.VSUBPS(t(4+i), t(i), v(4+i))
	}
	a.VADDPS(t(7), t(2), v(2)) // … ∓ i·…
	a.VSUBPS(t(6), t(3), v(3))
	a.VSUBPS(t(7), t(2), v(6))
	a.VADDPS(t(6), t(3), v(7))
}

// twiddle multiplies the p-th number by e^(−2πi·j/64).
func (a asm) twiddle(s isa, p, j int) {
	if j == 0 {
		return
	}
	table := operand.NewDataAddr(operand.NewStaticSymbol(twiddleName), 0)
	re, im, cos, sin, to, tmp := s.vec(2*p), s.vec(2*p+1), s.vec(8), s.vec(9), s.vec(10), s.vec(11)
	a.VBROADCASTSS(table.Offset(4*j), cos)
	a.VBROADCASTSS(table.Offset(4*(64+j)), sin)
	a.VMULPS(im, sin, to)
	a.VMULPS(re, sin, tmp)
	a.VFMADD231PS(re, cos, to)
	a.VFMSUB132PS(cos, tmp, im)
	a.VMOVAPS(to, re)
}

// halve parts the transforms of two real lines, or joins them: in tile.k pairs of lines, whose members are where fourier
// has real and imaginary parts. Parted, X[j] and Y[j] of a line of n = tile.lanes, twice as large, are in elements j (the
// real part) and n−j of each; joined they are X + iY.
func (a asm) halve(s isa, joins bool) {
	name := fmt.Sprintf("fourierPart%d", s.bits)
	if joins {
		name = fmt.Sprintf("fourierJoin%d", s.bits)
	}
	a.tileFunc(name, name+" is between transforms of real lines and of complex ones.")
	v := s.vec
	lastRe, lastIm, left, half := reg.R8, regRow, regTmp, reg.R10
	a.MOVQ(at(regTile, tileC), regC)
	a.MOVQ(at(regTile, tileLdb), fStep)
	a.SHLQ(operand.Imm(2), fStep)
	a.SHLQ(operand.Imm(2), at(regTile, tileLdc))
	a.SHLQ(operand.Imm(2), at(regTile, tileRows))
	a.MOVQ(at(regTile, tileLanes), half)
	a.IMULQ(fStep, half)
	a.Label("line")
	a.MOVQ(regB, fRe)
	a.MOVQ(regC, fIm)
	a.LEAQ(operand.Mem{Base: regB, Index: half, Scale: 1}, lastRe)
	a.LEAQ(operand.Mem{Base: regC, Index: half, Scale: 1}, lastIm)
	a.MOVQ(at(regTile, tileLanes), left)
	a.SHRQ(operand.Imm(1), left)
	double := func() {
		for i, p := range []reg.Register{fRe, fIm} {
			a.VMOVUPS(at(p, 0), v(i))
			a.VADDPS(v(i), v(i), v(i))
			a.VMOVUPS(v(i), at(p, 0))
		}
	}
	next := func() {
		a.ADDQ(fStep, fRe)
		a.ADDQ(fStep, fIm)
	}
	if !joins {
		double()
	}
	a.JMP(operand.LabelRef("test"))
	a.Label("element")
	next()
	a.SUBQ(fStep, lastRe)
	a.SUBQ(fStep, lastIm)
	for i, p := range []reg.Register{fRe, lastRe, fIm, lastIm} {
		a.VMOVUPS(at(p, 0), v(i))
	}
	if joins { // re X, im X, re Y, im Y
		a.VSUBPS(v(3), v(0), v(4))
		a.VADDPS(v(3), v(0), v(5))
		a.VADDPS(v(1), v(2), v(6))
		a.VSUBPS(v(1), v(2), v(7))
	} else { // re Z[j], re Z[n−j], im Z[j], im Z[n−j]
		a.VADDPS(v(1), v(0), v(4))
		a.VSUBPS(v(3), v(2), v(5))
		a.VADDPS(v(3), v(2), v(6))
		a.VSUBPS(v(0), v(1), v(7))
	}
	for i, p := range []reg.Register{fRe, lastRe, fIm, lastIm} {
		a.VMOVUPS(v(4+i), at(p, 0))
	}
	a.Label("test")
	a.DECQ(left)
	a.JNZ(operand.LabelRef("element"))
	if !joins {
		next()
		double()
	}
	a.ADDQ(at(regTile, tileLdc), regB)
	a.ADDQ(at(regTile, tileRows), regC)
	a.DECQ(regK)
	a.JNZ(operand.LabelRef("line"))
	a.VZEROUPPER()
	a.RET()
}

// fourierLoad takes squares of tile.k rows, a lane each, apart: c[r·ldc + x·lanes + i] = b[off[i] + r·ldb + x], for i and x
// below the lanes of a vector.
func (a asm) fourierLoad(s isa) {
	name := fmt.Sprintf("fourierLoad%d", s.bits)
	a.tileFunc(name, name+" loads a vector of columns of as many tiles.")
	a.strides()
	turned := 0
	if s.bits == 256 {
		turned = 8
	}
	a.Label("row")
	for i := range s.lanes {
		a.MOVQ(at(regOff, 8*i), regTmp)
		a.VMOVUPS(row(regB, regTmp, 0), s.vec(i))
	}
	a.square(s)
	for x := range s.lanes {
		a.VMOVUPS(s.vec(turned+x), at(regC, x*s.bits/8))
	}
	a.ADDQ(regRow, regB)
	a.nextRow()
	a.DECQ(regK)
	a.JNZ(operand.LabelRef("row"))
	a.VZEROUPPER()
	a.RET()
}

// square transposes a square of vectors: of 512 bits in place, of 256 bits to the next ones.
func (a asm) square(s isa) {
	if s.bits == 512 {
		a.square512()
	} else {
		a.square256()
	}
}

// fourierBins stores tile.k numbers z, whose real and imaginary parts are at off[2i] and off[2i+1] of b, to the tile.lanes
// lanes at c[i·ldb]: the imaginary part, ldc elements on the real part, and again ldc elements on the imaginary part of −z.
func (a asm) fourierBins(s isa) {
	name := fmt.Sprintf("fourierBins%d", s.bits)
	a.tileFunc(name, name+" stores a transform.")
	a.mask(s)
	a.strides()
	const re, im, minus, sign = 0, 1, 2, 3
	a.constant(s, 0x80000000, sign)
	a.Label("bin")
	a.MOVQ(at(regOff, 0), regTmp)
	a.VMOVUPS(row(regB, regTmp, 0), s.vec(re))
	a.MOVQ(at(regOff, 8), regTmp)
	a.VMOVUPS(row(regB, regTmp, 0), s.vec(im))
	if s.bits == 512 {
		a.VPXORD(s.vec(sign), s.vec(im), s.vec(minus))
	} else {
		a.VXORPS(s.vec(sign), s.vec(im), s.vec(minus))
	}
	a.storeMasked(s, im, at(regC, 0))
	a.storeMasked(s, re, operand.Mem{Base: regC, Index: regLdc, Scale: 1})
	a.storeMasked(s, minus, operand.Mem{Base: regC, Index: regLdc, Scale: 2})
	a.ADDQ(regRow, regC)
	a.ADDQ(operand.Imm(16), regOff)
	a.DECQ(regK)
	a.JNZ(operand.LabelRef("bin"))
	a.VZEROUPPER()
	a.RET()
}

// fourierSums loads tile.k numbers from b[i·ldb], the imaginary parts ldc elements further, to off[2i] and off[2i+1] of a.
func (a asm) fourierSums(s isa) {
	name := fmt.Sprintf("fourierSums%d", s.bits)
	a.tileFunc(name, name+" loads what fourierBins would store.")
	a.strides()
	a.Label("bin")
	a.VMOVUPS(at(regB, 0), s.vec(0))
	a.VMOVUPS(operand.Mem{Base: regB, Index: regLdc, Scale: 1}, s.vec(1))
	for i := range 2 {
		a.MOVQ(at(regOff, 8*i), regTmp)
		a.VMOVUPS(s.vec(i), row(regA, regTmp, 0))
	}
	a.ADDQ(regRow, regB)
	a.ADDQ(operand.Imm(16), regOff)
	a.DECQ(regK)
	a.JNZ(operand.LabelRef("bin"))
	a.VZEROUPPER()
	a.RET()
}

// fourierStore stores tile.rows rows of a vector of results of tile.lanes channels:
//
//	c[i·off[0] + r·ldc + x] = clip(b[r·ldb + x·lanes + i] + bias[i]),  x < off[1] ≤ lanes
//
// What is not finite before bias and limits leaves NaN in the channel's lane of the vector at a; lanes beyond the channels
// may have it as well.
func (a asm) fourierStore(s isa) {
	name := fmt.Sprintf("fourierStore%d", s.bits)
	a.tileFunc(name, name+" stores a vector of columns of results.")
	bytes := s.bits / 8
	a.MOVQ(at(regTile, tileBias), regTmp)
	bias, mark := at(regA, bytes), at(regA, 0)
	if s.bits == 512 {
		a.mask16(at(regTile, tileLanes), reg.K1)
		a.mask16(at(regOff, 8), reg.K2)
		a.VMOVUPS_Z(at(regTmp, 0), reg.K1, s.vec(0))
	} else {
		a.mask8(at(regTile, tileLanes), s.vec(1))
		a.VMASKMOVPS(at(regTmp, 0), s.vec(1), s.vec(0))
	}
	a.VMOVUPS(s.vec(0), bias)
	columns, rows, channel, to := reg.R12, reg.R13, reg.RBX, regTmp
	if s.bits == 256 {
		a.mask8(at(regOff, 8), s.vec(0))
		a.VMOVUPS(s.vec(0), at(regA, 2*bytes))
	}
	a.MOVQ(at(regOff, 0), channel)
	a.SHLQ(operand.Imm(2), channel)
	a.strides()
	a.MOVQ(at(regTile, tileRows), rows)
	a.MOVQ(at(regTile, tileLanes), columns)
	turned, spare := 0, 16
	if s.bits == 256 {
		turned, spare = 8, 8
	}
	v := s.vec
	a.Label("row")
	for x := range s.lanes {
		a.VMOVUPS(at(regB, x*bytes), v(x))
	}
	a.VMOVUPS(mark, v(spare))
	a.zero(s, spare+1)
	a.VMOVUPS(bias, v(spare+2))
	for x := range s.lanes {
		a.VFMADD231PS(v(spare+1), v(x), v(spare))
		a.VADDPS(v(spare+2), v(x), v(x))
	}
	a.VMOVUPS(v(spare), mark)
	for i, limit := range []func(...operand.Op){a.VMAXPS, a.VMINPS} { // as in finish
		a.VBROADCASTSS(at(regTile, tileLimit+4*i), v(spare))
		for x := range s.lanes {
			limit(v(x), v(spare), v(x))
		}
	}
	a.square(s)
	if s.bits == 256 {
		a.VMOVUPS(at(regA, 2*bytes), v(0))
	}
	a.MOVQ(regC, to)
	for i := range s.lanes {
		if i > 0 {
			a.CMPQ(columns, operand.Imm(uint64(i)))
			a.JLE(operand.LabelRef("stored"))
		}
		if s.bits == 512 {
			a.VMOVUPS(v(turned+i), reg.K2, at(to, 0))
		} else {
			a.VMASKMOVPS(v(turned+i), v(0), at(to, 0))
		}
		a.ADDQ(channel, to)
	}
	a.Label("stored")
	a.ADDQ(regRow, regB)
	a.nextRow()
	a.DECQ(rows)
	a.JNZ(operand.LabelRef("row"))
	a.VZEROUPPER()
	a.RET()
}

// fouriers are all of them.
func fouriers(a asm) {
	a.twiddles()
	a.laneMasks()
	for _, s := range []isa{isa512, isa256} {
		for _, n := range []int{16, 32, 64} {
			a.fourier(s, n)
		}
		a.halve(s, false)
		a.halve(s, true)
		a.fourierLoad(s)
		a.fourierBins(s)
		a.fourierSums(s)
		a.fourierStore(s)
	}
}
