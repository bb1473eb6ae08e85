package main

import (
	"math"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// activations writes the passes of functions that are more than an instruction, by the formulas of shaders/src/common.inc,
// which states their errors: each elementary operation is rounded once, so that nothing is contracted.
func activations(a asm) {
	a.laneMasks()
	table := &constants{at: map[uint32]int{}}
	for _, s := range []isa{isa512, isa256} {
		k := &activation{a, s, table}
		none := func() {}
		a.post(s, "sigmoid", 0, none, func() {
			k.sigmoid(vC, rY)
			k.VMOVAPS(k.vec(rY), k.vec(vC))
		})
		a.post(s, "tanh", 0, none, k.tanh)
		a.post(s, "silu", 0, none, func() {
			k.sigmoid(vC, rY)
			k.gate()
		})
		a.post(s, "gelu", 0, none, k.gelu)
		a.post(s, "geluTanh", 0, none, func() {
			k.VMULPS(k.vec(vC), k.vec(vC), k.vec(rZ))
			k.mul(rZ, 0.0713548139, rZ)
			k.add(rZ, 1.59576917, rZ)
			k.VMULPS(k.vec(vC), k.vec(rZ), k.vec(rZ))
			k.sigmoid(rZ, rY)
			k.gate()
		})
		a.post(s, "hardSwish", 0, none, func() {
			k.add(vC, 3, rY)
			k.VMULPS(k.vec(vC), k.vec(rY), k.vec(rY))
			k.load(6, rT)
			k.VDIVPS(k.vec(rT), k.vec(rY), k.vec(rY))
			k.load(3, rT)
			k.where(notLess, vC, rT, vC, rY) // NaN too
			k.load(-3, rT)
			k.load(0, rR)
			k.where(lessOrEqual, vC, rT, rR, rY)
			k.VMOVAPS(k.vec(rY), k.vec(vC))
		})
	}
	a.StaticGlobal(constantsName)
	a.DataAttributes(attr.RODATA | attr.NOPTR)
	for i, v := range table.values {
		for lane := range 8 {
			a.AddDatum(4*(8*i+lane), operand.U32(v))
		}
	}
}

const constantsName = "activationConstants"

// constants are those that the passes read, eight times each.
type constants struct {
	at     map[uint32]int
	values []uint32
}

// vector registers, beside vC, which is the operand and the result. vMask is the last.
const (
	rY = iota + 1 // of a function
	rZ            // operand of an inner function
	rC            // of exp
	rT
	rR
	rE // e^x
	rA // |x|
	rN // of what is near 0
	rS // scratch of where
)

// predicates of VCMPPS.
const (
	notLess     = 0x15 // true for NaN
	lessOrEqual = 0x12
	equal       = 0x00
)

// activation writes passes for an instruction set.
type activation struct {
	asm
	isa
	table *constants
}

func (k *activation) bits32(v uint32) operand.Mem {
	i, ok := k.table.at[v]
	if !ok {
		i = len(k.table.values)
		k.table.at[v] = i
		k.table.values = append(k.table.values, v)
	}
	return operand.NewDataAddr(operand.NewStaticSymbol(constantsName), 32*i)
}

func (k *activation) constant(c float32) operand.Mem { return k.bits32(math.Float32bits(c)) }

func (k *activation) load(c float32, to int) { k.VBROADCASTSS(k.constant(c), k.vec(to)) }

// with is an operation with a constant, which is the second of Intel's operands: by its forms of 256 and of 512 bits.
func (k *activation) with(m operand.Mem, x, to int, short, long func(...operand.Op)) {
	if k.bits == 512 {
		long(m, k.vec(x), k.vec(to))
	} else {
		short(m, k.vec(x), k.vec(to))
	}
}

func (k *activation) mul(x int, c float32, to int) {
	k.with(k.constant(c), x, to, k.VMULPS, k.VMULPS_BCST)
}
func (k *activation) add(x int, c float32, to int) {
	k.with(k.constant(c), x, to, k.VADDPS, k.VADDPS_BCST)
}
func (k *activation) sub(x int, c float32, to int) {
	k.with(k.constant(c), x, to, k.VSUBPS, k.VSUBPS_BCST)
}

// less is x < c ? x : c, and more x > c ? x : c.
func (k *activation) less(x int, c float32, to int) {
	k.with(k.constant(c), x, to, k.VMINPS, k.VMINPS_BCST)
}
func (k *activation) more(x int, c float32, to int) {
	k.with(k.constant(c), x, to, k.VMAXPS, k.VMAXPS_BCST)
}

const signBit, otherBits = 1 << 31, 1<<31 - 1

func (k *activation) and(x int, bits uint32, to int) {
	k.with(k.bits32(bits), x, to, k.VANDPS, k.VANDPS_BCST)
}
func (k *activation) or(x int, bits uint32, to int) {
	k.with(k.bits32(bits), x, to, k.VORPS, k.VORPS_BCST)
}
func (k *activation) xor(x int, bits uint32, to int) {
	k.with(k.bits32(bits), x, to, k.VXORPS, k.VXORPS_BCST)
}

// where sets to to from in the lanes where the predicate holds of x and y.
func (k *activation) where(predicate operand.U8, x, y, from, to int) {
	if k.bits == 512 {
		k.VCMPPS(predicate, k.vec(y), k.vec(x), reg.K2)
		k.VMOVAPS(k.vec(from), reg.K2, k.vec(to))
		return
	}
	k.VCMPPS(predicate, k.vec(y), k.vec(x), k.vec(rS))
	k.VBLENDVPS(k.vec(rS), k.vec(from), k.vec(to), k.vec(to))
}

// polynomial is ((c₀·x + c₁)·x + c₂)…
func (k *activation) polynomial(x, to int, c ...float32) {
	k.mul(x, c[0], to)
	for i, v := range c[1:] {
		k.add(to, v, to)
		if i < len(c)-2 {
			k.VMULPS(k.vec(x), k.vec(to), k.vec(to))
		}
	}
}

const (
	expHigh = 88.7228317
	expLow  = -87.3365
)

// exp sets rE to EXP_F of x, of the nearest of expLow and expHigh beyond them.
func (k *activation) exp(x int) {
	const magic = 12582912
	k.less(x, expHigh, rC)
	k.more(rC, expLow, rC)
	k.mul(rC, 1.44269502, rT)
	k.add(rT, magic, rT)
	k.sub(rT, magic, rT)
	for _, ln2 := range []float32{0.693145752, 1.42860677e-6} {
		k.mul(rT, ln2, rE)
		k.VSUBPS(k.vec(rE), k.vec(rC), k.vec(rC))
	}
	k.polynomial(rC, rR, 0.00138229993, 0.00836884044, 0.0416682437, 0.166665196, 0.49999994)
	k.VMULPS(k.vec(rC), k.vec(rC), k.vec(rE))
	k.VMULPS(k.vec(rR), k.vec(rE), k.vec(rE))
	k.VADDPS(k.vec(rC), k.vec(rE), k.vec(rE))
	k.add(rE, 1, rE)
	k.VCVTPS2DQ(k.vec(rT), k.vec(rT))
	k.VPSLLD(operand.Imm(23), k.vec(rT), k.vec(rT))
	k.VPADDD(k.vec(rT), k.vec(rE), k.vec(rE))
}

// sigmoid is SIGMOID_F.
func (k *activation) sigmoid(x, to int) {
	k.or(x, signBit, rA)
	k.exp(rA)
	k.load(expLow, rT)
	k.load(0, rR)
	k.where(less, rA, rT, rR, rE)
	k.load(1, rC)
	k.VADDPS(k.vec(rC), k.vec(rE), k.vec(rN))
	k.where(less, x, rR, rE, rC)
	k.VDIVPS(k.vec(rN), k.vec(rC), k.vec(to))
	k.load(-17, rT)
	k.where(less, x, rT, rE, to)
	k.where(unordered, x, x, x, to)
}

// gate is GATE of vC and rY.
func (k *activation) gate() {
	k.load(0, rR)
	k.VMULPS(k.vec(rY), k.vec(vC), k.vec(vC))
	k.where(equal, rY, rR, rR, vC)
}

// signed gives rE, where rA is below limit rN, the sign of x; or it is x, if that is NaN.
func (k *activation) signed(x int, limit float32, to int) {
	k.load(limit, rT)
	k.where(less, rA, rT, rN, rE)
	k.and(x, signBit, rT)
	k.VORPS(k.vec(rT), k.vec(rE), k.vec(rE))
	k.where(unordered, x, x, x, rE)
	k.VMOVAPS(k.vec(rE), k.vec(to))
}

// tanh is TANH_F.
func (k *activation) tanh() {
	k.and(vC, otherBits, rA)
	k.VMULPS(k.vec(rA), k.vec(rA), k.vec(rZ))
	k.polynomial(rZ, rN, -0.00617589988, 0.0210042614, -0.0538365096, 0.133324414, -0.333333135)
	k.VMULPS(k.vec(rZ), k.vec(rN), k.vec(rN))
	k.VMULPS(k.vec(rA), k.vec(rN), k.vec(rN))
	k.VADDPS(k.vec(rA), k.vec(rN), k.vec(rN))
	k.VADDPS(k.vec(rA), k.vec(rA), k.vec(rZ))
	k.exp(rZ)
	k.add(rE, 1, rE)
	k.load(2, rT)
	k.VDIVPS(k.vec(rE), k.vec(rT), k.vec(rT))
	k.load(1, rE)
	k.VSUBPS(k.vec(rT), k.vec(rE), k.vec(rE))
	k.signed(vC, 0.5625, vC)
}

// gelu is GELU_F, with ERF_F in it.
func (k *activation) gelu() {
	k.mul(vC, 0.707106769, rY)
	k.and(rY, otherBits, rA)
	k.VMULPS(k.vec(rA), k.vec(rA), k.vec(rZ))
	k.polynomial(rZ, rN, 8.69114447e-05, -0.000821379595, 0.00520684337, -0.0268615205, 0.112837277, -0.376126349, 0.128379166)
	k.VMULPS(k.vec(rA), k.vec(rN), k.vec(rN))
	k.VADDPS(k.vec(rA), k.vec(rN), k.vec(rN))
	k.less(rA, 4, rC)
	k.polynomial(rC, rZ, 2.05597444e-05, -0.000428280619, 0.00414117472, -0.0250409804, 0.108159311, 0.633456051, 1.12946129,
		-0.000163614881)
	k.xor(rZ, signBit, rZ)
	k.exp(rZ)
	k.load(1, rT)
	k.VSUBPS(k.vec(rE), k.vec(rT), k.vec(rE))
	k.signed(rY, 0.875, rY)
	k.mul(rY, 0.5, rY)
	k.add(rY, 0.5, rY)
	k.gate()
}
