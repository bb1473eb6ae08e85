package gpu

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/hal"
)

func TestSelfTestOfAnHonestDevice(t *testing.T) {
	for _, unified := range []bool{true, false} {
		f := newFake()
		f.info.Unified = unified
		d := f.open(t)
		if d.proof.LoopLimit != math.MaxInt32 || d.proof.IndexBytes != f.info.MaxBufferBytes {
			t.Errorf("proof %+v", d.proof)
		}
		names := map[string]bool{}
		for _, c := range d.SelfTest() {
			names[c.Name] = true
			if !c.Passed {
				t.Errorf("%+v", c)
			}
		}
		for _, want := range []string{"copy", "barrier", "loop count", "fma", "denormals", "division", "indices", "timestamps"} {
			if !names[want] {
				t.Errorf("%s is not among the checks %v", want, names)
			}
		}
		if len(d.Info().Limits) != 0 {
			t.Errorf("limits %v", d.Info().Limits)
		}
	}
}

// The limit is never above what comes out right, not far below it, and told.
func TestSelfTestFindsTheLoopLimit(t *testing.T) {
	for _, limit := range []int64{2100, 5000, 65535, 65536, 100_000, 1 << 20, loopProbe - 2} {
		f := newFake()
		f.loopLimit = limit
		d := f.open(t)
		if got := int64(d.proof.LoopLimit); got > limit || got < limit/4 {
			t.Errorf("limit %d: taken to be %d", limit, got)
		}
		if facts := d.Info().Limits; len(facts) != 1 || facts[0].Name != "self-test: loop count" || !strings.Contains(facts[0].Value, "split") {
			t.Errorf("limit %d: told as %v", limit, facts)
		}
	}
}

func TestSelfTestRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*fake){
		"copy":    func(f *fake) { f.wrong = "copy" },
		"barrier": func(f *fake) { f.wrong = "barrier_reduce" },
		"loops":   func(f *fake) { f.loopLimit = 500 },
	} {
		f := newFake()
		spoil(f)
		d, err := NewDriver(f).Open(t.Context(), 0, driver.Options{NoCache: true})
		if d != nil || !errors.Is(err, driver.ErrUnsupported) || !errors.Is(err, errSelfTest) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: opened %v with %v", name, d, err)
		}
		f.finished(t)
	}
}

// Queues for transfers that copy right are used; others, and those that fail, are not, and that is told.
func TestSelfTestOfTransferQueues(t *testing.T) {
	for name, spoil := range map[string]func(*fake){
		"right":  func(*fake) {},
		"stray":  func(f *fake) { f.strays = true },
		"balk":   func(f *fake) { f.balks = errors.New("no submission") },
		"memory": func(f *fake) { f.balks = driver.ErrOutOfMemory },
		"lost":   func(f *fake) { f.balks = driver.ErrDeviceLost },
	} {
		f := newFake()
		f.info.Unified, f.info.TransferQueues = false, 2
		spoil(f)
		d := f.open(t)
		right := name == "right"
		at := slices.IndexFunc(d.SelfTest(), func(c driver.Check) bool { return c.Name == "transfer queues" })
		if at < 0 || d.SelfTest()[at].Passed != right || d.proof.Transfers != right {
			t.Fatalf("%s: checks %+v", name, d.SelfTest())
		}
		if f.alone == right || (d.limits.TransferQueues > 0) != right || (len(d.Info().Limits) == 0) != right {
			t.Errorf("%s: told as %v; in use %d", name, d.Info().Limits, d.limits.TransferQueues)
		}
		// What follows is right either way, also where a stream goes from transfers to a kernel.
		s, err := d.newStream(false)
		if err != nil {
			t.Fatal(err)
		}
		c := tester{dev: d, ctx: t.Context()}
		if at, err := c.transfer(s, s, s, 100, 1); at >= 0 || err != nil {
			t.Errorf("%s: then word %d is wrong (%v)", name, at, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// That queues for transfers failed for lack of memory is not held against them when the device is opened again; that they copied
// wrong is.
func TestSelfTestOfTransferQueuesAgain(t *testing.T) {
	for name, strays := range map[string]bool{"out of memory": false, "strayed": true} {
		t.Setenv("GONVOLVE_CACHE", t.TempDir())
		for i, spoiled := range []bool{true, false} {
			f := newFake()
			f.info.Unified, f.info.TransferQueues = false, 2
			if f.strays = spoiled && strays; spoiled && !strays {
				f.balks = driver.ErrOutOfMemory
			}
			d, err := NewDriver(f).Open(t.Context(), 0, driver.Options{Staged: true})
			if err != nil {
				t.Fatal(err)
			}
			if used := d.(*Device).limits.TransferQueues > 0; used != (i == 1 && !strays) {
				t.Errorf("%s, opened %d times: in use: %t", name, i+1, used)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			f.finished(t)
		}
	}
}

// A tensor and what kernels bind of it are whole words, however odd the device's limits.
func TestLargestTensor(t *testing.T) {
	f := newFake()
	f.info.MaxBindingBytes, f.info.MaxBufferBytes = 1<<20+2, 1<<22+3
	d := f.open(t)
	if got := d.Info().MaxTensorBytes; got != 1<<22 || d.binding != 1<<20 {
		t.Errorf("largest tensor %d, of which kernels bind %d", got, d.binding)
	}
}

// The proof is kept for the device and its driver, and not for another.
func TestSelfTestIsCached(t *testing.T) {
	t.Setenv("GONVOLVE_CACHE", t.TempDir())
	open := func(id string) (compiled int, limit int) {
		f := newFake()
		f.info.ID, f.loopLimit = id, 70_000
		d, err := NewDriver(f).Open(t.Context(), 0, driver.Options{})
		if err != nil {
			t.Fatal(err)
		}
		limit = d.(*Device).proof.LoopLimit
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		f.finished(t)
		return len(f.compiled), limit
	}
	first, limit := open("driver 1")
	if again, same := open("driver 1"); first == 0 || again != 0 || same != limit {
		t.Errorf("%d kernels for limit %d, then %d for %d", first, limit, again, same)
	}
	if other, _ := open("driver 2"); other != first {
		t.Errorf("another driver's version was tested with %d kernels, not %d", other, first)
	}
}

// A device whose own conversions lose subnormals gets integer operations in their place; one that computes wrong even by
// those has no halves in memory.
func TestSelfTestOfHalves(t *testing.T) {
	for flushes := range nativeLoads | nativeStores + 1 {
		f := newFake()
		f.info.Storage16, f.flushes = true, flushes
		if d := f.open(t); !d.proof.Halves || d.proof.NativeHalf != (nativeLoads|nativeStores)&^flushes {
			t.Errorf("flushes %d: %+v", flushes, d.proof)
		}
	}
	for _, wrong := range []string{"half_load.half", "half_store.half"} {
		f := newFake()
		f.info.Storage16, f.wrong = true, wrong
		d := f.open(t)
		if facts := d.Info().Limits; d.proof.Halves || len(facts) != 1 || facts[0].Name != "self-test: half storage" {
			t.Errorf("%s wrong: %+v, told as %v", wrong, d.proof, facts)
		}
	}
	if d := newFake().open(t); d.proof.Halves {
		t.Error("halves on a device without 16-bit storage")
	}
}

// Dot products are used where the kernel that tries them comes out right, which the fake does not compute.
func TestSelfTestOfDotProducts(t *testing.T) {
	f := newFake()
	f.info.Dot = true
	if facts := f.open(t).Info().Limits; len(facts) != 1 || facts[0].Name != "self-test: dot products" {
		t.Errorf("told as %v", facts)
	}
}

// Matrices are used where the convolution of the self-test comes out right, which the fake does not compute.
func TestSelfTestOfMatrices(t *testing.T) {
	f := newFake()
	f.info.Storage16, f.info.SubgroupLanes, f.info.Matrices = true, 32, []hal.Matrix{{M: 8, N: 8, K: 16}, {M: 16, N: 16, K: 16}}
	d := f.open(t)
	if facts := d.Info().Limits; d.proof.Matrix != (hal.Matrix{}) || len(facts) != 1 || facts[0].Name != "self-test: cooperative matrices" {
		t.Errorf("%+v, told as %v", d.proof, facts)
	}
	tried := f.compiled["conv_coopmat.matrix"]
	if len(tried) != 2 || tried[0][8] != 16 || tried[1][8] != 8 {
		t.Errorf("tried %v: both shapes, 16 by 16 by 16 first", tried)
	}
}
