// Package verify proves results: it makes inputs, asks the oracle for the truth in float64, and judges what a device
// computed, element by element. In exact mode small integers make every float32 sum exact, so any summation order must
// give the same bits; in bounded mode real inputs are judged by an error bound that follows from the arithmetic.
package verify

import (
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/gonvolve/gonvolve/engine/driver"
)

// Fill says what the inputs are.
type Fill string

// The fills.
const (
	Int     Fill = "int"     // whole numbers from −3 to 3: exact mode
	Uniform Fill = "uniform" // reals from −1 to 1: bounded mode
)

// ParseFill reads a fill's name.
func ParseFill(s string) (Fill, error) {
	if f := Fill(s); f == Int || f == Uniform {
		return f, nil
	}
	return "", fmt.Errorf("%w: fill %q; use int (exact mode) or uniform (bounded mode)", driver.ErrInvalid, s)
}

const golden = 0x9E3779B97F4A7C15

// mix is the finaliser of SplitMix64.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// chunk is how many elements a core takes at once.
const chunk = 1 << 16

// chunks calls f for parts of 0 … n−1 on all cores.
func chunks(n int, f func(from, to int)) {
	if n <= chunk {
		f(0, n)
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), (n+chunk-1)/chunk) {
		wg.Go(func() {
			for {
				from := int(next.Add(chunk)) - chunk
				if from >= n {
					return
				}
				f(from, min(from+chunk, n))
			}
		})
	}
	wg.Wait()
}

// Values fills dst: element i depends on seed and i alone.
func (f Fill) Values(dst []float32, seed uint64) { f.ValuesFrom(dst, seed, 0) }

// ValuesFrom fills dst with elements first, first+1 … of what Values makes: a part of it.
func (f Fill) ValuesFrom(dst []float32, seed uint64, first int64) {
	base := seed*0xD1342543DE82EF95 + uint64(first)*golden
	chunks(len(dst), func(from, to int) {
		for i := from; i < to; i++ {
			z := mix(base + uint64(i+1)*golden)
			if f == Int {
				dst[i] = float32(int(z>>33%7) - 3)
			} else {
				dst[i] = float32(int32(z>>40)-1<<23) / (1 << 23)
			}
		}
	})
}

// Hash is an order-independent checksum of a tensor of whole numbers: Σ int64(t_i)·(mix((i+1)·G)|1) mod 2^64. ok is
// false if some element is not a whole number.
func Hash(t []float32) (h uint64, ok bool) {
	var sum atomic.Uint64
	var broken atomic.Bool
	chunks(len(t), func(from, to int) {
		var h uint64
		for i := from; i < to; i++ {
			v := t[i]
			n := int64(v)
			if float32(n) != v {
				broken.Store(true)
			}
			h += uint64(n) * (mix(uint64(i+1)*golden) | 1)
		}
		sum.Add(h)
	})
	return sum.Load(), !broken.Load()
}

// Sums are checksums of a tensor of any numbers: dot = Σ t_i·w_i with weights between −1 and 1,
// w_i = 2·(mix((i+1)·G)>>40)/2^24 − 1, and abs = Σ|t_i|. They are summed in row-major order.
func Sums(n int, at func(int) float64) (dot, abs float64) {
	for i := range n {
		v := at(i)
		dot += v * (2*float64(mix(uint64(i+1)*golden)>>40)/(1<<24) - 1)
		abs += math.Abs(v)
	}
	return dot, abs
}
