package tiling

import (
	"context"
	"fmt"
	"slices"

	"github.com/gonvolve/gonvolve/engine"
)

// Box is a part of a tensor, in the order of its dimensions in memory.
type Box struct{ From, Size []int }

// Source is where tiles read from: a whole tensor, wherever it lies. It is read by one goroutine at a time.
type Source interface {
	// ReadBox copies the elements of the box into the tensor to, the first one to its cell at.
	ReadBox(ctx context.Context, b Box, to *engine.Tensor, at []int) error
}

// Sink is where tiles write to. It is written by one goroutine at a time, each element once.
type Sink interface {
	// WriteBox copies from the tensor, whose cell at is the box's first element, to the box.
	WriteBox(ctx context.Context, b Box, from *engine.Tensor, at []int) error
}

// Memory is a tensor in host memory as a source or sink.
type Memory struct{ Tensor *engine.Tensor }

// ReadBox implements Source.
func (m Memory) ReadBox(_ context.Context, b Box, to *engine.Tensor, at []int) error {
	return copyBox(to, at, m.Tensor, b.From, b.Size)
}

// WriteBox implements Sink.
func (m Memory) WriteBox(_ context.Context, b Box, from *engine.Tensor, at []int) error {
	return copyBox(m.Tensor, b.From, from, at, b.Size)
}

// copyBox copies a box of the size from one tensor to another of the same type.
func copyBox(to *engine.Tensor, toAt []int, from *engine.Tensor, fromAt, size []int) error {
	if to.Type() != from.Type() || !holds(to.Shape(), toAt, size) || !holds(from.Shape(), fromAt, size) {
		return fmt.Errorf("%w: a box of %v at %v of %v %v to %v of %v %v", engine.ErrInvalid, size, fromAt, from.Type(), from.Shape(),
			toAt, to.Type(), to.Shape())
	}
	if slices.Contains(size, 0) {
		return nil
	}
	elem := to.Type().Size()
	dst, src := to.Bytes(), from.Bytes()
	// Dimensions from the last one that is not copied whole on are one run of memory.
	run, d := elem, len(size)
	for d > 0 {
		d--
		run *= size[d]
		if size[d] != to.Shape()[d] || size[d] != from.Shape()[d] {
			break
		}
	}
	toStep, fromStep := strides(to.Shape(), elem), strides(from.Shape(), elem)
	dst, src = dst[offset(toStep, toAt):], src[offset(fromStep, fromAt):]
	at := make([]int, d)
	for {
		i, j := offset(toStep, at), offset(fromStep, at)
		copy(dst[i:i+run], src[j:j+run])
		k := d - 1
		for ; k >= 0; k-- {
			if at[k]++; at[k] < size[k] {
				break
			}
			at[k] = 0
		}
		if k < 0 {
			return nil
		}
	}
}

// holds says whether a box lies inside of a shape.
func holds(shape, at, size []int) bool {
	if len(at) != len(shape) || len(size) != len(shape) {
		return false
	}
	for i, n := range shape {
		if at[i] < 0 || size[i] < 0 || at[i] > n-size[i] {
			return false
		}
	}
	return true
}

// strides are the distances of a dimension's neighbours, in units of the last dimension's unit.
func strides(shape []int, unit int) []int {
	s := make([]int, len(shape))
	for i := len(shape) - 1; i >= 0; i-- {
		s[i] = unit
		unit *= shape[i]
	}
	return s
}

// offset is where a cell of the first dimensions is.
func offset(strides, at []int) int {
	n := 0
	for i, x := range at {
		n += strides[i] * x
	}
	return n
}
