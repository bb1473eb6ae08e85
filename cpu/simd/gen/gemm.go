package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of simd.tile, which simd's tests compare with the compiler's.
const (
	tileA     = 0
	tileB     = 24
	tileOff   = 48
	tileC     = 72
	tileK     = 96
	tileLdc   = 104
	tileLanes = 112
	tileAdd   = 120
	tileRows  = 128
	tileLdb   = 136
	tileNext  = 144
	tileBias  = 168
	tileLimit = 192
	tileDone  = 200
	tileStep  = 208
	tileLda   = 216
	tilePlane = 224
	tileScale = 272
	tileLow   = 296
	tileHigh  = 320
	tileZero  = 344
)

// Bits of the field finish.
const (
	biasByRow = 1 << iota
	biasByLane
	clipped
	_
	scaled
	rounded
	narrowed
)

// registers of the micro-kernels.
var (
	regTile = reg.RDI
	regA    = reg.RSI
	regB    = reg.RDX
	regOff  = reg.R8
	regC    = reg.R9
	regK    = reg.RCX
	regLdc  = reg.R10
	regRow  = reg.R11
	regTmp  = reg.RAX
	regNext = reg.R12
	regStep = reg.R13
)

// at is memory at a base, with an offset.
func at(base reg.Register, disp int) operand.Mem { return operand.Mem{Base: base, Disp: disp} }

// row is the v-th vector at base + 4·index.
func row(base, index reg.Register, disp int) operand.Mem {
	return operand.Mem{Base: base, Index: index, Scale: 4, Disp: disp}
}

// tileFunc starts a micro-kernel and loads the fields that all of them need.
func (a asm) tileFunc(name, doc string) {
	a.Function(name)
	a.Attributes(attr.NOSPLIT)
	a.Pragma("noescape")
	a.Signature(takes("tile"))
	a.Doc(doc)
	a.Load(a.Param("t"), regTile)
	a.MOVQ(at(regTile, tileA), regA)
	a.MOVQ(at(regTile, tileB), regB)
	a.MOVQ(at(regTile, tileOff), regOff)
	a.MOVQ(at(regTile, tileK), regK)
}

// nextRow moves regC down one row of C; regLdc holds bytes.
func (a asm) nextRow() { a.ADDQ(regLdc, regC) }

// eachRow ends a function that began with the label "row": it goes there for the next row of C, as often as left says.
func (a asm) eachRow(left reg.Register) {
	a.nextRow()
	a.DECQ(left)
	a.JNZ(operand.LabelRef("row"))
	a.VZEROUPPER()
	a.RET()
}

// arith is the arithmetic of a micro-kernel.
type arith struct {
	name string
	what string
	// mul adds the products of x, which may be memory, and y to acc; it may use tmp.
	mul func(a asm, x, y, tmp, acc operand.Op)
	add func(a asm, ops ...operand.Op)
	// addMasked is add with a zeroing mask, of 512 bits only.
	addMasked func(a asm, m, x, k, y operand.Op)
	finish    bool // with bias and limits
	quads     bool // of bytes, see quads.go: x has those with signs, the weights
}

var floats = arith{"gemm", "floats",
	func(a asm, x, y, _, acc operand.Op) { a.VFMADD231PS(x, y, acc) },
	func(a asm, ops ...operand.Op) { a.VADDPS(ops...) },
	func(a asm, m, x, k, y operand.Op) { a.VADDPS_Z(m, x, k, y) },
	true, false,
}

// pairsVNNI works on pairs of 16-bit integers, with sums of 32 bits that wrap.
var pairsVNNI = arith{"pairs", "pairs of 16-bit integers",
	func(a asm, x, y, _, acc operand.Op) { a.vnni("VPDPWSSD", x, y, acc) },
	func(a asm, ops ...operand.Op) { a.VPADDD(ops...) },
	func(a asm, m, x, k, y operand.Op) { a.VPADDD_Z(m, x, k, y) },
	false, false,
}

// vnni is an instruction of AVX512_VNNI, which avo doesn't know.
func (a asm) vnni(opcode string, ops ...operand.Op) {
	a.Instruction(&ir.Instruction{Opcode: opcode, Operands: ops, Inputs: ops, Outputs: ops[2:], ISA: []string{"AVX512_VNNI"}})
}

// pairs is the same in two instructions.
var pairs = arith{"pairs", "pairs of 16-bit integers",
	func(a asm, x, y, tmp, acc operand.Op) {
		a.VPMADDWD(x, y, tmp)
		a.VPADDD(tmp, acc, acc)
	},
	func(a asm, ops ...operand.Op) { a.VPADDD(ops...) },
	nil, false, false,
}

// gemm512 is the tile of mr rows and nv vectors of 16 lanes, of which the last has tile.lanes: one step of the loop loads
// a row of B once and multiplies it with mr broadcast elements of A. The last vector is always masked, which costs
// nothing.
func (a asm) gemm512(of arith, mr, nv int) {
	name := fmt.Sprintf("%s512x%dx%d", of.name, nv, mr)
	a.tileFunc(name, fmt.Sprintf("%s computes a tile of %d rows and up to %d lanes of %s.", name, mr, 16*nv, of.what))
	acc := func(r, v int) reg.VecPhysical { return zmm(r*nv + v) }
	b := func(v int) reg.VecPhysical { return zmm(mr*nv + v) }
	spare := 32 - mr*nv - nv // registers for broadcasts, used in turn
	a.mask16(at(regTile, tileLanes), reg.K1)
	for i := range mr * nv {
		a.VPXORD(zmm(i), zmm(i), zmm(i))
	}
	if of.quads {
		a.startRows(mr, nv, acc)
	}
	a.product()
	a.steps("loop", func() {
		for v := range nv - 1 {
			a.VMOVUPS(row(regB, regTmp, 64*v), b(v))
		}
		a.VMOVUPS_Z(row(regB, regTmp, 64*(nv-1)), reg.K1, b(nv-1))
		for r := range mr {
			w := zmm(mr*nv + nv + r%spare)
			a.VBROADCASTSS(at(regA, 4*r), w)
			for v := range nv {
				if of.quads {
					of.mul(a, w, b(v), nil, acc(r, v))
				} else {
					of.mul(a, b(v), w, nil, acc(r, v))
				}
			}
		}
		a.ADDQ(operand.Imm(uint64(4*mr)), regA)
	})

	a.Label("store")
	finish := func() { a.finish(isa512, mr, nv, acc, b(0)) }
	if of.quads {
		finish = func() { a.finishRows(mr, nv, acc) }
	}
	a.put512(of, mr, nv, acc, finish)
}

// product begins a product, whose steps, if there are any, end at the label store.
func (a asm) product() {
	a.TESTQ(regK, regK)
	a.JZ(operand.LabelRef("store"))
	a.MOVQ(at(regTile, tileNext), regNext)
	a.MOVQ(at(regTile, tileStep), regStep)
}

// steps is the loop over a product's steps, whose body finds the step's offset in regTmp. What comes next is fetched meanwhile.
func (a asm) steps(label string, body func()) {
	a.align()
	a.Label(label)
	a.MOVQ(at(regOff, 0), regTmp)
	a.PREFETCHT1(at(regNext, 0))
	body()
	a.ADDQ(operand.Imm(8), regOff)
	a.ADDQ(regStep, regNext)
	a.DECQ(regK)
	a.JNZ(operand.LabelRef(label))
}

// spread512 is the tile of mr rows that lie in place, where tile.off says, and nv vectors of 16 lanes, which are packed step
// by step. Where registers are scarce, the last vector is an operand in memory.
func (a asm) spread512(of arith, mr, nv int) {
	name := fmt.Sprintf("%s512x%dx%d", of.spread(), nv, mr)
	a.tileFunc(name, fmt.Sprintf("%s computes a tile of %d rows in place and up to %d lanes.", name, mr, 16*nv))
	acc := func(r, v int) reg.VecPhysical { return zmm(r*nv + v) }
	held := min(nv, 32-mr*nv-1)
	spare := 32 - mr*nv - held
	b := func(v int) operand.Op {
		if v < held {
			return zmm(mr*nv + v)
		}
		return at(regB, 64*v)
	}
	for i := range mr * nv {
		a.VPXORD(zmm(i), zmm(i), zmm(i))
	}
	if of.quads {
		a.mask16(at(regTile, tileLanes), reg.K1)
		a.startLanes(mr, nv, acc)
	}
	a.product()
	a.steps("loop", func() {
		for v := range held {
			a.VMOVUPS(at(regB, 64*v), b(v))
		}
		for r := range mr {
			w := zmm(mr*nv + held + r%spare)
			a.VBROADCASTSS(row(regA, regTmp, 4*r), w)
			for v := range nv {
				of.mul(a, b(v), w, nil, acc(r, v))
			}
		}
		a.ADDQ(operand.U32(64*nv), regB)
	})
	a.Label("store")
	a.mask16(at(regTile, tileLanes), reg.K1)
	finish := func() { a.finish(isa512, mr, nv, acc, zmm(31)) }
	if of.quads {
		finish = func() { a.finishLanes(mr, nv, acc) }
	}
	a.put512(of, mr, nv, acc, finish)
}

// put512 stores a tile, after adding what is there if tile.add says so, and finishes it. The mask of the last vector is in
// K1.
func (a asm) put512(of arith, mr, nv int, acc func(r, v int) reg.VecPhysical, finish func()) {
	a.MOVQ(at(regTile, tileC), regC)
	a.MOVQ(at(regTile, tileLdc), regLdc)
	a.SHLQ(operand.Imm(2), regLdc)
	a.CMPQ(at(regTile, tileAdd), operand.Imm(0))
	a.JEQ(operand.LabelRef("put"))
	a.MOVQ(regC, regRow)
	for r := range mr {
		for v := range nv - 1 {
			of.add(a, at(regRow, 64*v), acc(r, v), acc(r, v))
		}
		of.addMasked(a, at(regRow, 64*(nv-1)), acc(r, nv-1), reg.K1, acc(r, nv-1))
		a.ADDQ(regLdc, regRow)
	}
	a.Label("put")
	if of.finish {
		finish()
	}
	for r := range mr {
		for v := range nv - 1 {
			a.VMOVUPS(acc(r, v), at(regC, 64*v))
		}
		a.VMOVUPS(acc(r, nv-1), reg.K1, at(regC, 64*(nv-1)))
		a.nextRow()
	}
	a.VZEROUPPER()
	a.RET()
}

// finish adds the bias and clips, in the registers of the tile. The mask of the last vector is in place.
func (a asm) finish(s isa, mr, nv int, acc func(r, v int) reg.VecPhysical, w reg.VecPhysical) {
	a.MOVQ(at(regTile, tileDone), regTmp)
	a.TESTQ(regTmp, regTmp)
	a.JZ(operand.LabelRef("finished"))
	a.MOVQ(at(regTile, tileBias), regA)
	a.skipUnless(biasByRow, "biased")
	for r := range mr {
		a.VBROADCASTSS(at(regA, 4*r), w)
		for v := range nv {
			a.VADDPS(w, acc(r, v), acc(r, v))
		}
	}
	a.Label("biased")
	a.skipUnless(biasByLane, "biasedLanes")
	for v := range nv {
		m := at(regA, v*s.bits/8)
		switch {
		case v < nv-1:
			a.VMOVUPS(m, w)
		case s.bits == 512:
			a.VMOVUPS_Z(m, reg.K1, w)
		default:
			a.VMASKMOVPS(m, ymm(15), w)
		}
		for r := range mr {
			a.VADDPS(w, acc(r, v), acc(r, v))
		}
	}
	a.Label("biasedLanes")
	a.skipUnless(clipped, "finished")
	// The second of Intel's operands, here the first, is the result if one is NaN, or both are zeros.
	for i, limit := range []func(...operand.Op){a.VMAXPS, a.VMINPS} {
		a.VBROADCASTSS(at(regTile, tileLimit+4*i), w)
		for r := range mr {
			for v := range nv {
				limit(acc(r, v), w, acc(r, v))
			}
		}
	}
	a.Label("finished")
}

// skipUnless jumps if a bit is not set.
func (a asm) skipUnless(bit uint64, label string) {
	a.TESTQ(operand.U32(bit), regTmp)
	a.JZ(operand.LabelRef(label))
}

// mask16 sets as many bits of k as memory says. It uses regC and regRow, which nobody needs before storing.
func (a asm) mask16(lanes operand.Mem, k reg.Register) {
	a.MOVQ(lanes, regRow)
	a.MOVQ(operand.U32(1), regC)
	a.SHLXQ(regRow, regC, regC)
	a.DECQ(regC)
	a.KMOVW(regC.As32(), k)
}

// gemm256 is the same in vectors of 8 lanes. A masked load costs here, so that whole tiles have a loop of their own.
func (a asm) gemm256(of arith, mr, nv int) {
	name := fmt.Sprintf("%s256x%dx%d", of.name, nv, mr)
	a.tileFunc(name, fmt.Sprintf("%s computes a tile of %d rows and up to %d lanes of %s.", name, mr, 8*nv, of.what))
	acc := func(r, v int) reg.VecPhysical { return ymm(r*nv + v) }
	b := func(v int) reg.VecPhysical { return ymm(mr*nv + v) }
	w, tmp, mask := ymm(mr*nv+nv), ymm(14), ymm(15) // tmp is w in the largest tile of floats, which doesn't use it
	for i := range mr * nv {
		a.VXORPS(ymm(i), ymm(i), ymm(i))
	}
	a.mask8(at(regTile, tileLanes), mask)
	a.product()
	a.CMPQ(at(regTile, tileLanes), operand.Imm(8))
	a.JNE(operand.LabelRef("masked"))
	for _, loop := range []string{"loop", "masked"} {
		a.steps(loop, func() {
			for v := range nv {
				if v == nv-1 && loop == "masked" {
					a.VMASKMOVPS(row(regB, regTmp, 32*v), mask, b(v))
				} else {
					a.VMOVUPS(row(regB, regTmp, 32*v), b(v))
				}
			}
			for r := range mr {
				a.VBROADCASTSS(at(regA, 4*r), w)
				for v := range nv {
					of.mul(a, b(v), w, tmp, acc(r, v))
				}
			}
			a.ADDQ(operand.Imm(uint64(4*mr)), regA)
		})
		if loop == "loop" {
			a.JMP(operand.LabelRef("store"))
		}
	}

	a.Label("store")
	a.put256(of, mr, nv, acc, b(0), w, mask)
}

// spread256 is spread512 in vectors of 8 lanes.
func (a asm) spread256(mr, nv int) {
	name := fmt.Sprintf("spread256x%dx%d", nv, mr)
	a.tileFunc(name, fmt.Sprintf("%s computes a tile of %d rows in place and up to %d lanes.", name, mr, 8*nv))
	acc := func(r, v int) reg.VecPhysical { return ymm(r*nv + v) }
	b := func(v int) reg.VecPhysical { return ymm(mr*nv + v) }
	w := ymm(15)
	for i := range mr * nv {
		a.VXORPS(ymm(i), ymm(i), ymm(i))
	}
	a.product()
	a.steps("loop", func() {
		for v := range nv {
			a.VMOVUPS(at(regB, 32*v), b(v))
		}
		for r := range mr {
			a.VBROADCASTSS(row(regA, regTmp, 4*r), w)
			for v := range nv {
				a.VFMADD231PS(b(v), w, acc(r, v))
			}
		}
		a.ADDQ(operand.Imm(uint64(32*nv)), regB)
	})
	a.Label("store")
	a.mask8(at(regTile, tileLanes), ymm(15))
	a.put256(floats, mr, nv, acc, b(0), ymm(14), ymm(15))
}

// put256 is put512 in vectors of 8 lanes; b and w are free.
func (a asm) put256(of arith, mr, nv int, acc func(r, v int) reg.VecPhysical, b, w, mask reg.VecPhysical) {
	a.MOVQ(at(regTile, tileC), regC)
	a.MOVQ(at(regTile, tileLdc), regLdc)
	a.SHLQ(operand.Imm(2), regLdc)
	a.CMPQ(at(regTile, tileAdd), operand.Imm(0))
	a.JEQ(operand.LabelRef("put"))
	a.MOVQ(regC, regRow)
	for r := range mr {
		for v := range nv - 1 {
			of.add(a, at(regRow, 32*v), acc(r, v), acc(r, v))
		}
		a.VMASKMOVPS(at(regRow, 32*(nv-1)), mask, w)
		of.add(a, w, acc(r, nv-1), acc(r, nv-1))
		a.ADDQ(regLdc, regRow)
	}
	a.Label("put")
	if of.finish {
		a.finish(isa256, mr, nv, acc, b)
	}
	a.CMPQ(at(regTile, tileLanes), operand.Imm(8))
	a.JNE(operand.LabelRef("maskedPut"))
	for _, full := range []bool{true, false} {
		if !full {
			a.Label("maskedPut")
		}
		for r := range mr {
			for v := range nv {
				if v == nv-1 && !full {
					a.VMASKMOVPS(acc(r, v), mask, at(regC, 32*v))
				} else {
					a.VMOVUPS(acc(r, v), at(regC, 32*v))
				}
			}
			a.nextRow()
		}
		a.VZEROUPPER()
		a.RET()
	}
}

// mask8 sets a vector of 8 lanes: all ones in the first, as many as memory says, else zero. It uses regC and regRow.
func (a asm) mask8(lanes operand.Mem, mask reg.Register) {
	a.MOVQ(lanes, regRow)
	a.NEGQ(regRow)
	m := operand.NewDataAddr(operand.NewStaticSymbol(maskName), 32)
	a.LEAQ(m, regC)
	a.VMOVUPS(row(regC, regRow, 0), mask)
}

// storeFirst stores the first lanes of a vector of 8, as many as n says, to m: a whole vector as such, others in pieces, see
// storePieces.
func (a asm) storeFirst(label string, v reg.VecPhysical, m, n operand.Mem, to reg.Register) {
	a.TESTL(operand.U32(8), n)
	a.JZ(operand.LabelRef(label + "Part"))
	a.VMOVUPS(v, m)
	a.JMP(operand.LabelRef(label + "Done"))
	a.Label(label + "Part")
	a.storePieces(label, v, m, n, to)
	a.Label(label + "Done")
}

// storePieces stores the first 1 to 7 lanes of a vector, as many as n says, in pieces of 4, 2 and 1: a masked store takes 13 cycles on
// AMD's processors, and holds up those that follow. It uses to, and the vector.
func (a asm) storePieces(label string, v reg.VecPhysical, m, n operand.Mem, to reg.Register) {
	x := v.AsX().(reg.VecPhysical)
	a.LEAQ(m, to)
	a.TESTL(operand.U32(4), n)
	a.JZ(operand.LabelRef(label + "Two"))
	a.VMOVUPS(x, at(to, 0))
	a.VEXTRACTF128(operand.Imm(1), v, x)
	a.ADDQ(operand.Imm(16), to)
	a.Label(label + "Two")
	a.TESTL(operand.U32(2), n)
	a.JZ(operand.LabelRef(label + "One"))
	a.VMOVLPS(x, at(to, 0))
	a.VMOVHLPS(x, x, x)
	a.ADDQ(operand.Imm(8), to)
	a.Label(label + "One")
	a.TESTL(operand.U32(1), n)
	a.JZ(operand.LabelRef(label + "None"))
	a.VMOVSS(x, at(to, 0))
	a.Label(label + "None")
}

const maskName = "laneMask"

// laneMasks is the table that mask8 reads: eight lanes of ones, then eight of zeros.
func (a asm) laneMasks() {
	a.StaticGlobal(maskName)
	a.DataAttributes(attr.RODATA | attr.NOPTR)
	for i := range 16 {
		ones := operand.U32(0)
		if i < 8 {
			ones = 1<<32 - 1
		}
		a.AddDatum(4*i, ones)
	}
}

var zmms = []reg.VecPhysical{
	reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7, reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13,
	reg.Z14, reg.Z15, reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23, reg.Z24, reg.Z25, reg.Z26,
	reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
}

func zmm(i int) reg.VecPhysical { return zmms[i] }
func ymm(i int) reg.VecPhysical { return zmms[i].AsY().(reg.VecPhysical) }
