// Package problem describes operations: what to compute, on which shapes, with which strides, paddings and dilations.
// A Problem is plain, comparable data; everything about it that other packages need (shapes, element counts, work,
// validity, its one-line text form) is computed here and nowhere else.
package problem

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/bits"
)

// ErrInvalid is what every error of this package wraps: the text or the numbers do not describe an operation.
var ErrInvalid = errors.New("invalid problem")

// The largest numbers of a problem.
const (
	MaxSize = 1 << 40       // of batch, channels, source and output sizes, and of paddings either way
	MaxDim  = math.MaxInt32 // of everything else
)

// Op is the operation.
type Op uint8

// The operations.
const (
	Conv   Op = iota // cross-correlation, as every framework's convolution
	Deconv           // transposed convolution
	Pool
)

func (o Op) String() string { return name(o, "conv", "deconv", "pool") }

// PoolKind is what a pooling window computes.
type PoolKind uint8

// The pooling kinds. The average divisors follow ONNX and PyTorch: see Divisor in the cpu driver's reference.
const (
	Max        PoolKind = iota
	AvgExclude          // divides by the cells of the window that lie in the source
	AvgFull             // divides by the whole kernel, whatever part of it lies in the source
	AvgInclude          // divides by the cells in source or padding, without what ceil rounding let hang over
)

func (k PoolKind) String() string { return name(k, "max", "avg_np", "avg_p", "avg_ip") }

// Dir is the direction.
type Dir uint8

// The directions, by their oneDNN names.
const (
	Forward         Dir = iota // FWD: src, wei, bia → dst
	BackwardData               // BWD_D: diff_dst, wei (max pooling: src) → diff_src
	BackwardWeights            // BWD_W: src, diff_dst → diff_wei
)

func (d Dir) String() string { return name(d, "FWD", "BWD_D", "BWD_W") }

// DataType is the type of a tensor's elements.
type DataType uint8

// The data types. F32 is what drivers run today.
const (
	F32 DataType = iota
	F16
	S8
)

func (t DataType) String() string { return name(t, "f32", "f16", "s8") }

// Size is the bytes of one element.
func (t DataType) Size() int { return [...]int{4, 2, 1}[t] }

// Activation is applied to each result of a convolution, after the bias.
type Activation uint8

// The activations.
const (
	Identity Activation = iota
	ReLU                // max(x, 0); NaN stays NaN
)

func (a Activation) String() string { return name(a, "none", "relu") }

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

// Axis is one spatial dimension.
type Axis struct {
	In, Out    int
	Kernel     int
	Stride     int
	PadL, PadR int // before and after; negative crops
	Dilation   int // 1 = dense
}

// identity is an axis that a problem of lower rank does not have.
var identity = Axis{In: 1, Out: 1, Kernel: 1, Stride: 1, Dilation: 1}

// Extent is the span of the dilated kernel, (Kernel−1)·Dilation+1.
func (a Axis) Extent() int { return (a.Kernel-1)*a.Dilation + 1 }

// OutFloor is ⌊(In+PadL+PadR−Extent)/Stride⌋+1, or 0 if the kernel does not fit.
func (a Axis) OutFloor() int {
	room := a.In + a.PadL + a.PadR - a.Extent()
	if room < 0 {
		return 0
	}
	return room/a.Stride + 1
}

// OutCeil is the same rounded up, less a last window that would begin past source and left padding.
func (a Axis) OutCeil() int {
	room := a.In + a.PadL + a.PadR - a.Extent() + a.Stride - 1
	if room < 0 {
		return 0
	}
	o := room/a.Stride + 1
	if (o-1)*a.Stride >= a.In+a.PadL {
		o--
	}
	return o
}

// outDeconv is the smallest output of a transposed convolution, (In−1)·Stride−PadL−PadR+Extent.
func (a Axis) outDeconv() int { return (a.In-1)*a.Stride - a.PadL - a.PadR + a.Extent() }

// impliedPadR is the right padding that makes Out come out exactly.
func (a Axis) impliedPadR(op Op) int {
	if op == Deconv {
		return (a.In-1)*a.Stride - a.Out + a.Extent() - a.PadL
	}
	return (a.Out-1)*a.Stride - a.In + a.Extent() - a.PadL
}

// Problem is one operation, fully described. The zero value is invalid; build problems with Parse, NewConv or NewPool,
// or fill the fields and call Validate.
type Problem struct {
	Op     Op
	Kind   PoolKind // of Pool
	Dir    Dir
	Type   DataType
	N      int
	Groups int     // 1 for pooling
	IC, OC int     // totals over all groups; equal for pooling
	Rank   int     // spatial dimensions, 1 to 3
	Axes   [3]Axis // depth, height, width; those that Rank does not have are identities
	Bias   bool
	Act    Activation
	Name   string // for people; not part of what is computed
}

// Spatial returns the Rank axes that the problem has, outermost first.
func (p *Problem) Spatial() []Axis { return p.Axes[3-p.Rank:] }

func (p *Problem) shape(n, c int, of func(Axis) int) []int {
	s := make([]int, 0, 2+p.Rank)
	s = append(s, n, c)
	for _, a := range p.Spatial() {
		s = append(s, of(a))
	}
	return s
}

// SrcShape is [N, IC, spatial…].
func (p *Problem) SrcShape() []int { return p.shape(p.N, p.IC, func(a Axis) int { return a.In }) }

// DstShape is [N, OC, spatial…].
func (p *Problem) DstShape() []int { return p.shape(p.N, p.OC, func(a Axis) int { return a.Out }) }

// WeiShape is [OC, IC/Groups, kernel…], for Deconv [IC, OC/Groups, kernel…], nil for Pool.
func (p *Problem) WeiShape() []int {
	k := func(a Axis) int { return a.Kernel }
	switch p.Op {
	case Conv:
		return p.shape(p.OC, p.IC/p.Groups, k)
	case Deconv:
		return p.shape(p.IC, p.OC/p.Groups, k)
	}
	return nil
}

// BiaShape is [OC], or nil without bias.
func (p *Problem) BiaShape() []int {
	if !p.Bias {
		return nil
	}
	return []int{p.OC}
}

// ResultShape is the shape of what the problem's direction computes.
func (p *Problem) ResultShape() []int {
	switch p.Dir {
	case BackwardData:
		return p.SrcShape()
	case BackwardWeights:
		return p.WeiShape()
	}
	return p.DstShape()
}

// Elems is the number of elements of a shape; 0 for nil. Shapes of a valid problem do not overflow.
func Elems(shape []int) int64 {
	if shape == nil {
		return 0
	}
	n := int64(1)
	for _, d := range shape {
		n *= int64(d)
	}
	return n
}

// Taps is the number of cells of a window, the product of the kernel sizes.
func (p *Problem) Taps() int64 {
	n := int64(1)
	for _, a := range p.Axes {
		n *= int64(a.Kernel)
	}
	return n
}

// Terms is how many products (pooling: values) are summed into one forward result, without bias.
func (p *Problem) Terms() int64 {
	if p.Op == Pool {
		return p.Taps()
	}
	return int64(p.IC/p.Groups) * p.Taps()
}

// FLOPs counts the direct algorithm's operations, whatever algorithm runs: two for each product, taps in the padding
// included; for pooling one for each cell of each window.
func (p *Problem) FLOPs() float64 {
	if p.Op == Pool {
		return float64(Elems(p.DstShape())) * float64(p.Taps())
	}
	outer := Elems(p.DstShape())
	inner := float64(p.IC / p.Groups)
	if p.Op == Deconv {
		outer, inner = Elems(p.SrcShape()), float64(p.OC/p.Groups)
	}
	return 2 * float64(outer) * inner * float64(p.Taps())
}

// Bytes is the least traffic: each tensor read or written once.
func (p *Problem) Bytes() int64 {
	return int64(p.Type.Size()) * (Elems(p.SrcShape()) + Elems(p.WeiShape()) + Elems(p.BiaShape()) + Elems(p.DstShape()))
}

// Validate says whether the problem can be computed at all, with one error that names what is wrong.
func (p *Problem) Validate() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
	}
	if p.Op > Pool || p.Kind > AvgInclude || p.Dir > BackwardWeights || p.Type > S8 || p.Act > ReLU {
		return bad("unknown operation, kind, direction, type or activation")
	}
	if p.Rank < 1 || p.Rank > 3 {
		return bad("%d spatial dimensions; 1 to 3 are possible", p.Rank)
	}
	if p.N < 0 || p.N > MaxSize {
		return bad("batch mb%d; 0 to %d is possible", p.N, MaxSize)
	}
	for _, c := range []struct {
		name string
		v    int
	}{{"g", p.Groups}, {"ic", p.IC}, {"oc", p.OC}} {
		if c.v < 1 || c.v > MaxSize {
			return bad("%s%d; 1 to %d is possible", c.name, c.v, MaxSize)
		}
	}
	if p.IC%p.Groups != 0 || p.OC%p.Groups != 0 {
		return bad("ic%d and oc%d must be multiples of g%d", p.IC, p.OC, p.Groups)
	}
	if p.Op == Pool && (p.IC != p.OC || p.Groups != 1 || p.Bias || p.Act != Identity || p.Dir == BackwardWeights) {
		return bad("pooling has no groups, output channels, bias, activation or weights")
	}
	for i, a := range p.Axes {
		if i < 3-p.Rank {
			if a != identity {
				return bad("axis %c is set but the rank is %d", "dhw"[i], p.Rank)
			}
			continue
		}
		if err := a.validate(p.Op, "dhw"[i]); err != nil {
			return err
		}
	}
	q := *p
	q.N = max(1, p.N) // an empty batch must not hide an image that is too large
	for _, shape := range [][]int{q.SrcShape(), q.WeiShape(), q.DstShape(), {q.Axes[0].Kernel, q.Axes[1].Kernel, q.Axes[2].Kernel}} {
		if !fits(shape) {
			return bad("tensor or window %v has more than 2^%d elements", shape, maxElemsLog2)
		}
	}
	return nil
}

func (a Axis) validate(op Op, axis byte) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: axis %c: %s", ErrInvalid, axis, fmt.Sprintf(format, args...))
	}
	within := func(what string, v, least, most int) error {
		if v < least || v > most {
			return bad("%s is %d; %d to %d is possible", what, v, least, most)
		}
		return nil
	}
	// In this order: what comes later cannot overflow once what comes before is in range.
	if err := cmp.Or(within("source size i", a.In, 1, MaxSize), within("kernel k", a.Kernel, 1, MaxDim),
		within("stride s", a.Stride, 1, MaxDim), within("dilation", a.Dilation, 1, MaxDim)); err != nil {
		return err
	}
	if err := cmp.Or(within("extent of the dilated kernel", a.Extent(), 1, MaxDim), within("output o", a.Out, math.MinInt, MaxSize)); err != nil {
		return err
	}
	if max(a.In, a.Out) > 1<<60/a.Stride {
		return bad("sizes i and o times stride s are at most 2^60")
	}
	if err := cmp.Or(within("left padding p", a.PadL, -MaxSize, MaxSize), within("right padding r", a.PadR, -MaxSize, MaxSize)); err != nil {
		return err
	}
	if op == Deconv {
		if least := a.outDeconv(); a.Out < 1 || a.Out < least || a.Out-least >= max(a.Stride, a.Dilation) {
			return bad("output o is %d; this transposed convolution makes %d to %d", a.Out, least, least+max(a.Stride, a.Dilation)-1)
		}
		return nil
	}
	floor := a.OutFloor()
	if op == Pool && a.Out >= 1 && a.Out == a.OutCeil() {
		return nil
	}
	if floor < 1 {
		return bad("the kernel spans %d, more than the padded source's %d: use a smaller kernel or more padding",
			a.Extent(), a.In+a.PadL+a.PadR)
	}
	if a.Out != floor {
		return bad("output o is %d; source, kernel, stride and padding make %d", a.Out, floor)
	}
	return nil
}

// maxElemsLog2 limits tensors and windows such that no sum of a problem's sizes in bytes overflows.
const maxElemsLog2 = 58

// fits says whether the shape has at most 2^maxElemsLog2 elements.
func fits(shape []int) bool {
	n := uint64(1)
	for _, d := range shape {
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 || lo > 1<<maxElemsLog2 {
			return false
		}
		n = lo
	}
	return true
}
