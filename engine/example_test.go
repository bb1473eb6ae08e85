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
	// Output: rows [6 8 8 6]
}

// Backward passes are problems like any other: here the gradient of a convolution's source, of which the text says the
// direction. Compute takes tensors by role.
func ExampleDevice_Compute() {
	ctx := context.Background()
	dev, err := engine.Open(ctx, "auto")
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	p, err := problem.Parse("conv:BWD_D:mb1ic1ih3oc1oh2kh2")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(p.Inputs(), p.Constants(), "to", p.Outputs())
	gradient, _ := engine.FromFloat32([]float32{1, 0, 0, 1}, p.Shape(problem.DiffDst)...)
	wei, _ := engine.FromFloat32([]float32{1, 2, 3, 4}, p.Shape(problem.Wei)...)
	out, err := dev.Compute(ctx, p, engine.Operands{problem.DiffDst: gradient, problem.Wei: wei})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(out[problem.DiffSrc].Float32s())
	// Output:
	// [diff_dst] [wei] to [diff_src]
	// [1 2 0 3 5 2 0 3 4]
}

// Max pooling tells where it found the values, and unpooling puts them back there.
func ExampleDevice_Compute_indices() {
	ctx := context.Background()
	dev, err := engine.Open(ctx, "auto")
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	src, _ := engine.FromFloat32([]float32{1, 9, 2, 3, 4, 5, 8, 6}, 1, 1, 2, 4)
	pool, err := problem.NewPool(problem.Max, src.Shape(), []int{2}, problem.Params{Indices: problem.Plane})
	if err != nil {
		log.Fatal(err)
	}
	pooled, err := dev.Compute(ctx, pool, engine.Operands{problem.Src: src})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(pooled[problem.Dst].Float32s(), "at", pooled[problem.Ind].Int32s())

	unpool, err := problem.NewUnpool(pooled[problem.Dst].Shape(), []int{2}, problem.Params{Indices: problem.Plane})
	if err != nil {
		log.Fatal(err)
	}
	back, err := dev.Compute(ctx, unpool, engine.Operands{problem.Src: pooled[problem.Dst], problem.Ind: pooled[problem.Ind]})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(back[problem.Dst].Float32s())
	// Output:
	// [9 8] at [1 6]
	// [0 9 0 0 0 0 8 0]
}

// A residual block's end in one pass: convolution, folded batch norm, shortcut, ReLU.
func ExampleDevice_Compute_postOps() {
	ctx := context.Background()
	dev, err := engine.Open(ctx, "auto")
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	src, _ := engine.FromFloat32([]float32{1, 2, 3, 4}, 1, 1, 2, 2)
	wei, _ := engine.FromFloat32([]float32{1, -1}, 2, 1, 1, 1)
	p, err := problem.NewConv(src.Shape(), wei.Shape(), problem.Params{
		Post: []problem.PostOp{{Kind: problem.Scale}, {Kind: problem.Add}, {Kind: problem.ReLU}},
	})
	if err != nil {
		log.Fatal(err)
	}
	norm, _ := engine.FromFloat32([]float32{10, 10, 1, 5}, p.Shape(problem.PostParams)...) // a per channel, then b
	shortcut, _ := engine.FromFloat32([]float32{0, 0, 0, -50, 5, 10, 20, 50}, p.Shape(problem.Residual)...)
	out, err := dev.Compute(ctx, p, engine.Operands{
		problem.Src: src, problem.Wei: wei, problem.PostParams: norm, problem.Residual: shortcut,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(p.String())
	fmt.Println(out[problem.Dst].Float32s())
	// Output:
	// conv:post=scale+add+relu:mb1ic1oc2ih2oh2kh1
	// [11 21 31 0 0 0 0 15]
}

// A quantized convolution sums whole numbers exactly and scales the sums to the result's type. Its zero points and
// multipliers are rows of one tensor.
func ExampleDevice_Compute_integers() {
	ctx := context.Background()
	dev, err := engine.Open(ctx, "auto")
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	p, err := problem.Parse("conv:u8-s8-u8:mb1ic1iw4oc1ow3kw2")
	if err != nil {
		log.Fatal(err)
	}
	src, _ := engine.NewTensor(problem.U8, p.Shape(problem.Src)...)
	copy(src.Bytes(), []byte{128, 130, 120, 255})
	wei, _ := engine.NewTensor(problem.S8, p.Shape(problem.Wei)...)
	if err := wei.Narrow([]float32{2, 3}); err != nil {
		log.Fatal(err)
	}
	quant, _ := engine.FromFloat32([]float32{
		128, // zero point of src
		0,   // zero points of wei, per output channel
		0.5, // multipliers, per output channel
		10,  // zero point of dst
	}, p.Shape(problem.Quant)...)
	out, err := dev.Compute(ctx, p, engine.Operands{problem.Src: src, problem.Wei: wei, problem.Quant: quant})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(out[problem.Dst].Type(), out[problem.Dst].Bytes())
	// Output: u8 [13 0 192]
}
