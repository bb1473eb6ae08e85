package main

import (
	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// quadsVNNI works on quads of bytes, those of weights with signs and those of the source without, with sums of 32 bits that
// wrap. They start with a bias, and leave as integers, as floats, or rounded.
var quadsVNNI = arith{"quads", "quads of bytes",
	func(a asm, x, y, _, acc operand.Op) { a.vnni("VPDPBUSD", x, y, acc) },
	func(a asm, ops ...operand.Op) { a.VPADDD(ops...) },
	func(a asm, m, x, k, y operand.Op) { a.VPADDD_Z(m, x, k, y) },
	true, true,
}

// spread is the name of the kernels that read rows in place.
func (of arith) spread() string {
	if of.quads {
		return "quadsSpread"
	}
	return "spread"
}

// quads writes products of quads of bytes, and what puts these together and takes results apart.
func quads(a asm) {
	a.weaveOrder()
	for nv, rows := range []int{14, 14, 8, 6} {
		for mr := 1; mr <= rows; mr++ {
			a.gemm512(quadsVNNI, mr, nv+1)
		}
	}
	for nv, rows := range []int{14, 14, 9, 7} {
		for mr := 1; mr <= rows; mr++ {
			a.spread512(quadsVNNI, mr, nv+1)
		}
	}
	a.turnBytes512()
	a.weave512()
}

// startRows starts sums with biases of rows, if tile.finish says so.
func (a asm) startRows(mr, nv int, acc func(r, v int) reg.VecPhysical) {
	a.MOVQ(at(regTile, tileDone), regTmp)
	a.skipUnless(biasByRow, "started")
	a.MOVQ(at(regTile, tileBias), regNext)
	for r := range mr {
		for v := range nv {
			a.VBROADCASTSS(at(regNext, 4*r), acc(r, v))
		}
	}
	a.Label("started")
}

// startLanes does with those of lanes. The mask of the last vector is in K1.
func (a asm) startLanes(mr, nv int, acc func(r, v int) reg.VecPhysical) {
	a.MOVQ(at(regTile, tileDone), regTmp)
	a.skipUnless(biasByLane, "started")
	a.MOVQ(at(regTile, tileBias), regNext)
	for v := range nv {
		a.lanesOf(regNext, v, nv, acc(0, v))
		for r := 1; r < mr; r++ {
			a.VMOVAPS(acc(0, v), acc(r, v))
		}
	}
	a.Label("started")
}

// lanesOf loads the v-th of nv vectors of parameters.
func (a asm) lanesOf(base reg.Register, v, nv int, to reg.VecPhysical) {
	if v == nv-1 {
		a.VMOVUPS_Z(at(base, 64*v), reg.K1, to)
	} else {
		a.VMOVUPS(at(base, 64*v), to)
	}
}

// quantized turns sums in the registers of a tile into float32(sum)·scale, if tile.finish says so, and that, within limits,
// into integers, to which a zero point is added. The parameter i of the vector (r, v) is what load returns.
func (a asm) quantized(each func(do func(acc reg.VecPhysical, param func(i int) reg.VecPhysical), params ...int)) {
	a.MOVQ(at(regTile, tileDone), regTmp)
	a.skipUnless(scaled, "finished")
	each(func(acc reg.VecPhysical, param func(i int) reg.VecPhysical) {
		a.VCVTDQ2PS(acc, acc)
		a.VMULPS(param(0), acc, acc)
	}, tileScale)
	a.skipUnless(rounded, "finished")
	each(func(acc reg.VecPhysical, param func(i int) reg.VecPhysical) {
		a.VMAXPS(param(0), acc, acc)
		a.VMINPS(param(1), acc, acc)
		a.VCVTPS2DQ(acc, acc)
		a.VPADDD(param(2), acc, acc)
	}, tileLow, tileHigh, tileZero)
}

var paramPointers = []reg.Register{regA, regB, regOff}

// finishRows finishes sums whose parameters go by rows, and stores bytes, if tile.finish says so.
func (a asm) finishRows(mr, nv int, acc func(r, v int) reg.VecPhysical) {
	a.quantized(func(do func(acc reg.VecPhysical, param func(i int) reg.VecPhysical), params ...int) {
		for i, p := range params {
			a.MOVQ(at(regTile, p), paramPointers[i])
		}
		param := func(i int) reg.VecPhysical { return zmm(31 - i) }
		for r := range mr {
			for i := range params {
				a.VBROADCASTSS(at(paramPointers[i], 4*r), param(i))
			}
			for v := range nv {
				do(acc(r, v), param)
			}
		}
	})
	a.skipUnless(narrowed, "finished")
	a.SHRQ(operand.Imm(2), regLdc) // of bytes
	for r := range mr {
		for v := range nv - 1 {
			a.VPMOVDB(acc(r, v), at(regC, 16*v))
		}
		a.VPMOVDB(acc(r, nv-1), reg.K1, at(regC, 16*(nv-1)))
		a.nextRow()
	}
	a.VZEROUPPER()
	a.RET()
	a.Label("finished")
}

// finishLanes finishes sums whose parameters go by lanes.
func (a asm) finishLanes(mr, nv int, acc func(r, v int) reg.VecPhysical) {
	a.quantized(func(do func(acc reg.VecPhysical, param func(i int) reg.VecPhysical), params ...int) {
		for i, p := range params {
			a.MOVQ(at(regTile, p), paramPointers[i])
		}
		param := func(i int) reg.VecPhysical { return zmm(31 - i) }
		for v := range nv {
			for i := range params {
				a.lanesOf(paramPointers[i], v, nv, param(i))
			}
			for r := range mr {
				do(acc(r, v), param)
			}
		}
	})
	a.Label("finished")
}

const weaveName = "weaveOrder"

// weaveOrder is the table that transposes 4×4 elements, of any size.
func (a asm) weaveOrder() {
	a.StaticGlobal(weaveName)
	a.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := range 16 {
		a.AddDatum(i, operand.U8(i%4*4+i/4))
	}
}

// weave512 makes words of four rows of bytes, tile.rows times: the i-th row of the first is at off[i] of b, those of the next
// tile.ldb bytes further on. Each has tile.k vectors of 16 words and one of tile.lanes; tile.limits[0] is exclusively ored.
func (a asm) weave512() {
	a.tileFunc("weave512", "weave512 makes words of rows of bytes.")
	const words, swap, order, parts = 0, 4, 5, 6
	a.mask16(at(regTile, tileLanes), reg.K1)
	a.MOVQ(at(regTile, tileC), regC)
	table := operand.NewDataAddr(operand.NewStaticSymbol(weaveName), 0)
	a.LEAQ(table, regTmp)
	a.VPMOVZXBD(at(regTmp, 0), zmm(order))
	a.VBROADCASTI32X4(at(regTmp, 0), zmm(parts))
	a.VBROADCASTSS(at(regTile, tileLimit), zmm(swap))
	from := []reg.Register{regA, regNext, regStep, reg.RBX}
	store := func(mask ...operand.Op) {
		for i := 1; i < 4; i++ {
			a.VINSERTI32X4(operand.Imm(uint64(i)), zmm(i).AsX(), zmm(words), zmm(words))
		}
		a.VPERMD(zmm(words), zmm(order), zmm(words))
		a.VPSHUFB(zmm(parts), zmm(words), zmm(words))
		a.VPXORD(zmm(swap), zmm(words), zmm(words))
		a.VMOVUPS(append(append([]operand.Op{zmm(words)}, mask...), at(regRow, 0))...)
	}
	a.Label("rows")
	for i, r := range from {
		a.MOVQ(at(regOff, 8*i), r)
		a.ADDQ(regB, r)
	}
	a.MOVQ(regC, regRow)
	a.MOVQ(regK, regTmp)
	a.TESTQ(regTmp, regTmp)
	a.JZ(operand.LabelRef("last"))
	a.align()
	a.Label("vector")
	for i, r := range from {
		a.VMOVUPS(at(r, 0), zmm(i).AsX())
		a.ADDQ(operand.Imm(16), r)
	}
	store()
	a.ADDQ(operand.Imm(64), regRow)
	a.DECQ(regTmp)
	a.JNZ(operand.LabelRef("vector"))
	a.Label("last")
	for i, r := range from {
		a.VMOVDQU8_Z(at(r, 0), reg.K1, zmm(i).AsX())
	}
	store(reg.K1)
	a.ADDQ(at(regTile, tileLdb), regB)
	a.MOVQ(at(regTile, tileLdc), regTmp)
	a.LEAQ(operand.Mem{Base: regC, Index: regTmp, Scale: 4}, regC)
	a.DECQ(at(regTile, tileRows))
	a.JNZ(operand.LabelRef("rows"))
	a.VZEROUPPER()
	a.RET()
}
