package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// ErrWrongResult is what WithCheck finds: a device that computes something else than it was asked for.
var ErrWrongResult = errors.New("wrong result")

// OpenOracle opens the device that knows the truth: the first that has driver.Oracle.
func OpenOracle(ctx context.Context) (*Device, error) {
	for _, l := range Devices() {
		if l.Err != nil || l.Info.API != "Go" {
			continue // opening a GPU to ask is slow, and GPUs have no oracle
		}
		d, err := Open(ctx, l.Spec)
		if err != nil {
			return nil, err
		}
		if _, ok := d.Driver().(driver.Oracle); ok {
			return d, nil
		}
		if err := d.Close(); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: no driver with an oracle is built in; import the cpu driver", ErrNoDevices)
}

// checker computes samples of a device's results again.
type checker struct {
	mu      sync.Mutex
	oracle  *Device // opened on first need
	results uint64  // checked so far: each has a sample of its own
	checked int64   // elements
}

// open opens the oracle, once, and numbers a result.
func (c *checker) open(ctx context.Context) (driver.Oracle, uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.oracle == nil {
		d, err := OpenOracle(ctx)
		if err != nil {
			return nil, 0, fmt.Errorf("check: %w", err)
		}
		c.oracle = d
	}
	c.results++
	return c.oracle.Driver().(driver.Oracle), c.results, nil
}

func (c *checker) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.oracle == nil {
		return nil
	}
	return c.oracle.Close()
}

// Checked is how many elements of results were computed once more, as WithCheck says, and found right: this device's, those
// of the device that it falls back to, and of those that it stands for.
func (d *Device) Checked() int64 {
	d.mu.Lock()
	other := d.fallback
	d.mu.Unlock()
	n := int64(0)
	if other != nil {
		n = other.Checked()
	}
	for _, other := range d.opened() {
		n += other.Checked()
	}
	d.checker.mu.Lock()
	defer d.checker.mu.Unlock()
	return n + d.checker.checked
}

// Check computes a sample of a run's outputs once more, as WithCheck says, from in, which are the problem's inputs and
// constants; how is the plan's Info. RunHost does it by itself: this is for those who move tensors themselves.
func (d *Device) Check(ctx context.Context, p problem.Problem, how driver.PlanInfo, in, out Operands) error {
	if d.o.checks <= 0 {
		return nil
	}
	return d.check(ctx, p, how, operands(&in), out)
}

// Checks is how many elements of each result are to be checked.
func (d *Device) Checks() int { return max(0, d.o.checks) }

func (d *Device) check(ctx context.Context, p problem.Problem, how driver.PlanInfo, in driver.Operands, out Operands) error {
	oracle, result, err := d.checker.open(ctx)
	if err != nil {
		return err
	}
	for _, r := range p.Outputs() {
		t := out[r]
		at := sample(problem.Elems(t.shape), d.o.checks, result)
		truth, err := oracle.Reference(ctx, p, how.Arithmetic, in, r, at)
		if err != nil {
			return fmt.Errorf("check of %s: %w", r, err)
		}
		for k := range truth {
			have := t.at(at[k])
			if _, share, _ := truth[k].Judge(t.typ, have, false); share > 1 {
				return fmt.Errorf("%w: %s: %s of %s: element %d is %v and should be %v ± %.2g (algorithm %s)", ErrWrongResult, d.spec,
					r, p.String(), at[k], have, truth[k].Value, truth[k].Bound, how.Algorithm)
			}
		}
		d.checker.mu.Lock()
		d.checker.checked += int64(len(at))
		d.checker.mu.Unlock()
	}
	return nil
}

// sample is n elements of so many, in order: all, if there are no more, else the first and the last, and others at random.
func sample(total int64, n int, seed uint64) []int64 {
	if total <= int64(n) {
		at := make([]int64, total)
		for i := range at {
			at[i] = int64(i)
		}
		return at
	}
	at := []int64{0, total - 1}
	r := rand.New(rand.NewPCG(seed, uint64(total)))
	for len(at) < n {
		at = append(at, r.Int64N(total))
	}
	slices.Sort(at)
	return slices.Compact(at)
}

// at is element i of the tensor, which is exact in float64 for every type.
func (t *Tensor) at(i int64) float64 {
	if t.typ == problem.S32 {
		return float64(t.Int32s()[i])
	}
	size := int64(t.typ.Size())
	one := &Tensor{[]int{1}, t.typ, t.data[i*size : (i+1)*size]}
	return float64(one.Widen()[0])
}

// operands are host tensors as an oracle reads them.
func operands(from *Operands) (to driver.Operands) {
	for r, t := range from {
		to[r] = t.Operand()
	}
	return to
}

// copies are operands whose memory is nobody else's.
func copies(from *Operands) driver.Operands {
	to := operands(from)
	for r := range to {
		to[r].F32, to[r].I32 = slices.Clone(to[r].F32), slices.Clone(to[r].I32)
	}
	return to
}
