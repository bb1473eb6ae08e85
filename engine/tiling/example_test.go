package tiling_test

import (
	"context"
	"fmt"
	"log"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/tiling"
)

func ExampleCompute() {
	ctx := context.Background()
	dev, err := engine.Open(ctx, "cpu")
	if err != nil {
		log.Fatal(err)
	}
	defer dev.Close()
	p, err := problem.Parse("pool:max:mb1ic1ih512kh2sh2")
	if err != nil {
		log.Fatal(err)
	}
	src, err := engine.NewTensor(problem.F32, p.Shape(problem.Src)...)
	if err != nil {
		log.Fatal(err)
	}
	tiles := 0
	out, err := tiling.Compute(ctx, dev, p, engine.Operands{problem.Src: src}, tiling.Options{
		MemLimit: 256 << 10,
		Progress: func(done, total int, bytes int64) { tiles = done },
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(out[problem.Dst].Shape(), "in tiles:", tiles > 1)
	// Output: [1 1 256 256] in tiles: true
}
