package simd

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// census counts which part was done how often, and fails if two are the same worker.
type census struct {
	t     *testing.T
	parts []atomic.Int32
	busy  []atomic.Bool
}

func (c *census) Do(worker, i int) {
	if c.busy[worker].Swap(true) {
		c.t.Errorf("two are worker %d", worker)
	}
	c.parts[i].Add(1)
	if i%7 == 0 {
		runtime.Gosched()
	}
	c.busy[worker].Store(false)
}

func TestPool(t *testing.T) {
	for _, workers := range []int{0, 1, 2, 5} {
		p := NewPool(workers)
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() {
				for parts := range 60 {
					c := &census{t, make([]atomic.Int32, parts), make([]atomic.Bool, p.Workers())}
					p.Run(parts, c)
					for i := range c.parts {
						if n := c.parts[i].Load(); n != 1 {
							t.Errorf("%d workers: part %d of %d was done %d times", workers, i, parts, n)
						}
					}
				}
			})
		}
		callers.Wait()
		p.Close()
	}
}

// meeting is parts that end only when all have begun.
type meeting struct{ sync.WaitGroup }

func (m *meeting) Do(_, _ int) {
	m.Done()
	m.Wait()
}

// TestPoolWakes runs what needs all workers at once, after breaks in which they fall asleep, and in which they do not.
func TestPoolWakes(t *testing.T) {
	for _, workers := range []int{2, 3, 5} {
		p := NewPool(workers)
		for i := range 20 {
			time.Sleep(time.Duration(i%4) * time.Millisecond)
			var m meeting
			m.Add(workers)
			p.Run(workers, &m)
		}
		p.Close()
	}
}

func TestMultiplyInParallel(t *testing.T) {
	p := NewPool(3)
	defer p.Close()
	const m, n, k = 61, 97, 130
	g, err := NewGemm(Best(), m, n, k, Hints{Workers: 3})
	if err != nil {
		t.Fatal(err)
	}
	a, off := make([]float32, m*k), make([]int, k)
	for i := range a {
		a[i] = float32(i % 5)
	}
	b := make([]float32, n)
	for j := range b {
		b[j] = float32(j)
	}
	packed := make([]float32, g.PackedA())
	g.PackA(packed, a, k, 1)
	var callers sync.WaitGroup
	for range 3 {
		callers.Go(func() {
			c := &Call{A: packed, B: rowsOf(Best(), b, off, n), C: make([]float32, m*n), LDC: n}
			g.Multiply(p, make([]float32, 3*g.Workspace()), c)
			for i, v := range c.C {
				sum := float32(0)
				for x := range k {
					sum += a[i/n*k+x]
				}
				if want := sum * b[i%n]; v != want {
					t.Errorf("C[%d] = %g, want %g", i, v, want)
					return
				}
			}
		})
	}
	callers.Wait()
}
