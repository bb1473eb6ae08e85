package gpu

import "sync/atomic"

// ref counts who needs a resource: its owner, and each submission in flight that uses it.
type ref struct {
	n    atomic.Int32
	free func()
}

// newRef starts with the owner's hold.
func newRef(free func()) *ref {
	r := &ref{free: free}
	r.n.Store(1)
	return r
}

// hold takes one more hold; false if the last was dropped already.
func (r *ref) hold() bool {
	for {
		n := r.n.Load()
		if n == 0 {
			return false
		}
		if r.n.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// holdAll holds all or none.
func holdAll(all []*ref) bool {
	for i, r := range all {
		if !r.hold() {
			dropAll(all[:i])
			return false
		}
	}
	return true
}

func dropAll(all []*ref) {
	for _, r := range all {
		r.drop()
	}
}

// drop gives a hold back and frees the resource with the last.
func (r *ref) drop() {
	if r.n.Add(-1) == 0 {
		r.free()
	}
}
