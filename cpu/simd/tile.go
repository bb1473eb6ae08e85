package simd

// tile is what a kernel works on. The kernels in assembly know the offsets of the fields, and trust their contents: what
// fills a tile cuts the slices to what will be touched, so that a mistake is a panic there.
//
//	c[r·ldc + x] (+)= Σ_p a[p·rows + r] · b[off[p] + x]      p < k, r < rows, x < lanes of all vectors but the last + lanes
type tile struct {
	a      []float32
	b      []float32
	off    []int
	c      []float32
	k      int
	ldc    int
	lanes  int // of the last vector, 1 … kernels.lanes
	add    int // not 0: add to c
	rows   int
	ldb    int        // of transpose
	next   []float32  // what to fetch into the cache meanwhile, a line of it a step: no more than a hint
	bias   []float32  // of a product that finish says to add: by row or by lane
	limits [2]float32 // of a product that finish says to clip, and of clip
	finish int        // what happens to a product before it is stored: bits as below
	step   int        // bytes from line to line of next
	lda    int        // of dots: from row to row of a
	plane  int        // and from channel to channel
	halves []int16    // b, for the portable join
	parts  [2]int     // of split, which off points to
	// Of a product of quads: see Quant.
	scale, low, high, zero []float32
	quad                   [4]int // of weave, which off points to
}

// What happens to a product when it is complete, in this order.
const (
	biasByRow = 1 << iota
	biasByLane
	clipped
	addsUp // of a strip, before all
	// Of a product of quads:
	scaled   // floats are made of the sums
	rounded  // and integers of these
	narrowed // which are stored as bytes, ldc of them from row to row
)

// release gives a tile back to the pool, without what it points to.
func (t *tile) release() {
	*t = tile{}
	tiles.Put(t)
}

type kernel func(*tile)

// kernels is the kernels of an instruction set.
type kernels struct {
	isa   ISA
	lanes int // of a vector
	// gemm has the micro-kernels by number of vectors and of rows, both less one.
	gemm [][]kernel
	// spread has those that take rows from where off says, and lanes one step after the other:
	//
	//	c[r·ldc + x] (+)= Σ_p a[off[p] + r] · b[p·(lanes of all vectors) + x]
	spread [][]kernel
	// copy has, by number of vectors less one, what copies k rows: c[p·ldc + x] = b[off[p] + x].
	copy []kernel
	// join pairs rows of 16-bit integers: for p < k, in the rows-1 vectors and those lanes of another that vectors returns,
	// c[p·ldc + x] = b[off[2p] + x] + b[off[2p+1] + x]<<16. If joinsWhole, it reads whole vectors of b.
	join       kernel
	joinsWhole bool
	// turn transposes a block of up to lanes×lanes: c[x·ldc + r] = b[r·ldb + x], r < k, x < lanes.
	turn kernel
	// turnBytes is turn to bytes, the lowest of each element, ldc of them from row to row; weave makes quads of bytes, see Weave.
	turnBytes, weave kernel
	// split parts k rows of b into even elements, in c, and odd ones, in a: rows-1 vectors of results and those lanes. In off
	// is how many lanes of the last two vectors are there to load.
	split kernel
	// The transforms of winograd.go.
	winograd [len(WinogradSizes)]transforms // by m/2 − 1
	whole    bool                           // stores of whole vectors are faster, even if they write more than is there
	// The transforms of fourier.go, by FourierSizes, and their products by number of vectors and of tiles, both less one.
	fourier        []fourierKernels
	fourierProduct [][]kernel
	// The passes of post.go: by row and by lane.
	bias, scale, divide, leak [2]kernel
	clip, residual, quantize  kernel
	raise, integral           kernel
	dequantize                kernel
	signed, unsigned          byteKernels // without kernels in Go
	shorts                    kernel      // differences of k whole vectors, see Shorts; nil: as in Go
	activations               [activations]kernel
	// sum has, by number of vectors less one, the sums of shifted rows for one row and for four.
	sum [][2]kernel
	// most has the greatest of shifted rows in the same way.
	most [][2]kernel
	// sumEven and mostEven have, by number of vectors less one, those of every other element, for one row.
	sumEven, mostEven []kernel
	// first has, by number of vectors less one, those that say which of shifted rows is the greatest, for one row: see Firsts.
	first []kernel
	// every sets every other element of k rows, rows vectors of each: c[2x] = b[x]; nil: as in Go.
	every kernel
	// joins makes k rows of even elements, of a, and odd ones, of b, rows vectors of each; nil: as in Go.
	joins kernel
	// dots has sums of products along rows by rows of a, those in dotRows, and by rows of b less one: see Dots.
	dots    [][]kernel
	dotRows []int // ascending, from 1
	// widen and narrow convert k rows of whole vectors, rows of them, between 16-bit floats and others: c = b; nil: as in Go.
	widen, narrow kernel
	slides        []slideKernels // of sliding windows
	fence         func()         // of what they store past the caches
	rowMeans      slideKernel    // nil: as in Go
	peak          func(n int)    // n rounds of peakChains fused multiply-adds of whole vectors
	peakChains    int
}

// transforms are those of a size of Winograd's.
type transforms struct{ src, dst kernel }

// products are the kernels of products, those that read rows in place or those that have them packed.
func (k *kernels) products(rowsInPlace bool) [][]kernel {
	if rowsInPlace {
		return k.spread
	}
	return k.gemm
}

// vectors returns how many vectors hold n lanes, and how many lanes the last has.
func (k *kernels) vectors(n int) (vectors, last int) {
	vectors = (n + k.lanes - 1) / k.lanes
	return vectors, n - (vectors-1)*k.lanes
}

// copyRows copies rows of n elements: dst[p·stride + x] = src[off[p] + x].
func (k *kernels) copyRows(t *tile, dst []float32, stride int, src []float32, off []int, n int) {
	if len(off) == 0 || n <= 0 {
		return
	}
	for widest := len(k.copy) * k.lanes; ; {
		w := min(n, widest)
		v, last := k.vectors(w)
		t.b, t.off, t.c = src, off, dst[:(len(off)-1)*stride+w]
		t.k, t.ldc, t.lanes = len(off), stride, last
		k.copy[v-1](t)
		if n -= w; n == 0 {
			return
		}
		dst, src = dst[w:], src[w:]
	}
}
