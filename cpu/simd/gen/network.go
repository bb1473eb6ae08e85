package main

import (
	"fmt"
	"math"
	"slices"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// network is a straight line of operations on vectors, in the order in which they are called for. Its values are given
// registers when it is written: a value that is needed last makes room, and is kept in memory meanwhile.
type network struct {
	asm
	isa
	ops  []networkOp
	uses [][]int // of each value: the operations that need it
}

// value is what an operation made.
type value int

// networkOp is an operation of a network.
type networkOp struct {
	kind    networkKind
	to      value
	x, y    value
	twiddle int         // of mul and what follows
	mem     operand.Mem // of load and store
	act     func()
}

type networkKind int

const (
	netLoad     networkKind = iota
	netPlaced               // load where it is needed first
	netAdd                  // x + y
	netSub                  // x − y
	netMul                  // twiddle · x
	netMulAdd               // twiddle · x + y
	netMulSub               // twiddle · x − y
	netMulMinus             // y − twiddle · x
	netStore
	netAct
)

func (n *network) op(o networkOp, needs ...value) value {
	for _, v := range needs {
		n.uses[v] = append(n.uses[v], len(n.ops))
	}
	o.to = value(len(n.uses))
	n.uses = append(n.uses, nil)
	n.ops = append(n.ops, o)
	return o.to
}

func (n *network) load(m operand.Mem) value { return n.op(networkOp{kind: netLoad, mem: m}) }

// placed is what a place has that does not change before its last use.
func (n *network) placed(m operand.Mem) value { return n.op(networkOp{kind: netPlaced, mem: m}) }

func (n *network) add(x, y value) value { return n.op(networkOp{kind: netAdd, x: x, y: y}, x, y) }
func (n *network) sub(x, y value) value { return n.op(networkOp{kind: netSub, x: x, y: y}, x, y) }

func (n *network) mul(twiddle int, x value) value {
	return n.op(networkOp{kind: netMul, twiddle: twiddle, x: x}, x)
}

// fused is one of the kinds that add a product to y, which nothing else needs.
func (n *network) fused(kind networkKind, twiddle int, x, y value) value {
	return n.op(networkOp{kind: kind, twiddle: twiddle, x: x, y: y}, x, y)
}

func (n *network) store(v value, m operand.Mem) {
	n.op(networkOp{kind: netStore, x: v, mem: m}, v)
}

// act has f called between what is written before and after.
func (n *network) act(f func()) { n.op(networkOp{kind: netAct, act: f}) }

// homes are where the values of a network are while it is written.
type homes struct {
	*network
	in    map[value]int // registers
	holds []value       // by registers, −1: nothing
	slots []value       // by vectors of memory, −1: nothing
	kept  map[value]operand.Mem
	at    map[value]int // slots
	used  []int         // of each value's uses, those that are written
}

// write writes the network with so many registers, and vectors of memory from regA on. It returns how many of these it takes.
func (n *network) write(registers int) (slots int) {
	h := homes{network: n, in: map[value]int{}, kept: map[value]operand.Mem{}, at: map[value]int{},
		holds: make([]value, registers), used: make([]int, len(n.uses))}
	for i := range h.holds {
		h.holds[i] = -1
	}
	for _, o := range n.ops {
		switch o.kind {
		case netLoad:
			n.VMOVUPS(o.mem, h.room(o.to))
		case netPlaced:
			h.kept[o.to] = o.mem
		case netAct:
			o.act()
		case netStore:
			n.VMOVUPS(h.get(o.x), o.mem)
			h.done(o.x)
			for v, m := range h.kept {
				if m == o.mem {
					panic(fmt.Sprintf("value %d is stored over", v))
				}
			}
		case netAdd, netSub:
			x, y := h.get(o.x), h.get(o.y, o.x)
			h.done(o.x)
			h.done(o.y)
			if o.kind == netAdd {
				n.VADDPS(y, x, h.room(o.to))
			} else {
				n.VSUBPS(y, x, h.room(o.to))
			}
		case netMul:
			x := h.get(o.x)
			h.done(o.x)
			if to, c := h.room(o.to, o.x), n.twiddle(o.twiddle); n.bits == 512 {
				n.VMULPS_BCST(c, x, to)
			} else {
				n.VMULPS(c, x, to)
			}
		default:
			x, y := h.get(o.x, o.y), h.get(o.y, o.x)
			if len(n.uses[o.y]) != 1 {
				panic("a sum that a product is added to is needed elsewhere")
			}
			r := h.in[o.y]
			h.done(o.x)
			h.done(o.y)
			h.holds[r], h.in[o.to] = o.to, r
			n.fuse(o.kind, n.twiddle(o.twiddle), x, y)
		}
	}
	return len(h.slots)
}

func (n *network) fuse(kind networkKind, c operand.Mem, x, y reg.Register) {
	wide, narrow := n.VFMADD231PS_BCST, n.VFMADD231PS
	switch kind {
	case netMulSub:
		wide, narrow = n.VFMSUB231PS_BCST, n.VFMSUB231PS
	case netMulMinus:
		wide, narrow = n.VFNMADD231PS_BCST, n.VFNMADD231PS
	}
	if n.bits == 512 {
		wide(c, x, y)
	} else {
		narrow(c, x, y)
	}
}

// get is a value's register; others stay.
func (h *homes) get(v value, others ...value) reg.VecPhysical {
	if r, ok := h.in[v]; ok {
		return h.vec(r)
	}
	from, ok := h.kept[v]
	if !ok {
		panic(fmt.Sprintf("value %d is nowhere", v))
	}
	to := h.room(v, others...)
	h.VMOVUPS(from, to)
	return to
}

// room takes a register for v; others stay.
func (h *homes) room(v value, others ...value) reg.VecPhysical {
	best, far := 0, -1
	for r, held := range h.holds {
		next := len(h.ops) // nothing
		if held >= 0 {
			next = h.uses[held][h.used[held]]
		}
		for _, o := range others {
			if held == o && held >= 0 {
				next = -1
			}
		}
		if next > far {
			best, far = r, next
		}
	}
	if old := h.holds[best]; old >= 0 {
		delete(h.in, old)
		if _, ok := h.kept[old]; !ok {
			h.keep(old)
			h.VMOVUPS(h.vec(best), h.kept[old])
		}
	}
	h.holds[best], h.in[v] = v, best
	return h.vec(best)
}

// keep takes a slot for v.
func (h *homes) keep(v value) {
	slot := slices.Index(h.slots, -1)
	if slot < 0 {
		slot = len(h.slots)
		h.slots = append(h.slots, v)
	}
	h.slots[slot], h.at[v], h.kept[v] = v, slot, at(regA, slot*h.bits/8)
}

// done notes a use of v; after the last, v is nowhere.
func (h *homes) done(v value) {
	if h.used[v]++; h.used[v] < len(h.uses[v]) {
		return
	}
	if r, ok := h.in[v]; ok {
		h.holds[r] = -1
		delete(h.in, v)
	}
	if slot, ok := h.at[v]; ok {
		h.slots[slot] = -1
	}
	delete(h.at, v)
	delete(h.kept, v)
}

// twiddles are e^(−2πi·j/64): of index j the real part, of 64+j the imaginary one's negative. In the table for 256 bits each is a
// whole vector.
const twiddleCount = 64

func twiddleName(bits int) string { return fmt.Sprintf("twiddles%d", bits) }

func (a asm) twiddles(s isa) {
	a.StaticGlobal(twiddleName(s.bits))
	a.DataAttributes(attr.RODATA | attr.NOPTR)
	each := 1
	if s.bits == 256 {
		each = s.lanes
	}
	for j := range 2 * twiddleCount {
		sin, cos := math.Sincos(2 * math.Pi * float64(j%twiddleCount) / twiddleCount)
		v := cos
		if j >= twiddleCount {
			v = sin
		}
		if j%(twiddleCount/4) == 0 && math.Abs(v) < 0.5 {
			v = 0
		}
		for i := range each {
			a.AddDatum(4*(each*j+i), operand.U32(math.Float32bits(float32(v))))
		}
	}
}

func (n *network) twiddle(index int) operand.Mem {
	size := 4
	if n.bits == 256 {
		size *= n.lanes
	}
	return operand.NewDataAddr(operand.NewStaticSymbol(twiddleName(n.bits)), 0).Offset(size * index)
}
