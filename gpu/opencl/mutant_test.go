//go:build cgo && !noopencl

package opencl_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/enginetest"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// mutants are faults planted in kernels: the text of a body and what it becomes.
var mutants = []struct{ name, algorithm, kernel, is, becomes string }{
	{"halo off by one", "", "conv_direct", "x >= p.iw) {", "x > p.iw) {"},
	{"kernel axes swapped", "", "conv_direct", "weiStart + (i * p.kh + j) * p.kw + k", "weiStart + (i * p.kh + k) * p.kw + j"},
	{"one channel's bias", "", "conv_direct", "FINISH(isum, RESULT, POST, o, oc, t)", "FINISH(isum, RESULT, POST, 0, oc, t)"},
	{"stride not tested", "", "conv_transposed", "xn * p.sw != x ||", ""},
	{"wrong divisor", "", "pool", "count = max(ld - fd, 0) * max(lh - fh, 0) * max(lw - fw, 0)", "count = nd * nh * nw"},
	{"multiplied by a rounded reciprocal", "", "pool", "DIV_EXACT(r, TO_FLOAT(count))", "r * (1.0f / TO_FLOAT(count))"},
	{"last of equals", "", "pool", "v > r || IS_NAN(v)", "v >= r || IS_NAN(v)"},

	// Kernels that are compiled for each shape: among problems of their algorithm alone, these are found in seconds.
	{"groups share a bias", "igemm", "conv_igemm", "POST_SLOTS + g * OCG + min", "POST_SLOTS + min"},
	{"last row left out", "igemm", "conv_igemm", "y0 + m / TX < p.rows)", "y0 + m / TX + 1 < p.rows)"},
	{"slices without dilation", "igemm", "conv_igemm", "s += (DD * PLANE - KH * DH * PITCH)", "s += (PLANE - KH * DH * PITCH)"},
	{"groups read the first one's source", "igemm", "conv_igemm", "g * (ICG * SLICES) + z", "z"},
	{"weights of one zero point", "igemm", "pack_weights", "quant[(p.groups + g) * p.ocg + o]", "quant[p.groups * p.ocg]"},
	{"padding is a zero byte", "igemm", "pad_src", "VEC v = VEC_SPLAT(0.0f);", "VEC v = VEC_SPLAT(-zero);"},

	{"columns not tested", "igemm_local", "conv_tiled", " && TO_UINT(x0 + x) < TO_UINT(IW)) {\n                        HVEC_LANE", ") {\n                        HVEC_LANE"},
	{"no barrier", "igemm_local", "conv_tiled", "BARRIER();", ""},
	{"zero points of weights left in", "igemm_dot", "conv_dot", " - zw * ULANE(bytes[e / 4], e % 4)", ""},
	{"border is a zero byte", "igemm_dot", "pack_bytes", "uint a = zero;", "uint a = 0u;"},
	{"channels in reverse", "igemm_dot", "pack_bytes", "a << TO_UINT(8 * e)", "a << TO_UINT(24 - 8 * e)"},
	{"wrong coefficient", "winograd", "winograd_src", "i == 0 ? (k == 0 ? -4.0f", "i == 0 ? (k == 0 ? -4.5f"},
	{"padding repeats the last row", "winograd", "winograd_src", "y >= 0 && y < p.ih ?", "y >= 0 ?"},
	{"rows of an image before", "winograd", "winograd_src", "int y0 = (p.row0 + r - n * p.th) * M - p.ph;", "int y0 = (p.row0 + r) * M - p.ph;"},
	{"a divisor of 23", "winograd", "winograd_wei", "1.0f / 24.0f", "1.0f / 23.0f"},
	{"nothing from infinity", "winograd", "winograd_dst", "y += infinite;", ""},
	{"last column not written", "winograd", "winograd_dst", "min(RW * M, p.ow - tx * M);", "min(RW * M, p.ow - tx * M - 1);"},

	{"every maximum", "rows", "fold_rows", "winner[c] == TO_FLOAT(k) ?", "winner[c] >= TO_FLOAT(k) ?"},
	{"windows forgotten", "rows", "fold_rows", "given[k] = given[k + WINDOWS];", ""},
	{"channels share weights", "depthwise", "fold_rows", "wei[channel * (KH * KW) + k]", "wei[k]"},
	{"the next lattice", "depthwise", "fold_rows", "int along = ex + BW - k % KW * DW;", "int along = SW - 1 - ex + BW - k % KW * DW;"},
	{"groups share weights", "rows", "transposed_rows", "(g * p.ocg + o) * (TC", "o * (TC"},
	{"rows below the source", "rows", "weights_rows", "row >= 0 && row < p.wh", "row >= 0"},
	{"last lane left out", "rows", "weights_rows", "l < RW; l++", "l < RW - 1; l++"},
	{"overhang counts", "rows", "weights_rows", "b < TO_FLOAT(p.nw) ? more : sum[k]", "more"},

	{"lanes exchanged", "igemm_local", "conv_tiled", "int lane = column / NI % 4;", "int lane = column % 4;"},
}

// TestFuzzerFindsMutants proves the checks: each fault is found by random problems within a minute, and shrunk to a
// problem of at most 8 of anything.
func TestFuzzerFindsMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes: compiles kernels for hundreds of problems")
	}
	oracle, err := verify.Oracle(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer oracle.Close()
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			source, err := os.ReadFile("../../shaders/src/" + m.kernel + ".k")
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(source), m.is); n != 1 {
				t.Fatalf("%s.k has %q %d times: plant the fault elsewhere", m.kernel, m.is, n)
			}
			dir := t.TempDir()
			changed := strings.Replace(string(source), m.is, m.becomes, 1)
			if err := os.WriteFile(filepath.Join(dir, m.kernel+".k"), []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
			dev, err := enginetest.Spec("opencl:0", driver.Options{NoCache: true, Kernels: dir})(t.Context())
			if errors.Is(err, engine.ErrNoDevices) && !enginetest.Require() {
				t.Skip("no device: ", err)
			} else if err != nil {
				t.Fatal(err)
			}
			defer dev.Close()
			found := hunt(t, verify.Fuzzer{Oracle: oracle, Devices: []*engine.Device{dev}, Seed: 1, Algorithm: m.algorithm})
			if found == nil {
				return
			}
			p, err := problem.Parse(found.Problem)
			if err != nil {
				t.Fatal(err)
			}
			sizes := []int{p.N, p.IC, p.OC}
			for _, a := range p.Spatial() {
				sizes = append(sizes, a.In, a.Out, a.Kernel, a.Stride, a.Dilation)
			}
			for _, n := range sizes {
				if n > 8 {
					t.Errorf("%s is not small", found.Problem)
				}
			}
		})
	}
}

// hunt runs random problems until one fails.
func hunt(t *testing.T, f verify.Fuzzer) (found *report.Record) {
	const limit = 3 * time.Minute // a minute when nothing else runs
	checks, start := 0, time.Now()
	for i := uint64(0); found == nil && time.Since(start) < limit; i++ {
		f.Check(t.Context(), i, func(r report.Record) bool {
			if checks++; r.Status == report.Failed {
				found = &r
			}
			return found == nil
		})
	}
	if found == nil {
		t.Errorf("not found by %d checks in %v", checks, time.Since(start))
		return nil
	}
	t.Logf("check %d, %v: %s %s", checks, time.Since(start).Round(time.Second/10), found.Repro, found.Reason)
	return found
}
