//go:build cgo && !noopencl

package opencl

import (
	"context"
	"testing"

	"github.com/gonvolve/gonvolve/gpu/hal"
)

// BenchmarkSubmitWait measures what a submission costs beside its work: one dispatch of one work-group.
func BenchmarkSubmitWait(b *testing.B) {
	_, err := API().Adapters()
	need(b, err)
	d := must(API().Open(0, hal.Options{}))(b)
	q := must(d.NewQueue(true))(b)
	k := must(d.NewKernel(context.Background(), scale, []int32{1, 1, 1, 1}))(b)
	m := alloc(b, d, 4096, hal.DeviceMemory)
	v := must(m.View(0, 4096))(b)
	cmd := hal.Command{Op: hal.Dispatch, Kernel: k, Groups: [3]int{1, 1, 1}, Views: []hal.View{v, v}, Params: params(0, 1)}
	many := make([]hal.Command, 100)
	for i := range many {
		many[i] = cmd
	}
	cancellable, cancel := context.WithCancel(context.Background())
	defer cancel()
	run := func(name string, ctx context.Context, cmds []hal.Command) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f := must(q.Submit(cmds))(b)
				if err := f.Wait(ctx); err != nil {
					b.Fatal(err)
				}
				f.Free()
			}
		})
	}
	run("background", context.Background(), many[:1])
	run("cancellable", cancellable, many[:1])
	run("hundred", context.Background(), many)
	v.Free()
	m.Free()
	k.Free()
	q.Free()
	if err := d.Close(); err != nil {
		b.Fatal(err)
	}
}
