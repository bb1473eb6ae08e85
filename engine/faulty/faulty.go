// Package faulty makes drivers fail: out of memory, devices that are lost, errors, delays, calls that hang, results that
// are wrong. [Faults.Driver] puts it around any driver (gpu/hal/faultyhal does so one level lower, around a GPU's API):
//
//	f := faulty.New(faulty.Options{Seed: 7, OutOfMemory: 0.05, Lost: 0.01})
//	dev, err := engine.Open(ctx, "vulkan:0", engine.WithDriver(f.Driver))
//
// What the n-th call of a method does depends on the seed, the method and n alone. Everything that was made and not freed
// is counted, so that leaks show.
package faulty

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gonvolve/gonvolve/engine/driver"
)

// ErrFault is what calls fail with that have no other reason.
var ErrFault = errors.New("injected fault")

// Options say how often calls fail. Each rate is the chance of one call, from 0 to 1.
type Options struct {
	Seed        uint64
	OutOfMemory float64 // of calls that take memory
	Lost        float64 // the device is lost, and all its calls fail from then on
	Broken      float64 // ErrFault
	Delay       float64 // up to MaxDelay
	MaxDelay    time.Duration
	Hang        float64 // until the call's context ends, or Release
	Corrupt     float64 // of reads, and of runs whose results the host reads in place: a part of what is read is wrong
	Unshared    float64 // of memory that the host could share: it does not

	Methods []string // that may fail, such as "Run"; nil is all
	Most    int      // faults altogether; 0 is any number
	After   uint64   // calls of each method that go well first
}

// String is the options as one word, for reports.
func (o Options) String() string {
	s := fmt.Sprintf("seed=%d", o.Seed)
	for _, r := range []struct {
		name string
		rate float64
	}{
		{"oom", o.OutOfMemory}, {"lost", o.Lost}, {"broken", o.Broken}, {"delay", o.Delay}, {"hang", o.Hang}, {"corrupt", o.Corrupt},
		{"unshared", o.Unshared},
	} {
		if r.rate > 0 {
			s += fmt.Sprintf(",%s=%.3g", r.name, r.rate)
		}
	}
	return s
}

// Kind is what a call may do, beside to fail as every call can.
type Kind int

// The kinds of calls.
const (
	Plain Kind = iota
	Takes      // takes memory, so it may run out of it
)

// Faults decide over the calls of any number of devices. They are safe for concurrent use.
type Faults struct {
	o Options

	mu       sync.Mutex
	calls    map[string]uint64 // so far, by method
	live     map[string]int    // made and not freed, by what it is
	injected map[string]int    // by kind of fault
	left     int               // faults, of Most
	release  chan struct{}     // closed by Release
}

// New makes faults.
func New(o Options) *Faults {
	if o.MaxDelay == 0 {
		o.MaxDelay = 2 * time.Millisecond
	}
	return &Faults{
		o: o, left: o.Most, calls: map[string]uint64{}, live: map[string]int{}, injected: map[string]int{},
		release: make(chan struct{}),
	}
}

// Release ends all calls that hang, and hangs no more: those calls then do what they were called for.
func (f *Faults) Release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.release:
	default:
		close(f.release)
	}
}

// Injected counts the faults so far, by kind.
func (f *Faults) Injected() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.injected)
}

// Leaks is nil, or says what was made and not freed.
func (f *Faults) Leaks() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var left []string
	for what, n := range f.live {
		if n != 0 {
			left = append(left, fmt.Sprintf("%d %s", n, what))
		}
	}
	if left == nil {
		return nil
	}
	return fmt.Errorf("not freed: %s", strings.Join(left, ", "))
}

// Count adds to what is live.
func (f *Faults) Count(what string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.live[what] += n
}

// count notes a fault, if there may be one more.
func (f *Faults) count(kind string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.o.Most > 0 {
		if f.left == 0 {
			return false
		}
		f.left--
	}
	f.injected[kind]++
	return true
}

// spared says that a method never fails.
func (f *Faults) spared(method string) bool {
	return f.o.Methods != nil && !slices.Contains(f.o.Methods, method)
}

// chance is the number from 0 to 1 that decides over the next call of a method.
func (f *Faults) chance(method string) float64 {
	f.mu.Lock()
	n := f.calls[method]
	f.calls[method]++
	f.mu.Unlock()
	if n < f.o.After {
		return 1
	}
	h := fnv.New64a()
	h.Write([]byte(method))
	z := mix(f.o.Seed ^ mix(h.Sum64()+n*0x9E3779B97F4A7C15))
	return float64(z>>11) / (1 << 53)
}

// mix is the finaliser of SplitMix64.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// Device is the state that the faults of one opened device have in common.
type Device struct {
	f    *Faults
	lost atomic.Bool
}

// Device starts the faults of a device.
func (f *Faults) Device() *Device { return &Device{f: f} }

// Call decides over a call of a method: nil lets it go on, perhaps late.
func (d *Device) Call(ctx context.Context, method string, kind Kind) error {
	f, o := d.f, &d.f.o
	if d.lost.Load() {
		return fmt.Errorf("%s: %w (injected)", method, driver.ErrDeviceLost)
	}
	if f.spared(method) {
		return nil
	}
	x := f.chance(method)
	turn := func(kind string, rate float64) bool { // takes its share of what is left of the range
		was := x
		x -= rate
		return was >= 0 && x < 0 && f.count(kind)
	}
	switch {
	case kind == Takes && turn("out of memory", o.OutOfMemory):
		return fmt.Errorf("%s: %w (injected)", method, driver.ErrOutOfMemory)
	case turn("lost", o.Lost):
		d.lost.Store(true)
		return fmt.Errorf("%s: %w (injected)", method, driver.ErrDeviceLost)
	case turn("broken", o.Broken):
		return fmt.Errorf("%s: %w", method, ErrFault)
	case turn("delayed", o.Delay):
		time.Sleep(time.Duration(float64(o.MaxDelay) * f.chance("delay")))
	case turn("hung", o.Hang):
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.release:
		}
	}
	return nil
}

// Corrupt changes a quarter of the words that a call of a method read, if it is its turn.
func (d *Device) Corrupt(method string, data []byte) {
	if f := d.f; f.o.Corrupt > 0 && !f.spared(method) && f.chance("corrupt "+method) < f.o.Corrupt && f.count("corrupted") {
		for i := 3; i < len(data); i += 16 {
			data[i] ^= 0x42 // of a float32 the sign stays and the exponent does not
		}
	}
}

// Unshared says whether memory that a method takes has no part in the host's.
func (d *Device) Unshared(method string) bool {
	f := d.f
	return f.o.Unshared > 0 && !f.spared(method) && f.chance("unshared "+method) < f.o.Unshared && f.count("unshared")
}
