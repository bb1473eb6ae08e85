package enginetest

import (
	"math/rand/v2"
	"testing"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// PartsBinding is the driver.Options.MaxBinding that Parts is made for.
const PartsBinding = 4 << 10

// partsProblems have tensors of more than PartsBinding, and can be cut along each way that there is: between images and
// between channels, where views can begin and where they cannot, the last part smaller than the others and not.
var partsProblems = []string{
	"pool:max:mb3ic5ih16oh8kh2sh2",
	"pool:max:mb2ic9ih31oh15kh3sh2",
	"pool:max:f16:mb2ic10ih22oh11kh2sh2",
	"pool:max:nhwc:mb7ic5ih13oh6kh3sh2ph0",
	"pool:avg_np:mb2ic7ih29oh29kh3ph1",
	"pool:lp3:mb5ic3ih17oh8kh3sh2ph0",
	"pool:max:indices=plane:mb3ic5ih21oh10kh3sh2ph0",
	"pool:max:indices=plane:mb1ic8ih20oh10kh2sh2",
	"pool:avg_ip:adaptive:mb3ic5ih16oh6",
	"pool:max:BWD_D:mb3ic5ih17oh8kh3sh2",
	"pool:max:BWD_D:indices=plane:mb3ic5ih17oh8kh3sh2ph0",
	"pool:avg_p:BWD_D:f16:mb7ic2ih14oh7kh3sh2ph1",
	"pool:lp2:BWD_D:mb3ic5ih17oh8kh3sh2",
	"unpool:indices=plane:mb3ic5ih8oh16kh2sh2",
	"unpool:BWD_D:indices=plane:mb3ic5ih8oh16kh2sh2",
	"im2col:mb3ic4ih8oh8kh3ph1",
	"col2im:mb3ic4ih8oh8kh3ph1",
	"g8mb2ic8ih20oc8oh20kh3ph1",
	"g8mb2ic8ih17oc16oh17kh5ph2",
	"conv:bias:post=prelu+add+scale:g6mb2ic12ih17oc12oh17kh3ph1",
	"conv:BWD_D:g8mb2ic8ih20oc8oh20kh3ph1",
	"conv:BWD_W:g8mb2ic8ih17oc8oh17kh3ph1",
	"conv:BWD_W:f16:mb7ic2ih13oc4oh13kh3ph1",
	"conv:BWD_W:mb9ic3ih11oc2oh11kh3ph1",
	"conv:BWD_B:mb9ic3ih11oc40oh11kh3ph1",
	"mb9ic3ih11oc6oh11kh3ph1",
	"mb2ic3ih11oc40oh11kh3ph1",
	"conv:bias:post=relu+scale+add:f16:mb3ic2ih9oc50oh9kh3ph1",
	"conv:f16:nhwc:mb9ic3ih9oc6oh9kh3ph1",
	"conv:bias:u8-s8-s8:mb11ic4ih8oc6oh8kh3ph1",
	"conv:bias:u8-s8-s32:mb2ic3ih12oc40oh12kh3ph1",
	"conv:u8-s8-s32:nhwc:mb9ic4ih11oc6oh11kh3ph1",
	"conv:bias:s8-u8-u8:g15mb3ic15ih20iw20oc15oh20ow20kh3kw4ph1pw1",
	"conv:pad=reflect:mb5ic3ih11oc5kh3ph1",
	"conv:BWD_D:pad=reflect:mb5ic3ih9oc5kh3ph1",
	"conv:then=max(kh2sh2):mb7ic3ih12oc6oh12kh3ph1",
	"deconv:mb7ic3ih9oc5oh11kh3",
	"deconv:BWD_D:mb7ic3ih9oc5oh11kh3",
	"deconv:BWD_W:mb7ic3ih9oc5oh11kh3",
	"deform:mask:mb5ic2ih7oc5oh7kh3ph1",
}

// Parts tests tensors that are larger than what kernels see at a time, on a device that open opens with
// driver.Options.MaxBinding at PartsBinding.
func Parts(t *testing.T, open Open) {
	s := &suite{open: open}
	d, o := s.device(t), oracle(t)
	for _, text := range partsProblems {
		for _, fill := range []verify.Fill{verify.Int, verify.Uniform} {
			if checkParts(t, o, d, problemtest.Parse(t, text), fill) == 0 {
				t.Errorf("%s: no algorithm can run it", text)
			}
		}
	}
	// What cannot be cut may be refused, but not be wrong.
	count := 150
	if testing.Short() {
		count = 40
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range count {
		checkParts(t, o, d, problem.Random(r, 24), verify.Int)
	}
}

// checkParts is check, but that an algorithm may refuse after all: its workspace may be what is too large.
func checkParts(t *testing.T, o, d *engine.Device, p problem.Problem, fill verify.Fill) (ran int) {
	t.Helper()
	c, err := verify.NewCase(t.Context(), o, p, fill, verify.DefaultBudget)
	if err != nil {
		t.Fatalf("%s: %v", p.String(), err)
	}
	for _, alg := range d.Algorithms(p) {
		switch r := c.Check(t.Context(), d, alg); {
		case r.Status == report.Passed && r.Verified:
			ran++
		case r.Status != report.Unsupported:
			t.Errorf("%s: %s\n\t%s", r.Status, r.Reason, r.Repro)
		}
	}
	return ran
}
