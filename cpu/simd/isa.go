package simd

import (
	"errors"
	"fmt"
)

// ISA is an instruction set that there are kernels for.
type ISA uint8

// The instruction sets, from the one that runs everywhere to the fastest.
const (
	Portable ISA = iota // Go
	AVX2                // AVX2 and FMA: 8 lanes
	AVX512              // AVX-512 F, DQ, BW, VL: 16 lanes
)

var isaNames = [...]string{Portable: "portable", AVX2: "avx2", AVX512: "avx512"}

func (i ISA) String() string {
	if int(i) < len(isaNames) {
		return isaNames[i]
	}
	return fmt.Sprintf("ISA(%d)", uint8(i))
}

// Lanes is how many floats a vector of the kernels has.
func (i ISA) Lanes() int { return kernelsOf(i).lanes }

// ErrISA says that an instruction set is unknown or missing here.
var ErrISA = errors.New("simd: no such instruction set")

// ParseISA returns the instruction set of a name, if this machine has it.
func ParseISA(name string) (ISA, error) {
	for i, n := range isaNames {
		switch {
		case n != name:
		case ISA(i) > Best():
			return 0, fmt.Errorf("%w: this machine has no %s, its best is %s", ErrISA, name, Best())
		default:
			return ISA(i), nil
		}
	}
	return 0, fmt.Errorf("%w as %q: take avx512, avx2 or portable", ErrISA, name)
}

// Best returns the fastest instruction set of this machine.
func Best() ISA { return best }

// Supported returns all instruction sets of this machine, the fastest first.
func Supported() []ISA {
	var all []ISA
	for i := int(Best()); i >= 0; i-- {
		all = append(all, ISA(i))
	}
	return all
}
