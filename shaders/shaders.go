// Package shaders holds the GPU kernels. Each body is written once, in the dialect of src/prelude.glsl and
// src/prelude.cl, and reaches both GPU APIs from the same file. It imports nothing of the project.
//
// README.md lists the words of the dialect and says how to add a kernel.
package shaders

import (
	"embed"
	"errors"
	"sync"

	"github.com/gonvolve/gonvolve/shaders/internal/dialect"
)

//go:generate go run ./gen

// ErrKernel is what errors about kernels that cannot be had wrap.
var ErrKernel = errors.New("no such kernel")

// NativeHalf is the last tunable of a variant: the device's own conversions that are exact, of loads 1, of stores 2.
const NativeHalf = dialect.NativeHalf

// Half is the name of a body's variant half.
func Half(name string) string { return dialect.File(name, dialect.Half) }

// Matrix is the name of a body's variant with cooperative matrices, or of the one that emulates them.
func Matrix(name string, emulated bool) string {
	if emulated {
		return dialect.File(name, dialect.Emulated)
	}
	return dialect.File(name, dialect.Matrix)
}

// Dot is a body's variant with the device's dot products of bytes.
const Dot = dialect.Dot

// Variants of bodies that form short sums in f16 arithmetic: the device's, and f32 arithmetic that is rounded.
const (
	Packed  = dialect.Packed
	Rounded = dialect.Rounded
)

// Variant is the name of one of a body's variants.
func Variant(name, variant string) string { return dialect.File(name, variant) }

// Kernel is one kernel body in both dialects, or a variant of one. Kernels are shared: do not modify them.
type Kernel struct {
	Name       string    // the body's, with a point and its variant where there is one: conv_igemm, conv_igemm.half
	Entry      string    // the name of the function in CL: the body's
	Buffers    int       // number of buffers, bound in order
	ParamBytes int       // size of PARAMS
	Params     []Field   // the fields of PARAMS in order, four bytes each
	Tunables   []Tunable // compile-time constants: LX, LY, LZ (the work-group size) first, then the body's own
	SPIRV      []byte    // SPIR-V for Vulkan 1.1: tunables are specialization constants
	CL         string    // complete OpenCL C source: tunables are -D NAME=value, and so is VW, the vector width; empty: for Vulkan alone
	Matrix     bool      // it has cooperative matrices: the work-group is whole subgroups
	Dot        bool      // it has the device's dot products of bytes
	Packed     bool      // it has the device's f16 arithmetic

	cl places // of CL
}

// Field is one parameter of a kernel.
type Field struct {
	Name string
	Type string // int, uint or float
}

// Tunable is a compile-time constant of a kernel.
type Tunable struct {
	Name    string
	ID      int   // specialization constant id
	Default int32 // its value where nobody sets one
}

//go:embed src/*.k src/common.inc src/prelude.glsl src/prelude.cl spirv
var files embed.FS

var builtIn struct {
	sync.Once
	set *Set
}

// BuiltIn is the set of the kernels as they were committed.
func BuiltIn() *Set {
	builtIn.Do(func() { builtIn.set = newSet(files, "", nil) })
	return builtIn.set
}

// Get returns the built-in kernel with the name of its body's file, or of that and a variant: conv_igemm.half.
func Get(name string) (*Kernel, error) { return BuiltIn().Get(name) }

// All returns every usable built-in kernel, by name.
func All() []*Kernel { return BuiltIn().All() }
