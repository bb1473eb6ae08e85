package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/enginetest"
	"github.com/gonvolve/gonvolve/engine/report"
)

// sources is the folder of the built-in kernels; tests change theirs.
var sources, _ = filepath.Abs(filepath.Join("..", "..", "shaders", "src"))

// changedKernel is a folder with a built-in kernel in which one text became another, and the line where it stands.
func changedKernel(t *testing.T, name, is, becomes string) (dir string, line int) {
	t.Helper()
	source, err := os.ReadFile(filepath.Join(sources, name))
	if err != nil {
		t.Fatal(err)
	}
	before, after, ok := strings.Cut(string(source), is)
	if !ok {
		t.Fatalf("%s has no %q", name, is)
	}
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(before+becomes+after), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, 1 + strings.Count(before, "\n")
}

// gpus are the first devices of both APIs.
func gpus(t *testing.T) (list []string) {
	t.Helper()
	for _, spec := range []string{"vulkan:0", "opencl:0"} {
		if _, err := engine.Resolve(spec); err == nil {
			list = append(list, spec)
		} else if enginetest.Require() {
			t.Fatal(err)
		}
	}
	if len(list) == 0 {
		t.Skip("no GPU driver")
	}
	return list
}

// A changed kernel is compiled, proven and timed beside the built-in one; a fault in it is found, and one that does not
// compile is told of by file and line.
func TestKernels(t *testing.T) {
	const p = "mb1ic8ih9oc8kh3ph1"
	for _, device := range gpus(t) {
		good, _ := changedKernel(t, "conv_direct.k", "KERNEL(", "// changed\nKERNEL(")
		all := records(t, exitDone, "bench", "--kernels", good, "--device", device, "--alg", "direct", "--min-time", "1ms", p)
		if len(all) != 2 || all[0].KernelsFrom != "" || all[0].VsBuiltIn != nil || all[1].KernelsFrom != good || all[1].VsBuiltIn == nil ||
			*all[1].VsBuiltIn <= 0 || !all[0].Verified || !all[1].Verified || !strings.HasPrefix(all[0].Kernels, "conv_direct@") {
			t.Errorf("%s: %+v", device, all)
		}
		wrong, _ := changedKernel(t, "conv_direct.k", "x >= p.iw) {", "x > p.iw) {")
		for _, command := range []string{"bench", "verify"} {
			all := records(t, exitFailed, command, "--kernels", wrong, "--device", device, "--alg", "direct", p)
			last := all[len(all)-1]
			if last.Status != report.Failed || last.KernelsFrom != wrong || !strings.HasSuffix(last.Repro, "--kernels '"+wrong+"'") {
				t.Errorf("%s on %s: %+v", command, device, last)
			}
			if command == "bench" && (len(all) != 2 || !all[0].Verified || all[0].Kernels == last.Kernels) {
				t.Errorf("bench on %s: the built-in kernel beside it: %+v", device, all[0])
			}
		}
		broken, line := changedKernel(t, "conv_direct.k", "x >= p.iw) {", "nowhere >= p.iw) {")
		at := filepath.Join(broken, "conv_direct.k") + ":" + strconv.Itoa(line) + ":"
		code, stdout, stderr := gonvolve(t, t.TempDir(), "verify", "--kernels", broken, "--device", device, "--alg", "direct", p)
		if code != exitFailed && code != exitUsage || !strings.Contains(stdout+stderr, at) || !strings.Contains(stdout+stderr, "nowhere") {
			t.Errorf("%s: exit %d without %s:\n%s%s", device, code, at, stdout, stderr)
		}
	}
}

// What --kernels cannot do is said before anything is measured.
func TestKernelsRefused(t *testing.T) {
	good, _ := changedKernel(t, "conv_direct.k", "KERNEL(", "// changed\nKERNEL(")
	for _, command := range []string{"bench", "verify"} {
		if code, _, stderr := gonvolve(t, t.TempDir(), command, "--kernels", good, "--device", "cpu", "mb1ic1ih3oc1kh1"); code != exitDevice ||
			!strings.Contains(stderr, "runs kernels of a folder") {
			t.Errorf("%s on the cpu: exit %d, %s", command, code, stderr)
		}
	}
	device := gpus(t)[0]
	for what, dir := range map[string]string{"no such folder": filepath.Join(good, "none"), "an empty folder": t.TempDir()} {
		if code, _, stderr := gonvolve(t, t.TempDir(), "bench", "--kernels", dir, "--device", device, "mb1ic1ih3oc1kh1"); code != exitUsage {
			t.Errorf("%s: exit %d, %s", what, code, stderr)
		}
	}
	unused := []string{"bench", "--kernels", good, "--device", device, "--min-time", "1ms", "pool:max:mb1ic1ih4kh2sh2"}
	if code, _, stderr := gonvolve(t, t.TempDir(), unused...); code != exitDone || !strings.Contains(stderr, "conv_direct.k") {
		t.Errorf("a kernel that nothing runs: exit %d, %q", code, stderr)
	}
}
