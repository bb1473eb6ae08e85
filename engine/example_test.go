package engine_test

import (
	"context"
	"fmt"
	"log"

	_ "github.com/gonvolve/gonvolve/cpu" // and gpu/vulkan, gpu/opencl, for what a program should run on
	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// Offload one convolution: edges of a 4×4 picture, on the best device of the machine.
func Example() {
	ctx := context.Background()
	dev, err := engine.Open(ctx, "auto")
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	src, _ := engine.FromFloat32([]float32{0, 0, 9, 9, 0, 0, 9, 9, 0, 0, 9, 9, 0, 0, 9, 9}, 1, 1, 4, 4)
	wei, _ := engine.FromFloat32([]float32{-1, 0, 1, -2, 0, 2, -1, 0, 1}, 1, 1, 3, 3)
	dst, err := dev.Conv(ctx, src, wei, nil, problem.Params{PadL: []int{1}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(dst.Shape(), dst.Float32s()[4:8])
	// Output: [1 1 4 4] [0 36 36 -36]
}

// A plan keeps compiled kernels and packed weights for many sources, and tensors stay on the device until they are
// downloaded.
func ExampleDevice_Plan() {
	ctx := context.Background()
	dev, err := engine.Open(ctx, "cpu")
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	p, err := problem.Parse("pool:max:mb1ic1ih4kh2sh2")
	if err != nil {
		log.Fatal(err)
	}
	plan, err := dev.Plan(ctx, p, driver.PlanOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer plan.Close()
	src, _ := engine.FromFloat32([]float32{1, 2, 3, 4, 5, 6, 7, 8, 8, 7, 6, 5, 4, 3, 2, 1}, p.Shape(problem.Src)...)
	out, err := plan.RunHost(ctx, engine.Operands{problem.Src: src})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(plan.Info().Algorithm, out[problem.Dst].Float32s())
	// Output: direct [6 8 8 6]
}
