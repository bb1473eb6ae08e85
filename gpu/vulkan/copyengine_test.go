//go:build cgo && !novulkan

package vulkan_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/enginetest"
)

// copyEngine is set in the process that has the layer of testdata/copyengine: there a software device is a discrete one with a
// family of queues that only copy.
const copyEngine = "GONVOLVE_COPY_ENGINE"

// TestCopyEngine runs, under the validation layer, what transfers and computes on a device with a copy engine whose queues run
// as late as they may.
func TestCopyEngine(t *testing.T) {
	if os.Getenv(copyEngine) == "" {
		onCopyEngine(t)
		return
	}
	open := enginetest.Spec("vulkan:0", driver.Options{Validate: true})
	d, err := open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	info, checks := d.Info(), d.Driver().(driver.SelfTester).SelfTest()
	told := slices.Contains(info.Limits, driver.Fact{Name: "transfer queues", Value: "2 of family 1, which only copies"})
	used := slices.ContainsFunc(checks, func(c driver.Check) bool { return c.Name == "transfer queues" && c.Passed })
	if info.Type != driver.Discrete || !told || !used {
		t.Fatalf("no copy engine in use: %+v, %+v", info, checks)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	enginetest.Run(t, open)
}

// onCopyEngine runs parts of TestCopyEngine, and random faults, in a process with the layer.
func onCopyEngine(t *testing.T) {
	dir := t.TempDir()
	library := filepath.Join(dir, "libcopyengine.so")
	cc := exec.Command("cc", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-fvisibility=hidden", "-pthread", "-Ivkshim",
		"-o", library, filepath.Join("testdata", "copyengine", "layer.c"))
	if out, err := cc.CombinedOutput(); err != nil {
		if !enginetest.Require() {
			t.Skipf("no layer: %v: %s", err, out)
		}
		t.Fatalf("%v: %s", err, out)
	}
	const name, validation = "VK_LAYER_GONVOLVE_copy_engine", "VK_LAYER_KHRONOS_validation"
	manifest := fmt.Sprintf(`{"file_format_version": "1.0.0", "layer": {"name": %q, "type": "GLOBAL", "library_path": %q,
		"api_version": "1.3.0", "implementation_version": "1", "description": "a copy engine for a software device"}}`, name, library)
	if err := os.WriteFile(filepath.Join(dir, "copyengine.json"), []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	// The validation layer has to be found first, by the loaders that call layers in that order.
	paths := ""
	for _, in := range []string{"/usr/share", "/usr/local/share", "/etc"} {
		paths += in + "/vulkan/explicit_layer.d:"
	}
	const parts = "Transfers|UseAfterFree|TiledMemory|InPlace|Repeated|Concurrent|Cancelled|ComeAndGo"
	test := exec.CommandContext(t.Context(), os.Args[0], "-test.short", "-test.v",
		"-test.run=^(TestCopyEngine|TestRandomFaults)$/^("+parts+")$")
	test.Env = append(os.Environ(), copyEngine+"=1", "GONVOLVE_CACHE="+t.TempDir(),
		"VK_LAYER_PATH="+paths+dir, "VK_INSTANCE_LAYERS="+validation+":"+name, "NODEVICE_SELECT=1")
	out, err := test.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"TestCopyEngine", "TestCopyEngine/Concurrent", "TestRandomFaults"} {
		if !strings.Contains(string(out), "--- PASS: "+name+" ") {
			t.Errorf("%s did not pass in\n%s", name, out)
		}
	}
}
