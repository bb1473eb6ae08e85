package simd

// Block is rows of results: element (i, j) is C[i·LD + j]. It is what a Post works on. If C is stored by columns, the
// rows of the block are the columns of C.
type Block struct {
	C          []float32
	LD         int
	Rows, Cols int
}

// Params is a parameter of a pass: one for each row of a block, or, with ByCol, for each column.
type Params struct {
	V     []float32
	ByCol bool
}

// Bias adds: c + b.
func (b Block) Bias(isa ISA, add Params) {
	k := kernelsOf(isa)
	b.pass(k, k.bias[side(add)], add.V, nil, add)
}

// Scale is c·scale + add with two roundings. Both parameters go by the same side.
func (b Block) Scale(isa ISA, scale, add Params) {
	k := kernelsOf(isa)
	b.pass(k, k.scale[side(scale)], scale.V, add.V, scale)
}

// Divide is c / by, rounded once.
func (b Block) Divide(isa ISA, by Params) {
	k := kernelsOf(isa)
	b.pass(k, k.divide[side(by)], by.V, nil, by)
}

// Leak multiplies what is below zero.
func (b Block) Leak(isa ISA, slope Params) {
	k := kernelsOf(isa)
	b.pass(k, k.leak[side(slope)], slope.V, nil, slope)
}

// Clip is lo where c < lo, else hi where c > hi, so that NaN stays. ReLU is Clip from 0 to infinity, which leaves −0.
func (b Block) Clip(isa ISA, lo, hi float32) {
	if b.Rows == 0 || b.Cols == 0 {
		return
	}
	k := kernelsOf(isa)
	t := tiles.Get().(*tile)
	defer t.release()
	t.limits = [2]float32{lo, hi}
	t.a = t.limits[:]
	b.fill(t, k)
	k.clip(t)
}

// Activation is a function of each element.
type Activation uint8

// The functions, with the errors that shaders/src/common.inc states for its own of these names.
const (
	_ Activation = iota
	Sigmoid
	Tanh
	SiLU
	GELU
	GELUTanh
	HardSwish
	activations
)

// Activate replaces elements by their function. It returns false, and does nothing, if the instruction set has no kernels
// for that.
func (b Block) Activate(isa ISA, f Activation) bool {
	k := kernelsOf(isa)
	if k.activations[f] == nil {
		return false
	}
	if b.Rows == 0 || b.Cols == 0 {
		return true
	}
	t := tiles.Get().(*tile)
	defer t.release()
	b.fill(t, k)
	k.activations[f](t)
	return true
}

// Quantize turns 32-bit integers, see Ints, into float32(c)·scale rounded to an integer, to nearest even, plus zero, within
// lo and hi, which are in the range of 16-bit integers as zero is. The parameters go by rows.
func (b Block) Quantize(isa ISA, scale, zero []float32, lo, hi float32) {
	if b.Rows == 0 || b.Cols == 0 {
		return
	}
	k := kernelsOf(isa)
	t := tiles.Get().(*tile)
	defer t.release()
	t.a, t.b, t.limits = scale[:b.Rows], zero[:b.Rows], [2]float32{lo, hi}
	b.fill(t, k)
	k.quantize(t)
}

// Add adds the elements of rows that are ld apart.
func (b Block) Add(isa ISA, rows []float32, ld int) {
	if b.Rows == 0 || b.Cols == 0 {
		return
	}
	k := kernelsOf(isa)
	t := tiles.Get().(*tile)
	defer t.release()
	t.b, t.ldb = rows[:(b.Rows-1)*ld+b.Cols], ld
	b.fill(t, k)
	k.residual(t)
}

func side(p Params) int {
	if p.ByCol {
		return 1
	}
	return 0
}

// pass runs a kernel with one or two parameters.
func (b Block) pass(k *kernels, f kernel, first, second []float32, by Params) {
	if b.Rows == 0 || b.Cols == 0 {
		return
	}
	n := b.Rows
	if by.ByCol {
		n = b.Cols
	}
	t := tiles.Get().(*tile)
	defer t.release()
	t.a = first[:n]
	if second != nil {
		t.b = second[:n]
	}
	b.fill(t, k)
	f(t)
}

func (b Block) fill(t *tile, k *kernels) {
	t.c, t.ldc, t.k = b.C[:(b.Rows-1)*b.LD+b.Cols], b.LD, b.Rows
	t.rows, t.lanes = k.vectors(b.Cols)
}

// Raise adds an integer to each of the 32-bit integers of a row, see Ints; they wrap.
func (b Block) Raise(isa ISA, by []int32) {
	k := kernelsOf(isa)
	b.pass(k, k.raise, Words(by), nil, Params{})
}

// Integral turns floats that are 32-bit integers into these, see Ints.
func (b Block) Integral(isa ISA) {
	if b.Rows == 0 || b.Cols == 0 {
		return
	}
	k := kernelsOf(isa)
	t := tiles.Get().(*tile)
	defer t.release()
	b.fill(t, k)
	k.integral(t)
}

// Dequantize turns 32-bit integers into float32(c)·scale.
func (b Block) Dequantize(isa ISA, scale []float32) {
	k := kernelsOf(isa)
	b.pass(k, k.dequantize, scale, nil, Params{})
}
