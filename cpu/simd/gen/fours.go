package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Windows that make four channels of some at once, of groups of few channels:
//
//	dst[o, y, x] = Σ_{c,i,j} wei[c, i, j, o] · src[c, y + i, x + j],  o < 4
//
// A row of the source is loaded once for all four, and goes to all results that it is a part of. These stay in registers until all
// channels and rows are added, so that each is stored once.
const fourOuts = 4

// four is such a kernel while it is written.
type four struct{ *slide }

// out is the register of row m of results of channel o.
func (k four) out(m, o, v int) reg.VecPhysical { return k.vec((m*fourOuts+o)*k.nv + v) }

// fours writes the kernels of 3×3 windows for so many vectors at most.
func (a asm) fours(s isa, most int) {
	for nv := 1; nv <= most; nv++ {
		a.four(s, window{kind: "four", kh: 3, kw: 3, stride: 1}, nv)
	}
}

func (a asm) four(s isa, w window, nv int) {
	k := four{&slide{asm: a, isa: s, window: w, nv: nv, live: w.kh, weights: -1}}
	name := fmt.Sprintf("four%d%dx%d", s.bits, w.kh, nv)
	a.stripFunc(name, fmt.Sprintf("%s is windows of %d×%d of some channels, four results of each, on up to %d lanes.", name, w.kh, w.kw, nv*s.lanes))
	k.loadFields(
		stripField{winAt, stripSrc}, stripField{winDst, stripDst}, stripField{winMasks, stripMasks}, stripField{winRow, stripRow},
		stripField{winEnd, stripEnd}, stripField{winSteps, stripSteps}, stripField{winLdSrc, stripLdSrc}, stripField{winLdDst, stripLdDst})
	a.ADDQ(at(winStrip, stripStart), winAt)
	k.take(k.live * fourOuts * nv)
	if s.bits == 256 {
		k.mask = k.take(1)
	}
	k.xs, k.w = k.take(nv), k.take(1)
	if s.bits == 256 && k.free > 16 || k.free > 32 {
		panic(name + " needs more registers than there are")
	}
	for i := range k.live * fourOuts * nv {
		a.zero(s, i)
	}
	a.align()
	a.Label("loop")
	a.CMPQ(winRow, winEnd)
	a.JAE(operand.LabelRef("skip"))
	k.channels()
	a.Label("skip")
	a.INCQ(winRow)
	a.ADDQ(winLdSrc, winAt)
	a.SUBQ(operand.Imm(1), at(winStrip, stripSkip))
	a.JGE(operand.LabelRef("next"))
	k.complete()
	a.Label("next")
	for m := k.live - 1; m >= 0; m-- {
		for i := range fourOuts * nv {
			to := k.vec(m*fourOuts*nv + i)
			if m > 0 {
				a.VMOVAPS(k.vec((m-1)*fourOuts*nv+i), to)
			} else {
				a.zero(s, i)
			}
		}
	}
	a.DECQ(winSteps)
	a.JNZ(operand.LabelRef("loop"))
	a.VZEROUPPER()
	a.RET()
}

// channels adds the current row of all channels to the results that it is a part of.
func (k four) channels() {
	source, channels, ahead := reg.RAX, reg.R13, reg.R14
	k.MOVQ(winAt, source)
	k.MOVQ(at(winStrip, stripWei), winWei)
	k.MOVQ(at(winStrip, stripFrom), channels)
	k.Label("channel")
	k.MOVQ(at(winStrip, stripAhead), ahead)
	k.TESTQ(ahead, ahead)
	k.JZ(operand.LabelRef("near"))
	k.ADDQ(source, ahead)
	for line := range (k.nv*k.bits/8 + 63) / 64 {
		k.PREFETCHT0(at(ahead, 64*line))
	}
	k.Label("near")
	for j := range k.kw {
		for v := range k.nv {
			k.loadAt(source, v, 0, j, k.xs+v)
		}
		for m := range k.kh {
			for o := range fourOuts {
				k.VBROADCASTSS(at(winWei, 4*((m*k.kw+j)*fourOuts+o)), k.vec(k.w))
				for v := range k.nv {
					k.VFMADD231PS(k.vec(k.xs+v), k.vec(k.w), k.out(m, o, v))
				}
			}
		}
	}
	k.ADDQ(operand.Imm(uint64(4*k.kh*k.kw*fourOuts)), winWei)
	k.ADDQ(at(winStrip, stripSrcPlane), source)
	k.DECQ(channels)
	k.JNZ(operand.LabelRef("channel"))
}

// complete adds biases to the complete row of results, clips and stores it.
func (k four) complete() {
	finish, to := reg.R13, reg.RAX
	last := k.live - 1
	each := func(do func(c reg.VecPhysical)) {
		for o := range fourOuts {
			for v := range k.nv {
				do(k.out(last, o, v))
			}
		}
	}
	k.MOVQ(at(winStrip, stripDone), finish)
	k.TESTL(operand.U32(biasByRow), finish.As32())
	k.JZ(operand.LabelRef("store"))
	for o := range fourOuts {
		k.VBROADCASTSS(at(winStrip, stripBiases+4*o), k.vec(k.w))
		for v := range k.nv {
			k.VADDPS(k.vec(k.w), k.out(last, o, v), k.out(last, o, v))
		}
	}
	k.TESTL(operand.U32(clipped), finish.As32())
	k.JZ(operand.LabelRef("store"))
	k.VBROADCASTSS(at(winStrip, stripLimit), k.vec(k.w))
	each(func(c reg.VecPhysical) { k.VMAXPS(c, k.vec(k.w), c) }) // as the pass clip
	k.VBROADCASTSS(at(winStrip, stripLimit+4), k.vec(k.w))
	each(func(c reg.VecPhysical) { k.VMINPS(c, k.vec(k.w), c) })
	k.Label("store")
	k.MOVQ(winDst, to)
	if k.bits == 512 {
		k.KMOVW(at(winMasks, 0), reg.K1)
	}
	for o := range fourOuts {
		for v := range k.nv {
			c, m := k.out(last, o, v), at(to, v*k.bits/8)
			switch {
			case v < k.nv-1:
				k.VMOVUPS(c, m)
			case k.bits == 512:
				k.VMOVUPS(c, reg.K1, m)
			default:
				k.storeFirst(fmt.Sprint("store", o), c, m, at(winMasks, masksStored), finish)
			}
		}
		if o < fourOuts-1 {
			k.ADDQ(at(winStrip, stripDstPlane), to)
		}
	}
	k.ADDQ(winLdDst, winDst)
}
