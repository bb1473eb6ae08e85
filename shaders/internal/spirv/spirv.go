// Package spirv compiles kernels for Vulkan, by the tools of a development machine: glslc, spirv-opt and spirv-val. The
// generator and kernels that their author is changing go through it alike, so that what was tried is what is committed.
package spirv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// ErrTool is what errors wrap where a tool is missing.
var ErrTool = errors.New("install shaderc's glslc and spirv-tools (Debian: apt-get install glslc spirv-tools)")

// targetEnv is what every driver of the last years has.
const targetEnv = "vulkan1.1"

// flags of glslc, which leaves optimization to spirv-opt.
var flags = []string{"-fshader-stage=compute", "--target-env=" + targetEnv, "-O0"}

// passes of spirv-opt are those of its -O, but for its loop-unroll: the copies that makes of PRECISE operations are no
// longer precise. UNROLL stays a hint to the driver.
var passes = strings.Fields(`--target-env=` + targetEnv + ` --strip-debug
	--wrap-opkill --eliminate-dead-branches --merge-return --inline-entry-points-exhaustive --eliminate-dead-functions
	--eliminate-dead-code-aggressive --private-to-local --eliminate-local-single-block --eliminate-local-single-store
	--eliminate-dead-code-aggressive --scalar-replacement=100 --convert-local-access-chains
	--eliminate-local-single-block --eliminate-local-single-store --eliminate-dead-code-aggressive --ssa-rewrite
	--eliminate-dead-code-aggressive --ccp --eliminate-dead-code-aggressive --eliminate-dead-branches
	--redundancy-elimination --combine-access-chains --simplify-instructions --vector-dce --eliminate-dead-inserts
	--eliminate-dead-branches --simplify-instructions --if-conversion --copy-propagate-arrays --reduce-load-size
	--eliminate-dead-code-aggressive --merge-blocks --redundancy-elimination --eliminate-dead-branches --merge-blocks
	--simplify-instructions`)

// Flags are what the tools are told, for the manifest.
func Flags() []string { return slices.Concat(flags, passes) }

// Version returns the first line of glslc --version, of the one in the folder dir, or on PATH if that is empty.
func Version(dir string) (string, error) {
	out, err := exec.Command(filepath.Join(dir, "glslc"), "--version").Output()
	if err != nil {
		return "", missing("glslc", err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line), nil
}

// missing adds the way out to an error of a tool that is not there.
func missing(tool string, err error) error {
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%s is not there: %w", tool, ErrTool)
	}
	return fmt.Errorf("%s: %w", tool, err)
}

// Error is what a tool said of a source.
type Error struct{ Kernel, Tool, Text string }

func (e *Error) Error() string { return e.Kernel + ": " + e.Tool + ":\n" + e.Text }

// Compile makes the SPIR-V of an assembled source with the tools in the folder dir, or on PATH if that is empty. The source goes in and the module comes out by files with the same
// names each time, and without debug information, so that equal sources give equal bytes.
func Compile(dir, name, source string) ([]byte, error) {
	tmp, err := os.MkdirTemp("", "gonvolve-spirv")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	in, raw, out := filepath.Join(tmp, name+".comp"), filepath.Join(tmp, name+".raw"), filepath.Join(tmp, name+".spv")
	if err := os.WriteFile(in, []byte(source), 0o600); err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		append(append([]string{"glslc"}, flags...), "-o", raw, in),
		append(append([]string{"spirv-opt"}, passes...), "-o", out, raw),
		{"spirv-val", "--target-env", targetEnv, out},
	} {
		var exit *exec.ExitError
		text, err := exec.Command(filepath.Join(dir, args[0]), args[1:]...).CombinedOutput()
		switch {
		case errors.As(err, &exit):
			return nil, &Error{name, args[0], strings.TrimSpace(string(text))}
		case err != nil:
			return nil, missing(args[0], err)
		}
	}
	return os.ReadFile(out)
}
