package gpu

import (
	"context"
	"fmt"

	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/rounding"
	"github.com/gonvolve/gonvolve/shaders"
)

// igemm_half: igemm_local whose products and short sums are f16, two in an instruction on devices that have packed arithmetic;
// f32 adds the short sums up (kernel conv_tiled, variant packed). package rounding bounds what that costs. Where a short sum
// overflows, its work-group computes once more by f32 alone, as it does where a tensor has infinities or NaN. For tensors of f16,
// on devices that round to nearest and keep denormals (self-test). The variant rounded is igemm_half_emulated, for tests.

// mostShort is the most products of a short sum, of what package rounding has a bound for, and usualShort what is taken unasked.
const (
	mostShort  = min(16, rounding.MostShort)
	usualShort = 8
)

// packedGain is how many times as fast as f32 arithmetic a device's f16 arithmetic has to be to be worth its errors.
const packedGain = 1.7

func halfTerms(emulated bool) string {
	if emulated {
		return shaders.Rounded
	}
	return shaders.Packed
}

// canHalfSums is asked about the problem as it is given.
func canHalfSums(d *Device, p *problem.Problem, emulated bool) error {
	switch {
	case p.Type.Src != problem.F16 || !d.proof.Halves:
		return unsupported("f16 arithmetic is for tensors of f16, on devices with 16-bit storage")
	case p.Dir == problem.BackwardWeights || p.Dir == problem.BackwardBias:
		return unsupported("sums over images and pixels are too long for f16 arithmetic")
	case p.PadMode != problem.Zeros:
		return unsupported("padding by copies")
	case emulated && !d.emulatedHalves:
		return unsupported("the emulation of f16 arithmetic is for tests")
	case !emulated && !d.proof.HalfArithmetic:
		return unsupported("the device has no f16 arithmetic that rounds to nearest and keeps denormals")
	}
	core := p.Core()
	if err := canTiled(d, &core); err != nil {
		return err
	}
	c := convOf(&core)
	if p.LayoutOf(c.src) != problem.NCHW || p.LayoutOf(c.dst) != problem.NCHW {
		return unsupported("channels behind their cells")
	}
	_, err := newHalfGemm(d, &core, "", emulated)
	return err
}

// worthHalfSums says whether the device's f16 arithmetic is fast enough. Gradients have small numbers, which f16 arithmetic loses.
func worthHalfSums(d *Device, p *problem.Problem) bool {
	return d.proof.PackedGain >= packedGain && p.Dir == problem.Forward && worthTiled(d, p)
}

// newHalfGemm lays a convolution out, with the tile of the text or the model's choice.
func newHalfGemm(d *Device, p *problem.Problem, tile string, emulated bool) (*tiledGemm, error) {
	base := tiledGemmOf(p)
	base.half, base.terms, base.short = true, halfTerms(emulated), usualShort
	return base.tiled(d, tile)
}

func buildHalfSums(emulated bool) func(context.Context, *plan) error {
	return func(ctx context.Context, pl *plan) error {
		g, err := newHalfGemm(pl.dev, &pl.core, pl.tile, emulated)
		if err != nil {
			return err
		}
		dst := pl.outputOf(g.conv.dst, g.conv.src)
		if dst.typ != problem.F16 {
			return unsupported("f16 arithmetic on tensors that have to be converted")
		}
		if err := pl.tiledGemm(ctx, &pl.core, g, dst); err != nil {
			return err
		}
		pl.info.Tile += fmt.Sprintf(", f16 sums of %d", g.short)
		pl.info.Arithmetic.Half = g.short
		return nil
	}
}

// halfTiles lists what igemm_local's model makes of f16 arithmetic, and other lengths of short sums for the first choice.
func halfTiles(emulated bool) func(*Device, *problem.Problem) []string {
	return func(d *Device, p *problem.Problem) []string {
		own, err := newHalfGemm(d, p, "", emulated)
		if err != nil {
			return nil
		}
		var texts []string
		for _, short := range []int{mostShort, usualShort / 2} {
			g := *own
			if g.short = short; g.tilable(d) == nil && g.fits(d) == nil {
				texts = append(texts, g.text())
			}
		}
		if d.class() == gpuClass {
			texts = append(texts, own.others(d)...)
		}
		return texts[:min(len(texts), maxTiles)]
	}
}
