package main

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// transform is a kernel of Winograd's F(m×m, 3×3) while it is written: transforms of a vector of neighbouring tiles, or
// channels, at a time. Each is two passes of the same one-dimensional transform, down the columns and along the rows, with
// the vectors between them in tile.a.
//
// Vector registers: the t operands from 0 on, results and what leads to them from wFree on, of 512 bits what does not change
// from wKept on. The masks of 256 bits take 15.
type transform struct {
	asm
	isa
	m, t    int             // results and cells of a tile, along an axis
	factors map[float64]int // registers of factors, of 512 bits; those of 256 are in memory
	base    int             // the first of these
}

const (
	wFree = 8
	wKept = 16
)

// General registers beside those of all kernels.
var (
	wLine  = reg.R12 // bytes from row to row of the operand
	wPart  = reg.R13
	wPoint = reg.RBX
	wStep  = reg.R8 // bytes from plane to plane of the transformed
)

// winograd writes the transforms of all sizes.
func winograd(a asm) {
	a.laneLists()
	a.laneMasks()
	a.thirds()
	a.factorTable()
	for _, s := range []isa{isa512, isa256} {
		for _, m := range []int{2, 4, 6} {
			for _, write := range []func(transform){transform.cells, transform.results} {
				write(transform{asm: a, isa: s, m: m, t: m + 2, factors: map[float64]int{}, base: wKept})
			}
		}
	}
}

// points are those that F(m×m, 3×3) interpolates in beside 0 and ∞, each also with the other sign: powers of two.
func (w transform) points() []float64 { return []float64{1, 2, 0.5}[:w.m/2] }

// polynomial is Π (s − x²) over the points but the i-th, the coefficient of 1 first.
func (w transform) polynomial(without int) []float64 {
	p := []float64{1}
	for i, x := range w.points() {
		if i == without {
			continue
		}
		q := make([]float64, len(p)+1)
		for k, c := range p {
			q[k+1] += c
			q[k] -= c * x * x
		}
		p = q
	}
	return p
}

const factorName = "winogradFactors"

// winogradFactors are the factors of all sizes that are not 1.
var winogradFactors = []float64{0.25, 0.5, 1.25, 2, 4, 4.25, 5, 5.25, 8, 16, 32, 0.125, 0.0625, 0.03125}

// factorTable has each in 8 lanes.
func (a asm) factorTable() {
	a.StaticGlobal(factorName)
	a.DataAttributes(attr.RODATA | attr.NOPTR)
	for i, f := range winogradFactors {
		for lane := range 8 {
			a.AddDatum(32*i+4*lane, operand.U32(math.Float32bits(float32(f))))
		}
	}
}

func factorAt(f float64) operand.Mem {
	for i, v := range winogradFactors {
		if v == f {
			return operand.NewDataAddr(operand.NewStaticSymbol(factorName), 32*i)
		}
	}
	panic(fmt.Sprintf("no factor %v", f))
}

// keep loads factors into registers from base on, of 512 bits.
func (w *transform) keep(factors []float64) {
	if w.bits == 256 {
		return
	}
	for _, f := range factors {
		if _, ok := w.factors[f]; !ok && f != 1 {
			r := w.base + len(w.factors)
			w.factors[f] = r
			w.VBROADCASTSS(factorAt(f), w.vec(r))
		}
	}
}

// add is to = to + f·x.
func (w transform) add(f float64, x, to int) {
	v := w.vec
	if f == 1 || f == -1 {
		w.sum(f, x, to, to)
		return
	}
	var m operand.Op = factorAt(math.Abs(f))
	if w.bits == 512 {
		m = v(w.factors[math.Abs(f)])
	}
	if f < 0 {
		w.VFNMADD231PS(m, v(x), v(to))
	} else {
		w.VFMADD231PS(m, v(x), v(to))
	}
}

// sum is to = y ± x.
func (w transform) sum(sign float64, x, y, to int) {
	if sign < 0 {
		w.VSUBPS(w.vec(x), w.vec(y), w.vec(to))
	} else {
		w.VADDPS(w.vec(x), w.vec(y), w.vec(to))
	}
}

// every is Σ c[k]·operand first+2k, of which the last coefficient is 1, and where it is: in register to, or an operand.
func (w transform) every(c []float64, first, to int) int {
	last := len(c) - 1
	if last == 0 {
		return first
	}
	from := 0
	if math.Abs(c[0]) == 1 {
		w.sum(c[0], first, first+2*last, to)
		from = 1
	} else {
		w.VMOVAPS(w.vec(first+2*last), w.vec(to))
	}
	for k := from; k < last; k++ {
		w.add(c[k], first+2*k, to)
	}
	return to
}

// transposedB is Bᵀ of the operands d: with M(s) = s·Π (s² − x²) over the points, the coefficients of M(s)/s, for each point
// those of M(s)/(s − x) and M(s)/(s + x), whose even and odd parts are alike, and those of M(s). Result i is emitted from
// some register. No sum has parts that are larger than Bᵀ says.
func (w transform) transposedB(emit func(i, v int)) {
	whole := w.polynomial(-1)
	emit(0, w.every(whole, 0, wFree))
	for i, x := range w.points() {
		even := w.every(w.polynomial(i), 2, wFree)
		odd := w.every(w.polynomial(i), 1, wFree+1)
		to := wFree + 2
		if x == 1 {
			w.sum(1, odd, even, to)
			w.sum(-1, odd, even, to+1)
			emit(2*i+1, to)
			emit(2*i+2, to+1)
			continue
		}
		w.VMOVAPS(w.vec(even), w.vec(to))
		w.add(x, odd, to)
		emit(2*i+1, to)
		w.add(-x, odd, even)
		emit(2*i+2, even)
	}
	emit(w.t-1, w.every(whole, 1, wFree))
}

// transposedA is Aᵀ of the operands: result i is Σ xⁱ·(what belongs to x), with (−x)ⁱ, by sums and differences of the two.
func (w transform) transposedA(emit func(i, v int)) {
	var parts [2][]int // sums, differences
	free := wFree
	for i := range w.points() {
		x, y := 2*i+1, 2*i+2
		w.sum(-1, y, x, free)
		w.sum(1, y, x, x)
		parts[0], parts[1] = append(parts[0], x), append(parts[1], free)
		free = y
	}
	for i := range w.m {
		to := wFree + 1 + i%3
		of := parts[i%2]
		switch {
		case i == 0:
			w.sum(1, of[0], 0, to)
		case i == w.m-1:
			w.sum(1, of[0], w.t-1, to)
		default:
			w.VMOVAPS(w.vec(of[0]), w.vec(to))
		}
		for k := 1; k < len(of); k++ {
			w.add(math.Pow(w.points()[k], float64(i)), of[k], to)
		}
		emit(i, to)
	}
}

// column loads the operands from wPoint on, wLine apart.
func (w transform) column() {
	w.MOVQ(wPoint, regTmp)
	for i := range w.t {
		m := at(regTmp, 0)
		if i%3 > 0 {
			m = operand.Mem{Base: regTmp, Index: wLine, Scale: uint8(i % 3)}
		}
		w.VMOVUPS(m, w.vec(i))
		if i%3 == 2 {
			w.LEAQ(operand.Mem{Base: regTmp, Index: wLine, Scale: 2}, regTmp)
			w.ADDQ(wLine, regTmp)
		}
	}
}

// between is row i and column j of the vectors between the passes.
func (w transform) between(i, j int) operand.Mem { return at(regA, (w.t*i+j)*w.bits/8) }

// row loads the operands of row i from there.
func (w transform) row(i int) {
	for j := range w.t {
		w.VMOVUPS(w.between(i, j), w.vec(j))
	}
}

// times multiplies a register by m or t.
func (w transform) times(n int, from, to reg.Register) {
	if n == 6 {
		w.LEAQ(operand.Mem{Base: from, Index: from, Scale: 2}, to)
		w.SHLQ(operand.Imm(1), to)
		return
	}
	w.MOVQ(from, to)
	w.SHLQ(operand.Imm(uint64(math.Log2(float64(n)))), to)
}

func (w transform) start(what, doc string) string {
	name := fmt.Sprintf("winograd%s%dx%d", what, w.bits, w.m)
	w.tileFunc(name, fmt.Sprintf("%s %s, of F(%d×%d, 3×3).", name, doc, w.m, w.m))
	return name
}

// planeAt is j·wStep from wPoint on; three is 3·wStep.
func (w transform) planeAt(j int, three reg.Register) operand.Mem {
	to := func(base, index reg.Register, scale uint8) operand.Mem {
		return operand.Mem{Base: base, Index: index, Scale: scale}
	}
	switch j {
	case 0:
		return at(wPoint, 0)
	case 3, 6:
		return to(wPoint, three, uint8(j/3))
	case 5, 7:
		w.LEAQ(to(wPoint, map[int]reg.Register{5: wStep, 7: three}[j], 1), regTmp)
		return to(regTmp, wStep, 4)
	}
	return to(wPoint, wStep, uint8(j))
}

// The registers of results beside those of transforms.
type winogradKept struct{ lo, hi, mark, zero, bias int }

// results transforms a row of tile.k tiles of products back, for the tile.lanes channels of a vector:
//
//	c[channel·off[1] + y·ldc + m·n + x] = clip(Aᵀ p A [y, x] + bias[channel]),  p[i, j] = b[(t·i + j)·off[0] + n·ldb + channel]
//
// for y < rows and m·n + x < off[2]; of 512 bits, if add is not 0, past the caches, by whole vectors at addresses that are
// multiples of theirs. It works on as many tiles at a time as have whole vectors of results in a row, which are then
// transposed. off[2] is used up. In the end a begins with a vector that has NaN where a result of a channel, before bias
// and limits, is not finite; lanes beyond the channels may have it as well.
func (w transform) results() {
	w.start("Dst", "transforms a row of tiles of products back, for a vector of channels")
	bytes := w.bits / 8
	wide := w.across() * w.lanes // results of a row that are transposed together
	first := w.t * w.m           // vectors between the passes, then those results, the mark and the biases
	mark, bias := at(regA, (first+w.m*wide)*bytes), at(regA, (first+w.m*wide+1)*bytes)
	kept := winogradKept{lo: 14, hi: 15, mark: 12, zero: 13}
	if w.bits == 512 {
		kept = winogradKept{lo: 26, hi: 27, mark: 28, zero: 29, bias: 30}
	}
	tiles, results := reg.R11, reg.R14
	w.MOVQ(at(regTile, tileBias), wPoint)
	if w.bits == 512 {
		w.mask16(at(regTile, tileLanes), reg.K1)
		w.VMOVUPS_Z(at(wPoint, 0), reg.K1, w.vec(0))
	} else {
		w.mask8(at(regTile, tileLanes), w.vec(1))
		w.VMASKMOVPS(at(wPoint, 0), w.vec(1), w.vec(0))
	}
	w.VMOVUPS(w.vec(0), bias)
	w.zero(w.isa, 0)
	w.VMOVUPS(w.vec(0), mark)
	w.MOVQ(at(regTile, tileC), regC)
	w.MOVQ(at(regTile, tileLdc), regLdc)
	w.SHLQ(operand.Imm(2), regLdc)
	w.MOVQ(at(regOff, 0), wPart)
	w.SHLQ(operand.Imm(2), wPart) // from plane to plane
	w.times(w.t, wPart, wLine)

	w.Label("tiles")
	for _, x := range w.points() {
		for i := range w.m {
			w.keep([]float64{math.Pow(x, float64(i))})
		}
	}
	w.VMOVUPS(mark, w.vec(kept.mark))
	w.zero(w.isa, kept.zero)
	w.VBROADCASTSS(at(regTile, tileLimit), w.vec(kept.lo))
	w.VBROADCASTSS(at(regTile, tileLimit+4), w.vec(kept.hi))
	var biases operand.Op = bias
	if w.bits == 512 {
		biases = w.vec(kept.bias)
		w.VMOVUPS(bias, biases)
	}
	w.MOVQ(operand.U32(uint64(wide/w.m)), tiles)
	w.CMPQ(regK, tiles)
	w.CMOVQLT(regK, tiles)
	w.SUBQ(tiles, regK)
	w.LEAQ(at(regA, first*bytes), results)
	w.Label("tile")
	w.MOVQ(regB, wPoint)
	for j := range w.t {
		if j > 0 {
			w.ADDQ(wPart, wPoint)
		}
		w.column()
		w.transposedA(func(y, v int) { w.VMOVUPS(w.vec(v), w.between(y, j)) })
	}
	for y := range w.m {
		w.row(y)
		w.transposedA(func(x, v int) {
			r := w.vec(v)
			w.VFMADD231PS(w.vec(kept.zero), r, w.vec(kept.mark))
			w.VADDPS(biases, r, r)
			w.VMAXPS(r, w.vec(kept.lo), r) // as in finish
			w.VMINPS(r, w.vec(kept.hi), r)
			w.VMOVUPS(r, at(results, (wide*y+x)*bytes))
		})
	}
	w.MOVQ(at(regTile, tileLdb), regTmp)
	w.LEAQ(row(regB, regTmp, 0), regB)
	w.ADDQ(operand.U32(uint32(w.m*bytes)), results)
	w.DECQ(tiles)
	w.JNZ(operand.LabelRef("tile"))
	w.VMOVUPS(w.vec(kept.mark), mark)

	w.store(first * bytes)
	w.ADDQ(operand.U32(uint32(w.across()*bytes)), regC)
	w.SUBQ(operand.Imm(uint64(wide)), at(regOff, 16))
	w.TESTQ(regK, regK)
	w.JNZ(operand.LabelRef("tiles"))
	w.VMOVUPS(mark, w.vec(0))
	w.VMOVUPS(w.vec(0), at(regA, 0))
	if w.bits == 512 {
		w.SFENCE()
	}
	w.VZEROUPPER()
	w.RET()
}

// across is how many vectors hold a row of results of whole tiles.
func (w transform) across() int {
	if w.m == 6 {
		return 3
	}
	return 1
}

// store transposes and stores tile.rows rows of vectors of results, which lie from byte first of tile.a on. It takes the
// general registers of results that work on a tile.
func (w transform) store(first int) {
	bytes := w.bits / 8
	step, line, to, from, rows := reg.R11, wPoint, regTmp, reg.R14, reg.R15
	turned := 8 // the first register of the transposed
	masks := []reg.Register{reg.K2, reg.K3, reg.K4}
	if w.bits == 512 {
		turned = 0
		w.MOVQ(at(regOff, 16), from)
		for v := range w.across() { // columns that are there, 0 to 16
			w.MOVQ(operand.U32(16), line)
			w.CMPQ(from, line)
			w.CMOVQLT(from, line)
			w.XORQ(to, to)
			w.TESTQ(line, line)
			w.CMOVQLT(to, line)
			w.BTSQ(line, to)
			w.DECQ(to)
			w.KMOVW(to.As32(), masks[v])
			w.SUBQ(operand.Imm(16), from)
		}
	}
	stepOf := func() {
		w.MOVQ(at(regOff, 8), step)
		w.SHLQ(operand.Imm(2), step)
	}
	stepOf()
	w.MOVQ(regC, line)
	w.LEAQ(at(regA, first), from)
	w.MOVQ(at(regTile, tileRows), rows)
	w.Label("row")
	for v := range w.across() {
		part, done := fmt.Sprintf("part%d", v), fmt.Sprintf("done%d", v)
		if v > 0 {
			w.CMPQ(at(regOff, 16), operand.Imm(uint64(v*w.lanes)))
			w.JLE(operand.LabelRef("stored"))
		}
		for i := range w.lanes {
			w.VMOVUPS(at(from, (w.lanes*v+i)*bytes), w.vec(i))
		}
		store := func(put func(v reg.VecPhysical)) {
			for i := range w.lanes {
				if i > 0 {
					w.CMPQ(at(regTile, tileLanes), operand.Imm(uint64(i)))
					w.JLE(operand.LabelRef(done))
				}
				put(w.vec(turned + i))
				w.ADDQ(step, to)
			}
		}
		here := at(to, v*bytes)
		if w.bits == 512 {
			w.square512()
			w.MOVQ(line, to)
			w.CMPQ(at(regTile, tileAdd), operand.Imm(0))
			w.JNE(operand.LabelRef(part))
			store(func(r reg.VecPhysical) { w.VMOVUPS(r, masks[v], here) })
			w.JMP(operand.LabelRef(done))
			w.Label(part)
			store(func(r reg.VecPhysical) { w.VMOVNTPS(r, here) })
		} else {
			w.square256()
			w.MOVQ(line, to)
			w.CMPQ(at(regOff, 16), operand.Imm(uint64(8*(v+1))))
			w.JLT(operand.LabelRef(part))
			store(func(r reg.VecPhysical) { w.VMOVUPS(r, here) })
			w.JMP(operand.LabelRef(done))
			w.Label(part)
			w.MOVQ(operand.U32(uint64(8*v)), step) // which is taken for a moment
			w.SUBQ(at(regOff, 16), step)
			w.LEAQ(operand.NewDataAddr(operand.NewStaticSymbol(maskName), 32), to)
			w.VMOVUPS(row(to, step, 0), w.vec(0))
			stepOf()
			w.MOVQ(line, to)
			store(func(r reg.VecPhysical) { w.VMASKMOVPS(r, w.vec(0), here) })
		}
		w.Label(done)
	}
	w.Label("stored")
	w.ADDQ(operand.U32(uint32(w.across()*w.lanes*bytes)), from)
	w.ADDQ(regLdc, line)
	w.DECQ(rows)
	w.JNZ(operand.LabelRef("row"))
}
