// Package filter holds the built-in picture filters: square kernels of known taps that convolve each channel of a
// picture by itself.
//
//	dst[y][x] = Σ_{i,j} src[y + i − SIZE/2][x + j − SIZE/2] · taps[i][j]
//
// with zeros around the picture. The filters are
//
//	identity             1
//	gaussian[:SIZE[,SIGMA]]  exp(−(i² + j²) / 2σ²), normalised; i, j from the centre; 5, σ = 0.3·(SIZE/2 − 1) + 0.8 with SIZE/2 rounded down
//	box[:SIZE]           1 / SIZE²; 3
//	sharpen              0 −1 0 | −1 5 −1 | 0 −1 0
//	emboss               −2 −1 0 | −1 1 1 | 0 1 2
//	laplacian            0 1 0 | 1 −4 1 | 0 1 0
//	sobel-x              −1 0 1 | −2 0 2 | −1 0 1, positive where it gets brighter to the right
//	sobel-y              −1 −2 −1 | 0 0 0 | 1 2 1, positive where it gets brighter downwards
//
// # The same picture on every device
//
// The taps of gaussian and box are rounded to multiples of 2^-16 whose sum is exactly 1, those of the others are small
// integers. With samples of 8 bits every product and every partial sum, in whatever order, is then a multiple of 2^-16
// below 256 (or a small integer), which float32 holds exactly: every device gives the same result, bit for bit, by
// every algorithm that multiplies source by taps and adds up. Winograd and Fourier transforms round on their way and
// are outside of this promise, as are pictures of 16-bit samples.
package filter

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/gonvolve/gonvolve/engine"
)

// MaxSize is the largest SIZE of a filter.
const MaxSize = 31

// one is the unit of rounded taps as an integer.
const one = 1 << 16

// Filter is a square kernel.
type Filter struct {
	Name string    // in the form that Parse reads, sizes filled in
	Size int       // rows and columns, odd
	Taps []float32 // Size rows of Size
}

// fixed are the filters without parameters.
var fixed = map[string][]float32{
	"identity":  {1},
	"sharpen":   {0, -1, 0, -1, 5, -1, 0, -1, 0},
	"emboss":    {-2, -1, 0, -1, 1, 1, 0, 1, 2},
	"laplacian": {0, 1, 0, 1, -4, 1, 0, 1, 0},
	"sobel-x":   {-1, 0, 1, -2, 0, 2, -1, 0, 1},
	"sobel-y":   {-1, -2, -1, 0, 0, 0, 1, 2, 1},
}

// Names lists the filters in the form that Parse reads.
func Names() []string {
	return []string{"identity", "gaussian[:SIZE[,SIGMA]]", "box[:SIZE]", "sharpen", "emboss", "laplacian", "sobel-x", "sobel-y"}
}

// Parse finds a filter, such as "sobel-x", "gaussian", "gaussian:5" or "gaussian:5,1.2". Its errors wrap
// engine.ErrInvalid.
func Parse(text string) (Filter, error) {
	bad := func(format string, args ...any) (Filter, error) {
		return Filter{}, fmt.Errorf("%w: filter %.60q: %s", engine.ErrInvalid, text, fmt.Sprintf(format, args...))
	}
	name, params, given := strings.Cut(text, ":")
	if taps, ok := fixed[name]; ok {
		if given {
			return bad("%s has no parameters; write %s", name, name)
		}
		return Filter{name, int(math.Sqrt(float64(len(taps)))), slices.Clone(taps)}, nil
	}
	if name != "gaussian" && name != "box" {
		return bad("there are %s", strings.Join(Names(), ", "))
	}
	sizeText, sigmaText, hasSigma := strings.Cut(params, ",")
	size := map[string]int{"gaussian": 5, "box": 3}[name]
	var err error
	if given {
		if size, err = strconv.Atoi(sizeText); err != nil || size < 1 || size > MaxSize || size%2 == 0 {
			return bad("the size is an odd number from 1 to %d, such as %s:5", MaxSize, name)
		}
	}
	if name == "box" {
		if hasSigma {
			return bad("box has a size only, such as box:5")
		}
		return Filter{fmt.Sprintf("box:%d", size), size, round(size, func(int, int) float64 { return 1 })}, nil
	}
	sigma := 0.3*float64(size/2-1) + 0.8
	canonical := fmt.Sprintf("gaussian:%d", size)
	if hasSigma {
		if sigma, err = strconv.ParseFloat(sigmaText, 64); err != nil || !(sigma >= 0.01 && sigma <= 1000) {
			return bad("sigma is a number from 0.01 to 1000, such as gaussian:5,1.2")
		}
		canonical += "," + strconv.FormatFloat(sigma, 'g', -1, 64)
	}
	return Filter{canonical, size, round(size, func(i, j int) float64 {
		return math.Exp(-float64(i*i+j*j) / (2 * sigma * sigma))
	})}, nil
}

// Sum is the sum of the taps: what the filter does to the brightness of an even area. It is 0 for the filters that
// find edges, whose results have both signs, and 1 for all others.
func (f Filter) Sum() float32 {
	var s float32
	for _, t := range f.Taps {
		s += t
	}
	return s
}

// Weights is the filter as the weights [channels, 1, Size, Size] of a convolution in as many groups.
func (f Filter) Weights(channels int) (*engine.Tensor, error) {
	if channels < 1 {
		return nil, fmt.Errorf("%w: filter %s for %d channels", engine.ErrInvalid, f.Name, channels)
	}
	return engine.FromFloat32(slices.Repeat(f.Taps, channels), channels, 1, f.Size, f.Size)
}

// round normalises weights, which depend on the distances of row and column from the centre alone, and rounds them to
// multiples of 1/one with a sum of 1, by largest remainders: all are rounded down, then those that lost most are
// raised until the sum is there. Cells that mirror each other are raised together, and the centre takes the few units
// that do not suffice for the next lot, so that the kernel stays symmetric.
func round(size int, weight func(i, j int) float64) []float32 {
	type orbit struct {
		cells []int
		lost  float64
	}
	var orbits []orbit
	which := map[[2]int]int{}
	units := make([]int, size*size)
	total, left, half := 0.0, one, size/2
	for cell := range units {
		total += weight(cell/size-half, cell%size-half)
	}
	for cell := range units {
		i, j := abs(cell/size-half), abs(cell%size-half)
		key := [2]int{min(i, j), max(i, j)}
		exact := one * weight(key[0], key[1]) / total
		if _, seen := which[key]; !seen {
			which[key] = len(orbits)
			orbits = append(orbits, orbit{lost: exact - math.Floor(exact)})
		}
		o := &orbits[which[key]]
		o.cells = append(o.cells, cell)
		units[cell] = int(exact)
		left -= units[cell]
	}
	slices.SortStableFunc(orbits, func(a, b orbit) int {
		switch {
		case a.lost > b.lost:
			return -1
		case a.lost < b.lost:
			return 1
		}
		return 0
	})
	for _, o := range orbits {
		if len(o.cells) > left {
			continue
		}
		for _, cell := range o.cells {
			units[cell]++
		}
		left -= len(o.cells)
	}
	units[len(units)/2] += left
	taps := make([]float32, len(units))
	for cell, u := range units {
		taps[cell] = float32(u) / one
	}
	return taps
}

func abs(i int) int { return max(i, -i) }
