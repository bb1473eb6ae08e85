package cpu

import (
	"errors"
	"math"
	"math/cmplx"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/cpu/simd"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/fft"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
)

// What is not finite stays where plain sums have it: a transformed tile would spread it, and overflow where they don't.
func TestFFTNotFinite(t *testing.T) {
	notFinite(t, "fft t=16", "bias:post=relu:mb2ic3ih24oc5oh24kh5ph2", "BWD_D:g2mb1ic4ih23oc6oh23kh5ph2", "deconv:mb1ic2ih19oc3kh4ph1")
}

// Strips of all sizes, tiles of all sizes: what transforms give is within its bounds of what plain sums give.
func TestFFTStrips(t *testing.T) {
	r := rand.New(rand.NewPCG(35, 36))
	for _, isa := range simd.Supported() {
		d := &Device{info: info(), isa: isa}
		for _, text := range []string{
			"mb1ic64ih90iw100oc24kh5ph2kw5pw2",    // strips that end within a row of tiles
			"mb7ic5ih12oc70kh5ph2",                // images in one strip, the last vector of channels smaller
			"bias:g3mb2ic96ih30oc48kh9ph4",        // groups
			"mb1ic2ih5iw900oc3kh3kw11pw5ph1",      // a row of tiles
			"post=relu:mb1ic70ih70oc9kh31ph15",    // larger tiles
			"BWD_D:g2mb2ic40ih33oc34kh7ph1",       // turned weights
			"mb2ic8ih33iw29oc8kh3dh3ph4kw4dw2pw0", // dilation
			"mb0ic3ih33oc8kh5ph2",                 // nothing
		} {
			p := problemtest.Parse(t, text)
			in := operands(t, r, &p)
			role := p.Outputs()[0]
			for _, tile := range fourierTiles(&p) {
				way := "fft " + tile
				got := run(t, d, p, way, in)[role]
				if len(got) == 0 {
					continue
				}
				at := []int64{0, int64(len(got)) - 1}
				for range 300 {
					at = append(at, r.Int64N(at[1]+1))
				}
				picked := make([]float64, len(at))
				for i, e := range at {
					picked[i] = got[e]
				}
				judge(t, &p, way, role, truthOf(t, p, way, in, role, at), picked)
			}
		}
	}
}

// A tile that is asked for is taken or refused, never another.
func TestFFTTiles(t *testing.T) {
	d := open(t)
	p := problemtest.Parse(t, "mb1ic4ih40oc4kh9ph4")
	for tile, size := range map[string]int{"t=8": 0, "t=16": 16, "t=32": 32, "t=64": 64, "t=12": 0, "m=4": 0, "t=": 0} {
		for _, name := range []string{"", "fft"} {
			pl, err := d.Plan(t.Context(), p, driver.PlanOptions{Algorithm: name, Tile: tile})
			if size == 0 {
				if !errors.Is(err, driver.ErrUnsupported) || !strings.Contains(err.Error(), "t=16, t=32, t=64") {
					t.Errorf("%s: %v", tile, err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if i := pl.Info(); i.Algorithm != "fft" || i.Tunables != tile || i.Arithmetic.FFT != size {
				t.Errorf("%s: %+v", tile, i)
			}
		}
	}
	var listed []string
	for _, c := range d.Candidates(p) {
		if c.Algorithm == "fft" {
			listed = append(listed, c.Tile)
		}
	}
	own, _ := fftTile(d.isa, &p, processors())
	if len(listed) != 3 || listed[0] != "" || slices.Contains(listed, fourierText(own)) {
		t.Errorf("candidates are %q", listed)
	}
}

// fourierLine is the transform of a line by steps of radix 4 and 2 in f32, whose twiddles are spoilt by so much.
func fourierLine(x []complex64, spoil float32) []complex64 {
	n := len(x)
	radix := 4
	if n == 1 {
		return x
	} else if n == 2 {
		radix = 2
	}
	y := make([]complex64, n)
	for p := range radix {
		part := make([]complex64, n/radix)
		for i := range part {
			sum := x[i]
			for q := 1; q < radix; q++ { // by powers of −i, or −1, which are exact
				sum += x[i+q*n/radix] * []complex64{1, -1i, -1, 1i}[p*q*4/radix%4]
			}
			if w := complex64(cmplx.Rect(1, -2*math.Pi*float64(i*p)/float64(n))); i*p > 0 {
				sum *= w + complex(spoil, 0)
			}
			part[i] = sum
		}
		for i, v := range fourierLine(part, spoil) {
			y[p+radix*i] = v
		}
	}
	return y
}

// fourierTile transforms a tile of t×t in place.
func fourierTile(d []complex64, t int, spoil float32) {
	line := make([]complex64, t)
	for _, step := range [][2]int{{t, 1}, {1, t}} {
		for i := range t {
			for j := range line {
				line[j] = d[i*step[0]+j*step[1]]
			}
			for j, v := range fourierLine(line, spoil) {
				d[i*step[0]+j*step[1]] = v
			}
		}
	}
}

// byFFT computes a forward convolution in f32 by transforms of whole complex tiles, without the driver's code or the
// oracle's geometry. Tiles of neighbours take each other's places if swaps.
func byFFT(p *problem.Problem, in driver.Operands, t int, spoil float32, swaps bool) []float64 {
	h, w := p.Axes[1], p.Axes[2]
	icg, ocg := p.IC/p.Groups, p.OC/p.Groups
	my, mx := t-h.Extent()+1, t-w.Extent()+1
	dst := make([]float64, p.N*p.OC*h.Out*w.Out)
	for no := range p.N * p.OC {
		n, o := no/p.OC, no%p.OC
		for y0 := 0; y0 < h.Out; y0 += my {
			for x0 := 0; x0 < w.Out; x0 += mx {
				sums := make([]complex64, t*t)
				for c := range icg {
					d, k := make([]complex64, t*t), make([]complex64, t*t)
					for i := range d {
						y, x := y0+i/t-h.PadL, x0+i%t-w.PadL
						if swaps && x0 > 0 {
							x -= mx
						}
						if y >= 0 && x >= 0 && y < h.In && x < w.In {
							d[i] = complex(in[problem.Src].F32[((n*p.IC+o/ocg*icg+c)*h.In+y)*w.In+x], 0)
						}
					}
					for i := range h.Kernel * w.Kernel {
						at := i/w.Kernel*h.Dilation*t + i%w.Kernel*w.Dilation
						k[at] = complex(in[problem.Wei].F32[(o*icg+c)*h.Kernel*w.Kernel+i], 0)
					}
					fourierTile(d, t, spoil)
					fourierTile(k, t, 0)
					for i := range sums {
						sums[i] += d[i] * complex(real(k[i]), -imag(k[i]))
					}
				}
				for i, v := range sums { // the inverse is the transform of conjugates
					sums[i] = complex(real(v), -imag(v))
				}
				fourierTile(sums, t, 0)
				for y := range min(my, h.Out-y0) {
					for x := range min(mx, w.Out-x0) {
						dst[(no*h.Out+y0+y)*w.Out+x0+x] = float64(real(sums[y*t+x])) / float64(t*t)
					}
				}
			}
		}
	}
	return dst
}

// The truth is that of plain sums, the bounds hold for sums by transforms, and wrong ones are found: a twiddle that is off by a
// hundredth, tiles in each other's place.
func TestFFTBound(t *testing.T) {
	d := open(t)
	r := rand.New(rand.NewPCG(71, 72))
	for _, text := range []string{
		"mb2ic3ih19iw25oc4kh5ph2kw5pw2", "g2mb1ic4ih18iw21oc2kh7ph3kw3pw1", "mb1ic2ih16oc1iw40kh3dh2ph2kw5pw3",
	} {
		p := problemtest.Parse(t, text)
		in := operands(t, r, &p)
		for _, o := range in {
			for i := range o.F32 {
				o.F32[i] += r.Float32() - 0.5
			}
		}
		plain := truth(t, p, in, problem.Dst)
		for _, size := range fft.Sizes[:3] {
			if fft.Applies(&p, size) != nil {
				continue
			}
			a := driver.Arithmetic{FFT: size}
			want, err := d.Reference(t.Context(), p, a, in, problem.Dst, nil)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			last := int64(len(want)) - 1
			some, err := d.Reference(t.Context(), p, a, in, problem.Dst, []int64{last, 0})
			if err != nil || some[0] != want[last] || some[1] != want[0] {
				t.Errorf("%s: of a sample %v, %v", text, some, err)
			}
			cut, err := d.Reference(t.Context(), p, driver.Arithmetic{FFT: size, Cut: true}, in, problem.Dst, nil)
			if err != nil {
				t.Fatal(err)
			}
			for i, e := range cut {
				if e.Value != want[i].Value || e.Bound < want[i].Bound || e.Bound > max(10, 160/float64(size))*want[i].Bound {
					t.Fatalf("%s, tiles of %d: %+v where it may be cut, else %+v", text, size, e, want[i])
				}
			}
			beyond := func(spoil float32, swaps bool) (n int) {
				for i, got := range byFFT(&p, in, size, spoil, swaps) {
					if e := want[i]; math.Abs(got-e.Value) > e.Bound {
						n++
					}
				}
				return n
			}
			for i, e := range want {
				if e.Value != plain[i].Value || e.Exact || e.Bound <= 0 || e.Bound > 1e-3*e.Magnitude {
					t.Fatalf("%s, tiles of %d: the truth is %+v, of plain sums %+v", text, size, e, plain[i])
				}
			}
			if n := beyond(0, false); n > 0 {
				t.Errorf("%s, tiles of %d: %d results are beyond their bounds", text, size, n)
			}
			if beyond(0.01, false) == 0 {
				t.Errorf("%s, tiles of %d: wrong twiddles are within the bounds", text, size)
			}
			if p.Axes[2].Out > size && beyond(0, true) == 0 {
				t.Errorf("%s, tiles of %d: results in the wrong place are within the bounds", text, size)
			}
		}
	}
}
