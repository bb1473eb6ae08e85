package enginetest

import (
	"testing"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// foreignIndices: indices that no forward pooling wrote give what the oracle says, and touch no other memory. The host's
// way refuses what points nowhere.
func (s *suite) foreignIndices(t *testing.T) {
	d, o := s.device(t), oracle(t)
	ctx := t.Context()
	for _, text := range []string{
		"pool:max:BWD_D:indices=plane:mb2ic3ih9kh3sh2ph1",
		"pool:max:BWD_D:indices=column:mb2ic3ih9iw5kh3kw2",
		"unpool:indices=flat:mb2ic3ih4kh2sh2",
		"unpool:indices=plane:f16:mb2ic3ih4kh2sh2",
		"unpool:BWD_D:indices=column:mb2ic3ih4iw3kh2sh2kw2sw2",
	} {
		p := problemtest.Parse(t, text)
		c, err := verify.NewCase(ctx, o, p, verify.Int, verify.DefaultBudget)
		if err != nil {
			t.Fatal(err)
		}
		ind := c.In[problem.Ind].Int32s()
		for i := range ind {
			ind[i] = int32(i*7919%4096) - 64
		}
		if _, err := d.Compute(ctx, p, c.In); err == nil {
			t.Errorf("%s: indices that point nowhere were taken", text)
		}
		var in driver.Operands
		for r, x := range c.In {
			in[r] = x.Operand()
		}
		role := p.Outputs()[0]
		truth, err := o.Driver().(driver.Oracle).Reference(ctx, p, driver.Arithmetic{}, in, role, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := onDevice(t, d, c, "")[role].Widen()
		for i, e := range truth {
			if float64(got[i]) != e.Value {
				t.Errorf("%s: element %d is %v, not %v", text, i, got[i], e.Value)
				break
			}
		}
	}
}

// onDevice runs a case by an algorithm, indices past the host's checks.
func onDevice(t *testing.T, d *engine.Device, c *verify.Case, algorithm string) engine.Operands {
	t.Helper()
	pl, err := d.Plan(t.Context(), c.Problem, driver.PlanOptions{Algorithm: algorithm})
	if err != nil {
		t.Fatal(err)
	}
	defer pl.Close()
	run, err := c.Prepare(t.Context(), pl)
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	out, err := run.Result(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return out
}
