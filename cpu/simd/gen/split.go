package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const evenName, oddName = "evenLanes", "oddLanes"

// laneLists are the tables of the even and the odd lanes of two vectors of 16.
func (a asm) laneLists() {
	for first, name := range []string{evenName, oddName} {
		a.StaticGlobal(name)
		a.DataAttributes(attr.RODATA | attr.NOPTR)
		for i := range 16 {
			a.AddDatum(4*i, operand.U32(2*i+first))
		}
	}
}

// split parts rows into their even and odd elements. Of the last two vectors to load, off[0] and off[1] lanes are there, of
// the last to store, tile.lanes.
func (a asm) split(s isa) {
	name := fmt.Sprintf("split%d", s.bits)
	a.tileFunc(name, name+" parts rows of b into the even elements, in c, and the odd ones, in a.")
	const x, y, even, odd, mask = 0, 1, 2, 3, 13 // the masks of 256 bits end at 15
	opmasks := []reg.Register{reg.K1, reg.K2, reg.K3}
	for i, lanes := range []operand.Mem{at(regOff, 0), at(regOff, 8), at(regTile, tileLanes)} {
		if s.bits == 512 {
			a.mask16(lanes, opmasks[i])
		} else {
			a.mask8(lanes, s.vec(mask+i))
		}
	}
	a.tables(s, evenName, oddName)
	a.strides()
	stride, from, oddTo := reg.R13, reg.R8, reg.R12
	a.MOVQ(regRow, stride)
	bytes := s.bits / 8
	step := func(last bool) {
		for i := range 2 {
			switch m := at(from, i*bytes); {
			case !last:
				a.VMOVUPS(m, s.vec(x+i))
			case s.bits == 512:
				a.VMOVUPS_Z(m, opmasks[i], s.vec(x+i))
			default:
				a.VMASKMOVPS(m, s.vec(mask+i), s.vec(x+i))
			}
		}
		a.pick(s, x, y, even, odd)
		for i, to := range []reg.Register{regRow, oddTo} {
			switch m := at(to, 0); {
			case !last:
				a.VMOVUPS(s.vec(even+i), m)
			case s.bits == 512:
				a.VMOVUPS(s.vec(even+i), opmasks[2], m)
			default:
				a.VMASKMOVPS(s.vec(even+i), s.vec(mask+2), m)
			}
		}
	}
	a.Label("row")
	a.MOVQ(regC, regRow)
	a.MOVQ(regA, oddTo)
	a.MOVQ(regB, from)
	a.MOVQ(at(regTile, tileRows), regTmp)
	a.JMP(operand.LabelRef("test"))
	a.Label("vector")
	step(false)
	a.ADDQ(operand.Imm(uint64(bytes)), regRow)
	a.ADDQ(operand.Imm(uint64(bytes)), oddTo)
	a.ADDQ(operand.Imm(uint64(2*bytes)), from)
	a.Label("test")
	a.DECQ(regTmp)
	a.JNZ(operand.LabelRef("vector"))
	step(true)
	a.nextRow()
	a.ADDQ(regLdc, regA)
	a.ADDQ(stride, regB)
	a.DECQ(regK)
	a.JNZ(operand.LabelRef("row"))
	a.VZEROUPPER()
	a.RET()
}
