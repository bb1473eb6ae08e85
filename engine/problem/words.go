package problem

import (
	"fmt"
	"strconv"
)

// Op is the operation.
type Op uint8

// The operations.
const (
	Conv   Op = iota // cross-correlation, as every framework's convolution
	Deconv           // transposed convolution
	Pool
	Unpool // the inverse of max pooling: each value goes where its index says
	Deform // deformable convolution: every tap is moved by an offset and read bilinearly (2-D)
	Im2col // the matrix of a convolution's taps: [N, C, spatial…] → [N, C·taps, positions]
	Col2im // its adjoint: [N, C·taps, positions] → [N, C, spatial…], sums where taps meet
)

func (o Op) String() string {
	return name(o, "conv", "deconv", "pool", "unpool", "deform", "im2col", "col2im")
}

// PoolKind is what a pooling window computes.
type PoolKind uint8

// The pooling kinds. The average divisors follow ONNX and PyTorch.
const (
	Max        PoolKind = iota
	AvgExclude          // divides by the cells of the window that lie in the source
	AvgFull             // divides by the whole kernel, whatever part of it lies in the source
	AvgInclude          // divides by the cells in source or padding, without what ceil rounding let hang over
	Lp                  // (Σ|x|^P)^(1/P)
)

func (k PoolKind) String() string { return name(k, "max", "avg_np", "avg_p", "avg_ip", "lp") }

// Average says whether the kind divides a sum.
func (k PoolKind) Average() bool { return k == AvgExclude || k == AvgFull || k == AvgInclude }

// Dir is the direction.
type Dir uint8

// The directions, by their oneDNN names.
const (
	Forward         Dir = iota // FWD: src, wei, bia → dst
	BackwardData               // BWD_D: diff_dst and wei (max and Lp pooling: src or indices) → diff_src
	BackwardWeights            // BWD_W: src, diff_dst → diff_wei
	BackwardBias               // BWD_B: diff_dst → diff_bia
)

func (d Dir) String() string { return name(d, "FWD", "BWD_D", "BWD_W", "BWD_B") }

// DataType is the type of a tensor's elements.
type DataType uint8

// The data types.
const (
	F32 DataType = iota
	F16          // IEEE binary16, for storage: sums are f32
	S8
	U8
	S32
)

func (t DataType) String() string { return name(t, "f32", "f16", "s8", "u8", "s32") }

// Size is the bytes of one element.
func (t DataType) Size() int { return [...]int{4, 2, 1, 1, 4}[t] }

// Types are the element types of a problem's tensors. The zero value is f32 throughout.
type Types struct{ Src, Wei, Dst DataType }

// All is one type for every tensor.
func All(t DataType) Types { return Types{t, t, t} }

// String is "f32", or "u8-s8-s32" for src, wei and dst where they differ.
func (t Types) String() string {
	if t == All(t.Src) {
		return t.Src.String()
	}
	return t.Src.String() + "-" + t.Wei.String() + "-" + t.Dst.String()
}

// PadMode is what a convolution reads beyond the edge of its source.
type PadMode uint8

// The padding modes, by PyTorch's names.
const (
	Zeros     PadMode = iota
	Reflect           // mirrored at the edge cell, which is not repeated; less padding than cells
	Replicate         // the edge cell
	Circular          // the other end; at most as much padding as cells
)

func (m PadMode) String() string { return name(m, "zeros", "reflect", "replicate", "circular") }

// Layout is the order of a tensor's dimensions in memory.
type Layout uint8

// The layouts, for any rank.
const (
	NCHW Layout = iota // [N, C, spatial…]
	NHWC               // [N, spatial…, C]
)

func (l Layout) String() string { return name(l, "nchw", "nhwc") }

// IndexOrder says what the indices of max pooling and unpooling count. They are s32.
type IndexOrder uint8

// The index orders.
const (
	NoIndices IndexOrder = iota
	Plane                // cells of one plane, row-major (PyTorch)
	Flat                 // elements of the whole tensor, row-major (ONNX)
	Column               // planes as Flat, cells of a plane column-major: the first spatial dimension is the fastest (ONNX storage_order 1)
)

func (o IndexOrder) String() string { return name(o, "none", "plane", "flat", "column") }

// PostKind is an elementwise operation after a convolution.
type PostKind uint8

// The post-ops. Rows of operand PostParams are per output channel.
const (
	NoPost    PostKind = iota
	ReLU               // max(x, 0); NaN stays NaN
	Leaky              // x < 0 ? Alpha·x : x
	PReLU              // x < 0 ? a[c]·x : x
	Clip               // min(max(x, Alpha), Beta); NaN stays NaN
	Sigmoid            // 1/(1+e^−x)
	Tanh               //
	SiLU               // x·sigmoid(x)
	GELU               // x·Φ(x) = x/2·(1+erf(x/√2))
	GELUTanh           // x/2·(1+tanh(√(2/π)·(x+0.044715·x³)))
	HardSwish          // x·min(max(x+3, 0), 6)/6
	Scale              // a[c]·x + b[c]: a folded batch norm
	AddBias            // x + b[c]
	Add                // x + residual
)

func (k PostKind) String() string {
	return name(k, "none", "relu", "leaky", "prelu", "clip", "sigmoid", "tanh", "silu", "gelu", "gelu_tanh", "hardswish", "scale", "bias", "add")
}

// Rows is how many rows of PostParams the kind takes.
func (k PostKind) Rows() int {
	switch k {
	case Scale:
		return 2
	case PReLU, AddBias:
		return 1
	}
	return 0
}

// scalars is how many of Alpha and Beta the kind takes.
func (k PostKind) scalars() int {
	switch k {
	case Leaky:
		return 1
	case Clip:
		return 2
	}
	return 0
}

// PostOp is one post-op with its scalars.
type PostOp struct {
	Kind        PostKind
	Alpha, Beta float32
}

func (o PostOp) String() string {
	f := func(v float32) string { return strconv.FormatFloat(float64(v), 'g', -1, 32) }
	switch o.Kind.scalars() {
	case 1:
		return o.Kind.String() + "(" + f(o.Alpha) + ")"
	case 2:
		return o.Kind.String() + "(" + f(o.Alpha) + "," + f(o.Beta) + ")"
	}
	return o.Kind.String()
}

// MaxPost is the most post-ops of a problem.
const MaxPost = 4

func name[T ~uint8](v T, names ...string) string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("%T(%d)", v, v)
}

// Lookup finds the value of a named constant type by its String, e.g. Lookup[Dir]("BWD_D").
func Lookup[T interface {
	~uint8
	fmt.Stringer
}](text string) (T, error) {
	var known []string
	for v := T(0); ; v++ {
		s := v.String()
		if s == fmt.Sprintf("%T(%d)", v, v) {
			return 0, fmt.Errorf("%w: %q is none of %v", ErrInvalid, text, known)
		}
		if s == text {
			return v, nil
		}
		known = append(known, s)
	}
}
