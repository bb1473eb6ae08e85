package gpu

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/gpu/hal"
)

// The self-test of cooperative matrices: a small convolution by igemm_coopmat, whose numbers are whole.

// matrices finds a shape of matrices that the device multiplies right, those of 16 by 16 by 16 first.
func (t *tester) matrices() error {
	shapes := slices.Clone(t.dev.limits.Matrices)
	if len(shapes) == 0 || !t.proof.Halves {
		return nil
	}
	usual := hal.Matrix{M: 16, N: 16, K: 16}
	slices.SortStableFunc(shapes, func(a, b hal.Matrix) int { return flag(a != usual) - flag(b != usual) })
	why := "no shape suits the kernel"
	for _, m := range shapes {
		switch wrong, err := t.product(m); {
		case errors.Is(err, driver.ErrDeviceLost) || t.ctx.Err() != nil:
			return err
		case err != nil:
			why = err.Error()
		case wrong != "":
			why = wrong
		default:
			t.proof.Matrix = m
			t.report("cooperative matrices", true, "products of %d×%d×%d come out right", m.M, m.N, m.K)
			return nil
		}
	}
	t.report("cooperative matrices", false, "%s: they are not used", why)
	return nil
}

// product runs a convolution by matrices of a shape and says what is wrong.
func (t *tester) product(m hal.Matrix) (wrong string, err error) {
	t.dev.proof = t.proof
	t.dev.proof.Matrix = m
	defer func() { t.dev.proof = proof{} }()
	return t.dev.matrixProduct(t.ctx, t.stream, "igemm_coopmat")
}

// small is a whole number from -2 to 2 that looks random.
func small(i int) int { return int(uint32(i)*2654435761>>20%5) - 2 }

// halfOf is a small whole number as a half.
func halfOf(v int) uint16 {
	return map[int]uint16{-2: 0xc000, -1: 0xbc00, 0: 0, 1: 0x3c00, 2: 0x4000}[v]
}

// matrixProblem has edges, more channels than a tile's depth and no multiple of it, and every result below 2048.
const matrixProblem = "conv:f16:mb1ic40ih7iw11oc72oh7ow11kh3kw3ph1pw1"

func halfWords(n int, of func(i int) int) []byte {
	var b []byte
	for i := range n {
		b = binary.LittleEndian.AppendUint16(b, halfOf(of(i)))
	}
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// matrixProduct runs matrixProblem by an algorithm and says what comes out wrong.
func (d *Device) matrixProduct(ctx context.Context, s *stream, algorithm string) (wrong string, err error) {
	p, err := problem.Parse(matrixProblem)
	if err != nil {
		return "", err
	}
	pl, err := d.Plan(ctx, p, driver.PlanOptions{Algorithm: algorithm})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, pl.Close()) }()
	weight := func(i int) int { return small(i + 7919) }
	var given driver.Buffers
	contents := map[problem.Role][]byte{
		problem.Src: halfWords(int(problem.Elems(p.Shape(problem.Src))), small),
		problem.Wei: halfWords(int(problem.Elems(p.Shape(problem.Wei))), weight),
		problem.Dst: make([]byte, bufferBytes(&p, problem.Dst)),
	}
	for r, data := range contents {
		b, err := d.newBuffer(int64(len(data)))
		if err != nil {
			return "", err
		}
		defer b.Free()
		if err := s.Write(ctx, b, 0, data); err != nil {
			return "", err
		}
		given[r] = b
	}
	w, _, err := pl.Pack(ctx, s, given)
	if err != nil {
		return "", err
	}
	defer w.Free()
	e, err := pl.Run(ctx, s, driver.Args{Buffers: given, Weights: w})
	if err == nil {
		err = e.Wait(ctx)
	}
	if err == nil {
		err = s.Read(ctx, contents[problem.Dst], given[problem.Dst], 0)
	}
	if err != nil {
		return "", err
	}
	h, v := p.Axes[1], p.Axes[2]
	for o := range p.OC {
		for y := range h.Out {
			for x := range v.Out {
				want := 0
				for k := range p.IC * 9 {
					c, i, j := k/9, y+k/3%3-1, x+k%3-1
					if i >= 0 && i < h.In && j >= 0 && j < v.In {
						want += small((c*h.In+i)*v.In+j) * weight(o*p.IC*9+k)
					}
				}
				at := (o*h.Out+y)*v.Out + x
				if got := halfValue(binary.LittleEndian.Uint16(contents[problem.Dst][2*at:])); got != float64(want) {
					return fmt.Sprintf("a sum of products is %v, not %d", got, want), nil
				}
			}
		}
	}
	return "", nil
}
