package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The Fourier transforms of package simd's fourier.go: networks without loops, of lines of n elements, of which each is a vector.
// A tile in work has n rows of pitch vectors.

// complexValue is a complex number.
type complexValue struct{ re, im value }

// rotated is x·e^(−2πi·j/64).
func (n *network) rotated(x complexValue, j int) complexValue {
	if j == 0 {
		return x
	}
	cos, sin := j, twiddleCount+j
	return complexValue{
		n.fused(netMulAdd, cos, x.re, n.mul(sin, x.im)),
		n.fused(netMulSub, cos, x.im, n.mul(sin, x.re)),
	}
}

// swapped exchanges the parts: what is done to it is done to the conjugate, the other way about.
func (x complexValue) swapped() complexValue { return complexValue{x.im, x.re} }

// rotatedBack is x·e^(2πi·j/64).
func (n *network) rotatedBack(x complexValue, j int) complexValue {
	return n.rotated(x.swapped(), j).swapped()
}

func (n *network) plus(x, y complexValue) complexValue {
	return complexValue{n.add(x.re, y.re), n.add(x.im, y.im)}
}

func (n *network) minus(x, y complexValue) complexValue {
	return complexValue{n.sub(x.re, y.re), n.sub(x.im, y.im)}
}

// radix4 is the transform of four numbers.
func (n *network) radix4(x [4]complexValue) [4]complexValue {
	a, b, c, d := n.plus(x[0], x[2]), n.minus(x[0], x[2]), n.plus(x[1], x[3]), n.minus(x[1], x[3])
	return [4]complexValue{
		n.plus(a, c), {n.add(b.re, d.im), n.sub(b.im, d.re)}, n.minus(a, c), {n.sub(b.re, d.im), n.add(b.im, d.re)},
	}
}

// complex transforms a line, X[k] = Σ x[i]·e^(−2πi·ik/n). Results go to out as soon as they are there, in the order of simd's
// complexOrder.
func (n *network) complex(x []complexValue, out func(k int, v complexValue)) {
	switch len(x) {
	case 1:
		out(0, x[0])
		return
	case 2:
		sum, difference := n.plus(x[0], x[1]), n.minus(x[0], x[1])
		out(0, sum)
		out(1, difference)
		return
	}
	q := len(x) / 4
	parts := [4][]complexValue{}
	for i := range q {
		for p, v := range n.radix4([4]complexValue{x[i], x[i+q], x[i+2*q], x[i+3*q]}) {
			parts[p] = append(parts[p], n.rotated(v, i*p*twiddleCount/len(x)))
		}
	}
	for p, part := range parts {
		n.complex(part, func(m int, v complexValue) { out(p+4*m, v) })
	}
}

// complexBack is n times the inverse of complex, whose steps it takes the other way about: in is asked in the same order.
func (n *network) complexBack(length int, in func(k int) complexValue, out func(i int, v complexValue)) {
	switch length {
	case 1:
		out(0, in(0))
		return
	case 2:
		x, y := in(0), in(1)
		out(0, n.plus(x, y))
		out(1, n.minus(x, y))
		return
	}
	parts := [4][]complexValue{}
	for p := range parts {
		parts[p] = make([]complexValue, length/4)
		n.complexBack(length/4, func(m int) complexValue { return in(p + 4*m) }, func(i int, v complexValue) { parts[p][i] = v })
	}
	q := length / 4
	for i := range q {
		var y [4]complexValue
		for p := range y {
			y[p] = n.rotatedBack(parts[p][i], i*p*twiddleCount/length).swapped()
		}
		for p, v := range n.radix4(y) {
			out(i+p*q, v.swapped())
		}
	}
}

// real transforms a line of real numbers. Of X[k] and X[n−k], which are conjugate, one goes to out, in the order of simd's
// realOrder; of X[0] and X[n/2] the real part alone.
//
// Four quarters a, b, c, d of the line give X[4k] as the transform of a+b+c+d, X[4k+1] as that of the complex numbers
// (a−c) − i(b−d), rotated; and of X[4k+2], the transform of a−b+c−d, rotated, again half are complex numbers of half as many.
func (n *network) real(x []value, out func(k int, v complexValue), outReal func(k int, v value)) {
	switch len(x) {
	case 1:
		outReal(0, x[0])
		return
	case 2:
		sum, difference := n.add(x[0], x[1]), n.sub(x[0], x[1])
		outReal(0, sum)
		outReal(1, difference)
		return
	}
	length := len(x)
	q := length / 4
	var sums, halves []value
	var odd, even []complexValue
	for i := range q {
		a, b := n.add(x[i], x[i+2*q]), n.sub(x[i], x[i+2*q])
		c, d := n.add(x[i+q], x[i+3*q]), n.sub(x[i+3*q], x[i+q])
		odd = append(odd, n.rotated(complexValue{b, d}, i*twiddleCount/length))
		sums = append(sums, n.add(a, c))
		if 2*i < q {
			halves = append(halves, n.sub(a, c))
		} else {
			halves = append(halves, n.sub(c, a))
		}
	}
	n.complex(odd, func(m int, v complexValue) { out(4*m+1, v) })
	if q == 1 {
		outReal(2, halves[0])
	} else {
		for i := range q / 2 {
			even = append(even, n.rotated(complexValue{halves[i], halves[i+q/2]}, 2*i*twiddleCount/length))
		}
		n.complex(even, func(m int, v complexValue) { out(2*(4*m+1), v) })
	}
	n.real(sums, func(k int, v complexValue) { out(4*k, v) }, func(k int, v value) { outReal(4*k, v) })
}

// realBack is the sum of all X[k]·e^(2πi·ik/n) that real hands out, which is asked for in the same order: their real parts. It is the
// transpose of real.
func (n *network) realBack(length int, in func(k int) complexValue, inReal func(k int) value, out func(i int, v value)) {
	switch length {
	case 1:
		out(0, inReal(0))
		return
	case 2:
		x, y := inReal(0), inReal(1)
		out(0, n.add(x, y))
		out(1, n.sub(x, y))
		return
	}
	q := length / 4
	odd, halves, sums := make([]complexValue, q), make([]value, q), make([]value, q)
	n.complexBack(q, func(m int) complexValue { return in(4*m + 1) }, func(i int, v complexValue) { odd[i] = v })
	if q == 1 {
		halves[0] = inReal(2)
	} else {
		n.complexBack(q/2, func(m int) complexValue { return in(2 * (4*m + 1)) }, func(i int, v complexValue) {
			v = n.rotatedBack(v, 2*i*twiddleCount/length)
			halves[i], halves[i+q/2] = v.re, v.im
		})
	}
	n.realBack(q, func(k int) complexValue { return in(4 * k) }, func(k int) value { return inReal(4 * k) },
		func(i int, v value) { sums[i] = v })
	for i := range q {
		a, c := n.add(sums[i], halves[i]), n.sub(sums[i], halves[i])
		if q > 1 && 2*i >= q {
			a, c = c, a
		}
		z := n.rotatedBack(odd[i], i*twiddleCount/length)
		out(i, n.add(a, z.re))
		out(i+2*q, n.sub(a, z.re))
		out(i+q, n.sub(c, z.im))
		out(i+3*q, n.add(c, z.im))
	}
}

// fourierLine is a network on tile.k lines of n. What goes between lines of a tile and bins is read or stored bin after bin.
type fourierLine struct {
	network
	n int
}

// Registers beside those of all kernels.
var fIm = reg.R12 // imaginary parts of a line

// pitch is the vectors of a row of a tile in work, of which one is not used: columns do not share a set of the cache.
func (f *fourierLine) pitch() int { return f.n + 1 }

// vector is vector i from p on.
func (f *fourierLine) vector(p reg.Register, i int) operand.Mem { return at(p, i*f.bits/8) }

// parts are where the next bin is.
func (f *fourierLine) parts() (re, im operand.Mem) {
	return at(regC, 0), operand.Mem{Base: regC, Index: regLdc, Scale: 1}
}

func (f *fourierLine) nextBin() { f.act(func() { f.ADDQ(regRow, regC) }) }

func (f *fourierLine) putBin(_ int, v complexValue) {
	re, im := f.parts()
	f.store(v.re, re)
	f.store(v.im, im)
	f.nextBin()
}

// putReal stores zeros as imaginary part, from the last of the registers.
func (f *fourierLine) putReal(_ int, v value) {
	re, im := f.parts()
	f.store(v, re)
	f.act(func() { f.VMOVUPS(f.vec(f.registers()), im) })
	f.nextBin()
}

func (f *fourierLine) takeBin(int) complexValue {
	re, im := f.parts()
	v := complexValue{f.load(re), f.load(im)}
	f.nextBin()
	return v
}

func (f *fourierLine) takeReal(int) value {
	re, _ := f.parts()
	v := f.load(re)
	f.nextBin()
	return v
}

// registers are those of the network.
func (f *fourierLine) registers() int {
	if f.bits == 512 {
		return 31
	}
	return 15
}

// fourierKernels are those of lines of n.
func (a asm) fourierKernels(s isa, n int) {
	line := func(name, doc string, bins bool, build func(f *fourierLine), next func(f *fourierLine)) {
		name = fmt.Sprintf("fourier%s%dx%d", name, s.bits, n)
		a.tileFunc(name, name+" "+doc)
		f := &fourierLine{network: network{asm: a, isa: s}, n: n}
		if bins {
			a.strides()
			a.zero(s, f.registers())
		}
		a.LEAQ(f.vector(regB, n-2), fIm)
		a.Label("line")
		build(f)
		if slots := f.write(f.registers()); slots > 2*n {
			panic(fmt.Sprintf("%s: %d vectors of memory", name, slots))
		}
		next(f)
		a.DECQ(regK)
		a.JNZ(operand.LabelRef("line"))
		a.VZEROUPPER()
		a.RET()
	}
	vector := uint64(s.bits / 8)
	// A row's real parts are where X[k], k ≤ n/2, is, the imaginary ones where X[n−k] is.
	slots := func(k int) (re, im int) { return min(k, n-k), max(k, n-k) }
	nextRow := func(f *fourierLine) { a.ADDQ(operand.U32(uint64(f.pitch())*vector), regB) }
	line("Rows", "transforms real rows in place.", false, func(f *fourierLine) {
		x := make([]value, n)
		for i := range x {
			x[i] = f.placed(f.vector(regB, i))
		}
		f.real(x, func(k int, v complexValue) {
			re, im := slots(k)
			f.store(v.re, f.vector(regB, re))
			f.store(v.im, f.vector(regB, im))
		}, func(k int, v value) { f.store(v, f.vector(regB, k)) })
	}, nextRow)
	line("RowsBack", "transforms rows back, in place.", false, func(f *fourierLine) {
		f.realBack(n, func(k int) complexValue {
			re, im := slots(k)
			return complexValue{f.load(f.vector(regB, re)), f.load(f.vector(regB, im))}
		}, func(k int) value { return f.load(f.vector(regB, k)) }, func(i int, v value) { f.store(v, f.vector(regB, i)) })
	}, nextRow)
	// Columns 0 and n/2 are real.
	nextReal := func(f *fourierLine) { a.ADDQ(operand.U32(uint64(n/2)*vector), regB) }
	line("Real", "transforms real columns to bins.", true, func(f *fourierLine) {
		x := make([]value, n)
		for i := range x {
			x[i] = f.placed(f.vector(regB, i*f.pitch()))
		}
		f.real(x, f.putBin, f.putReal)
	}, nextReal)
	line("RealBack", "transforms bins back to real columns.", true, func(f *fourierLine) {
		f.realBack(n, f.takeBin, f.takeReal, func(i int, v value) { f.store(v, f.vector(regB, i*f.pitch())) })
	}, nextReal)
	nextColumn := func(f *fourierLine) {
		a.ADDQ(operand.U32(vector), regB)
		a.SUBQ(operand.U32(vector), fIm)
	}
	line("Columns", "transforms columns to bins.", true, func(f *fourierLine) {
		x := make([]complexValue, n)
		for i := range x {
			x[i] = complexValue{f.placed(f.vector(regB, i*f.pitch())), f.placed(f.vector(fIm, i*f.pitch()))}
		}
		f.complex(x, f.putBin)
	}, nextColumn)
	line("ColumnsBack", "transforms bins back to columns.", true, func(f *fourierLine) {
		f.complexBack(n, f.takeBin, func(i int, v complexValue) {
			f.store(v.re, f.vector(regB, i*f.pitch()))
			f.store(v.im, f.vector(fIm, i*f.pitch()))
		})
	}, nextColumn)
}

// fourierLoad takes squares of tile.k rows, a lane each, apart: c[r·ldc + x·lanes + i] = b[off[i] + r·ldb + x], for i below
// the lanes of a vector and x < columns, which are all of them or half.
func (a asm) fourierLoad(s isa, columns int) {
	name := fmt.Sprintf("fourierLoad%dx%d", s.bits, columns)
	a.tileFunc(name, fmt.Sprintf("%s loads %d columns of a vector of tiles.", name, columns))
	a.strides()
	turned := 0
	if s.bits == 256 {
		turned = 8
	}
	a.Label("row")
	for i := range s.lanes {
		a.MOVQ(at(regOff, 8*i), regTmp)
		to := s.vec(i)
		if columns < s.lanes {
			to = ymm(i)
		}
		a.VMOVUPS(row(regB, regTmp, 0), to)
	}
	a.square(s)
	for x := range columns {
		a.VMOVUPS(s.vec(turned+x), at(regC, x*s.bits/8))
	}
	a.ADDQ(regRow, regB)
	a.eachRow(regK)
}

// square transposes a square of vectors: of 512 bits in place, of 256 bits to the next ones.
func (a asm) square(s isa) {
	if s.bits == 512 {
		a.square512()
	} else {
		a.square256()
	}
}

// fourierStore stores tile.rows rows of a vector of results of tile.lanes channels:
//
//	c[i·off[0] + r·ldc + x] = clip(b[r·ldb + x·lanes + i] + bias[i]),  x < off[1] ≤ columns
//
// What is not finite before bias and limits leaves NaN in the channel's lane of the vector at a; lanes beyond the channels
// may have it as well.
func (a asm) fourierStore(s isa, columns int) {
	name := fmt.Sprintf("fourierStore%dx%d", s.bits, columns)
	a.tileFunc(name, fmt.Sprintf("%s stores %d columns of results.", name, columns))
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
	channels, rows, channel, to := reg.R12, reg.R13, reg.RBX, regTmp
	a.MOVQ(at(regOff, 0), channel)
	a.SHLQ(operand.Imm(2), channel)
	a.strides()
	a.MOVQ(at(regTile, tileRows), rows)
	a.MOVQ(at(regTile, tileLanes), channels)
	turned, spare := 0, 16
	if s.bits == 256 {
		turned, spare = 8, 8
	}
	v := s.vec
	a.Label("row")
	for x := range columns {
		a.VMOVUPS(at(regB, x*bytes), v(x))
	}
	a.VMOVUPS(mark, v(spare))
	a.zero(s, spare+1)
	a.VMOVUPS(bias, v(spare+2))
	for x := range columns {
		a.VFMADD231PS(v(spare+1), v(x), v(spare))
		a.VADDPS(v(spare+2), v(x), v(x))
	}
	a.VMOVUPS(v(spare), mark)
	for i, limit := range []func(...operand.Op){a.VMAXPS, a.VMINPS} { // as in finish
		a.VBROADCASTSS(at(regTile, tileLimit+4*i), v(spare))
		for x := range columns {
			limit(v(x), v(spare), v(x))
		}
	}
	a.square(s)
	a.MOVQ(regC, to)
	for i := range s.lanes {
		if i > 0 {
			a.CMPQ(channels, operand.Imm(uint64(i)))
			a.JLE(operand.LabelRef("stored"))
		}
		if s.bits == 512 {
			a.VMOVUPS(v(turned+i), reg.K2, at(to, 0))
		} else {
			a.storeFirst(fmt.Sprint("channel", i), v(turned+i), at(to, 0), at(regOff, 8), regK)
		}
		a.ADDQ(channel, to)
	}
	a.Label("stored")
	a.ADDQ(regRow, regB)
	a.eachRow(rows)
}

// fourierProduct multiplies tile.k complex numbers of mr tiles with weights of nv vectors of results, and adds up:
//
//	c[r·ldc + x] = Σ_p V[p, x]·D[p, r],  r < mr
//
// D[p, r] has its real part at a[off[p] + r] and its imaginary one lda elements further. A step of b is nv vectors of real parts of
// V and as many of imaginary ones; the sums' imaginary parts lie plane elements after the real ones. What comes next is fetched
// meanwhile, as much of it as of b.
func (a asm) fourierProduct(s isa, nv, mr int) {
	name := fmt.Sprintf("fourierProduct%dx%dx%d", s.bits, nv, mr)
	a.tileFunc(name, fmt.Sprintf("%s multiplies transforms of %d tiles with weights of %d vectors.", name, mr, nv))
	bytes, v := s.bits/8, s.vec
	re := func(r, i int) reg.VecPhysical { return v(2 * (r*nv + i)) }
	im := func(r, i int) reg.VecPhysical { return v(2*(r*nv+i) + 1) }
	weights := func(i int) reg.VecPhysical { return v(2*mr*nv + i) } // the real parts, then the imaginary ones
	free := 2*mr*nv + 2*nv
	spare := 32 - free
	if s.bits == 256 {
		spare = 16 - free
	}
	part, plane := regLdc, regRow
	a.MOVQ(at(regTile, tileLda), part)
	a.SHLQ(operand.Imm(2), part)
	a.MOVQ(at(regTile, tileNext), regNext)
	for i := range 2 * mr * nv {
		a.zero(s, i)
	}
	a.align()
	a.Label("step")
	a.MOVQ(at(regOff, 0), regTmp)
	a.LEAQ(row(regA, regTmp, 0), regTmp)
	for i := range 2 * nv {
		a.VMOVUPS(at(regB, i*bytes), weights(i))
	}
	for i := 0; i < 2*nv*bytes; i += 64 {
		a.PREFETCHT0(at(regNext, i))
	}
	for r := range mr {
		x, y := v(free+2*r%spare), v(free+(2*r+1)%spare)
		a.VBROADCASTSS(at(regTmp, 4*r), x)
		a.VBROADCASTSS(operand.Mem{Base: regTmp, Index: part, Scale: 1, Disp: 4 * r}, y)
		for i := range nv {
			a.VFMADD231PS(weights(i), x, re(r, i))
			a.VFMADD231PS(weights(nv+i), x, im(r, i))
		}
		for i := range nv {
			a.VFNMADD231PS(weights(nv+i), y, re(r, i))
			a.VFMADD231PS(weights(i), y, im(r, i))
		}
	}
	a.ADDQ(operand.U32(uint64(2*nv*bytes)), regB)
	a.ADDQ(operand.U32(uint64(2*nv*bytes)), regNext)
	a.ADDQ(operand.Imm(8), regOff)
	a.DECQ(regK)
	a.JNZ(operand.LabelRef("step"))
	a.MOVQ(at(regTile, tilePlane), plane)
	a.SHLQ(operand.Imm(2), plane)
	a.MOVQ(at(regTile, tileC), regC)
	a.MOVQ(at(regTile, tileLdc), regTmp)
	a.SHLQ(operand.Imm(2), regTmp)
	for r := range mr {
		for i := range nv {
			a.VMOVUPS(re(r, i), at(regC, i*bytes))
			a.VMOVUPS(im(r, i), operand.Mem{Base: regC, Index: plane, Scale: 1, Disp: i * bytes})
		}
		a.ADDQ(regTmp, regC)
	}
	a.VZEROUPPER()
	a.RET()
}

// fouriers are all of them.
func fouriers(a asm) {
	a.laneMasks()
	for _, s := range []isa{isa512, isa256} {
		a.twiddles(s)
		for _, n := range []int{8, 16, 32, 64} {
			a.fourierKernels(s, n)
		}
		for columns := 8; columns <= s.lanes; columns += 8 {
			a.fourierLoad(s, columns)
			a.fourierStore(s, columns)
		}
		registers := 32
		if s.bits == 256 {
			registers = 16
		}
		for nv := 1; nv <= 4; nv++ {
			for mr := 1; 2*nv*(mr+1)+2 <= registers && mr <= 13; mr++ {
				a.fourierProduct(s, nv, mr)
			}
		}
	}
}
