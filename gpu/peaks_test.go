package gpu

import (
	"context"
	"errors"
	"testing"

	"github.com/gonvolve/gonvolve/engine/driver"
)

func TestMeasurePeaks(t *testing.T) {
	for name, change := range map[string]func(*fake){
		"gpu": func(*fake) {},
		"small": func(f *fake) {
			f.info.MemoryBytes, f.info.MaxBufferBytes, f.info.MaxBindingBytes = 16<<20, 1<<20, 1<<20
		},
		"straight": func(f *fake) { f.info.Type, f.info.VectorWidth, f.info.ComputeUnits = driver.CPU, 16, 2 },
	} {
		f := newFake()
		change(f)
		d := f.open(t)
		p, err := d.MeasurePeaks(t.Context())
		if err != nil || p.GFLOPS <= 0 || p.GBPS <= 0 {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
		if used, _ := d.MemoryInUse(); used != 0 {
			t.Errorf("%s: %d bytes are left", name, used)
		}
		for _, c := range f.dispatched {
			if c.Groups[0] < 1 || int64(c.Groups[0]) > f.info.MaxGroupCount[0] {
				t.Errorf("%s: %v groups", name, c.Groups)
			}
		}
	}
}

func TestMeasurePeaksErrors(t *testing.T) {
	lost := errors.New("lost")
	for _, call := range []string{"Alloc", "Submit", "NewQueue", "NewKernel"} {
		f := newFake()
		d := f.open(t)
		f.fail = func(c string) error {
			if c == call {
				return lost
			}
			return nil
		}
		if _, err := d.MeasurePeaks(t.Context()); !errors.Is(err, lost) {
			t.Errorf("%s: %v", call, err)
		}
		f.fail = nil
		if used, _ := d.MemoryInUse(); used != 0 {
			t.Errorf("%s: %d bytes are left", call, used)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newFake().open(t).MeasurePeaks(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
