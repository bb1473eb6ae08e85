//go:build cgo && linux && !noopencl && !novulkan

package main

import (
	"context"
	"debug/elf"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// The command starts on a machine that has neither Vulkan nor OpenCL, and says what is missing.
func TestStartsWithoutLoaders(t *testing.T) {
	file := build(t)
	f, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	libs, err := f.ImportedLibraries()
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(libs, func(l string) bool { return strings.Contains(l, "OpenCL") || strings.Contains(l, "vulkan") }) {
		t.Errorf("the command is linked to %v", libs)
	}
	// Loaders that are installed find no driver in these places.
	none := filepath.Join(t.TempDir(), "none")
	cmd := exec.CommandContext(t.Context(), file, "devices", "--format", "json")
	cmd.Env = append(os.Environ(), "GONVOLVE_CACHE=off", "VK_DRIVER_FILES="+none, "VK_ICD_FILENAMES="+none, "OCL_ICD_VENDORS="+none)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]deviceRow{}
	for in := json.NewDecoder(strings.NewReader(string(out))); in.More(); {
		var r deviceRow
		if err := in.Decode(&r); err != nil {
			t.Fatal(err)
		}
		rows[r.Spec] = r
	}
	if len(rows) != 3 || rows["cpu"].Name == "" || !strings.Contains(rows["vulkan"].Reason, "install") || !strings.Contains(rows["opencl"].Reason, "install") {
		t.Errorf("devices %+v", rows)
	}
}

// Every kernel body reads and writes only what is its own: oclgrind watches each access of each work-item.
func TestOclgrind(t *testing.T) {
	oclgrind, err := exec.LookPath("oclgrind")
	if err != nil {
		if os.Getenv("GONVOLVE_REQUIRE_DRIVERS") == "1" {
			t.Fatal("GONVOLVE_REQUIRE_DRIVERS=1, but oclgrind is not installed")
		}
		t.Skip("oclgrind is not installed")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // it takes seconds
	defer cancel()
	file := build(t)
	// Not --uninitialized: oclgrind 21.10 crashes with it when the host writes to a buffer.
	for _, flags := range [][]string{nil, {"--data-races"}} {
		args := append(flags, "--max-errors", "10", file, "verify", "--device", "opencl:0", "--alg", "all", "--format", "json", "--bias",
			"mb1ic3ih6oc8oh6kh3ph1",                              // conv_direct; conv_igemm with pad_src and pack_weights
			"mb1ic8ih8oc16oh8kh1",                                // conv_igemm in place
			"conv:post=relu:mb1ic4ih5iw18oc8oh5ow18kh3kw3ph1pw1", // winograd
			"mb2ic2ih5oc4oh3kh3sh2ph1dh1",
			"g3mb1ic3ih7iw37oc6oh5ow13kh3kw3sh2sw3ph2pw1dh1dw1", "conv:BWD_D:g2mb1ic2ih5iw18oc2oh4ow19kh3kw4ph1pw2", // conv_depthwise
			"conv:post=relu+add:g2mb1ic2ih4iw33oc2oh2ow17kh3kw3sh2sw2ph1pw1",
			"conv:post=scale+clip(0,6):g2mb1ic4id3oc6kd3pd1", "conv:u8-s8-u8:g2mb1ic4ih5oc6kh3ph1sh2", "conv:s8-u8-s32:g3mb1ic3ih6oc3kh3ph1",
			"conv:BWD_D:mb1ic4ih6iw7oc6kh3kw2sh2ph0pw0", "conv:BWD_D:pad=replicate:mb1ic3ih4oc2kh3ph2", // conv_transposed, pad_fold
			"conv:BWD_D:mb1ic8ih5oc8kh3sh2ph1", "mb1ic2id4oc8kd3pd1", // conv_igemm in phases, with depth
			"conv:BWD_W:g2mb2ic6ih5oc16kh3sh2ph1",                                       // conv_weights_tile with pack_rows
			"conv:BWD_W:g4mb2ic4ih7iw19oc4oh7ow19kh3kw3ph1pw1",                          // weights_rows
			"conv:BWD_D:mb1ic3ih9iw21oc8oh5ow11kh3kw3sh2sw2ph1pw1",                      // transposed_rows
			"conv:BWD_W:pad=reflect:mb1ic1ih30oc1kh2ph1", "conv:BWD_B:mb3ic1ih20oc1kh1", // pad_mode, sum_parts
			"deform:dg=2:mask:post=relu:g2mb1ic8ih5iw7oc6kh3kw3sh2sw2ph1pw1",
			"conv:post=relu+add:then=avg_ip(kh3sh2ph1):mb1ic3ih5oc5kh3ph1", // conv_pool
			"pool:max:mb1ic3ih7oh4kh3sh2ph1", "pool:avg_np:mb1ic2ih6oh6kh3ph1", "pool:avg_p:mb1ic2ih6oh6kh3ph1",
			"pool:max:u8:nhwc:indices=flat:mb1ic3iw9kw3sw2", "pool:max:BWD_D:mb1ic2id4kd2", // pool, fold and reformat
			"pool:lp2:BWD_D:mb1ic2ih6kh3ph1", "pool:avg_np:BWD_D:adaptive:mb1ic2ih7oh3",
			"pool:max:mb1ic2ih7iw37oh4ow19kh3kw3sh2sw2ph1pw1", "pool:avg_ip:mb1ic3ih9iw20oh9ow7kh2kw4sh1sw3ph1pw2", // pool_rows
			"pool:avg_np:mb1ic3ih7oh1kh7", "pool:avg_p:mb2ic2ih9oh1kh9", // pool_global
			"unpool:indices=plane:mb1ic2ih3kh2sh2", "im2col:mb1ic2ih4kh2ph1", "im2col:BWD_D:f16:mb1ic2ih4kh2ph1")
		cmd := exec.CommandContext(ctx, oclgrind, args...)
		cmd.Env = append(os.Environ(), "GONVOLVE_CACHE=off")
		var stdout, stderr strings.Builder
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		// Its compiler tells how many warnings it had: that is no finding.
		err := cmd.Run()
		findings := regexp.MustCompile(`(?m)^\d+ warnings? generated\.$`).ReplaceAllString(stderr.String(), "")
		if err != nil || strings.TrimSpace(findings) != "" {
			t.Fatalf("%v: %v\n%s", args, err, stderr.String())
		}
		ran := map[string]int{}
		for in := json.NewDecoder(strings.NewReader(stdout.String())); in.More(); {
			var r struct {
				DeviceName string `json:"device_name"`
				Algorithm  string `json:"algorithm"`
				Verified   bool   `json:"verified"`
			}
			if err := in.Decode(&r); err != nil {
				t.Fatal(err)
			}
			if !r.Verified || !strings.Contains(r.DeviceName, "Oclgrind") {
				t.Errorf("record %+v", r)
			}
			ran[r.Algorithm]++
		}
		for alg, least := range map[string]int{
			"direct": 32, "global": 2, "depthwise": 5, "rows": 13, "igemm": 5, "winograd": 1, "igemm_local": 10, "igemm_dot": 2, "fused": 1, "conv+pool": 1,
		} {
			if ran[alg] < least {
				t.Errorf("%s ran %d times, not %d: %v", alg, ran[alg], least, ran)
			}
		}
	}
}
