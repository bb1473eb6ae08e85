package enginetest

import (
	"testing"
	"unsafe"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/machine"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// inPlace computes on large tensors that the host writes and reads in place. Where the device is the host's processor they begin
// with a huge page.
func (s *suite) inPlace(t *testing.T) {
	o, d := oracle(t), s.device(t)
	p := problemtest.Parse(t, "pool:max:mb1ic17ih512oh512kh3ph1")
	c, err := verify.NewCase(t.Context(), o, p, verify.Int, 1e6)
	if err != nil {
		t.Fatal(err)
	}
	var args engine.Args
	for _, role := range []problem.Role{problem.Src, problem.Dst} {
		x, err := d.NewTensor(p.TypeOf(role), p.Shape(role)...)
		if err != nil {
			t.Fatal(err)
		}
		defer x.Free()
		args[role] = x
		if x.Host() == nil {
			t.Skip("host and device have memory of their own")
		}
		if n := len(x.Host().Bytes()); n < 4*machine.Large { // so that it does not share a block with others
			t.Fatalf("%v has %d bytes, too few for this test", role, n)
		}
		off := machine.Unaligned(unsafe.Pointer(unsafe.SliceData(x.Host().Bytes())))
		if off != 0 && d.Info().Type == driver.CPU {
			t.Errorf("%v begins %d bytes before a huge page", role, off)
		}
	}
	pl, err := d.Plan(t.Context(), p, driver.PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	st, err := d.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	copy(args[problem.Src].Host().Bytes(), c.In[problem.Src].Bytes())
	ev, err := pl.Run(t.Context(), st, args)
	if err == nil {
		err = ev.Wait(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	var got engine.Operands
	got[problem.Dst] = args[problem.Dst].Host()
	var rec report.Record
	if err := c.Judge(t.Context(), &rec, pl.Info().Arithmetic, got); err != nil || rec.Status != report.Passed {
		t.Error(rec.Reason, err)
	}
	if err := st.Close(); err != nil {
		t.Error(err)
	}
	if err := pl.Close(); err != nil {
		t.Error(err)
	}
}
