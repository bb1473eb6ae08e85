package enginetest

import (
	"testing"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// TestProblems: the list parses, and has every operation, direction, kind of pooling, post-op and type.
func TestProblems(t *testing.T) {
	seen := map[string]bool{}
	for _, text := range problems {
		p, err := problem.Parse(text)
		if err != nil {
			t.Error(err)
			continue
		}
		seen[p.Op.String()+" "+p.Dir.String()] = true
		seen[p.Type.String()], seen[p.PadMode.String()], seen[p.Indices.String()] = true, true, true
		if p.Op == problem.Pool {
			seen[p.Kind.String()+" "+p.Dir.String()] = true
		}
		for _, o := range p.Posts() {
			seen[o.Kind.String()] = true
		}
	}
	want := []string{"deform FWD"}
	for op := problem.Conv; op <= problem.Col2im; op++ {
		if op != problem.Deform {
			want = append(want, op.String()+" FWD", op.String()+" BWD_D")
		}
	}
	for d := problem.BackwardWeights; d <= problem.BackwardBias; d++ {
		want = append(want, "conv "+d.String(), "deconv "+d.String())
	}
	for k := problem.Max; k <= problem.Lp; k++ {
		want = append(want, k.String()+" FWD", k.String()+" BWD_D")
	}
	for k := problem.ReLU; k <= problem.Add; k++ {
		if k != problem.ReLU {
			want = append(want, k.String())
		}
	}
	want = append(want, "f32", "f16", "u8-s8-s32", "s8", "u8", "reflect", "replicate", "circular", "plane", "flat", "column")
	for _, w := range want {
		if !seen[w] {
			t.Errorf("no problem has %q", w)
		}
	}
}
