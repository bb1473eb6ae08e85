// Command gen compiles every kernel body to SPIR-V. It is run by go generate in package shaders; with -check it writes
// nothing and fails if the committed files are not what it would write.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gonvolve/gonvolve/shaders/internal/dialect"
)

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

func main() {
	dir := flag.String("dir", ".", "folder of package shaders")
	check := flag.Bool("check", false, "write nothing, fail if spirv/ is not current")
	flag.Parse()
	if err := run(*dir, *check); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(dir string, check bool) error {
	version, err := compiler()
	if err != nil {
		return err
	}
	files, genErr := compileAll(dir, version)
	if check {
		return errors.Join(genErr, compare(dir, files))
	}
	// What compiles is written even if another body does not: one broken body must not hold up the others.
	return errors.Join(genErr, write(dir, files))
}

// compiler returns the first line of glslc --version.
func compiler() (string, error) {
	out, err := exec.Command("glslc", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("glslc: %w (install shaderc's glslc and spirv-tools)", err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line), nil
}

// compileAll returns the files of spirv/ by name.
func compileAll(dir, version string) (map[string][]byte, error) {
	src := filepath.Join(dir, "src")
	prelude, err := os.ReadFile(filepath.Join(src, "prelude.glsl"))
	if err != nil {
		return nil, err
	}
	common, err := os.ReadFile(filepath.Join(src, "common.inc"))
	if err != nil {
		return nil, err
	}
	bodies, err := filepath.Glob(filepath.Join(src, "*.k"))
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp("", "gonvolve-gen")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)

	files := map[string][]byte{}
	manifest := dialect.Manifest{Compiler: version, Flags: slices.Concat(flags, passes), Kernels: map[string]dialect.Entry{}}
	var errs []error
	for _, path := range bodies {
		body, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		name := strings.TrimSuffix(filepath.Base(path), ".k")
		if _, err := dialect.Parse(name, string(body)); err != nil {
			errs = append(errs, err)
			continue
		}
		source := dialect.Assemble(string(prelude), string(common), string(body))
		spirv, err := compile(tmp, name, source)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		files[name+".spv"] = spirv
		manifest.Kernels[name] = dialect.Entry{Source: dialect.Hash([]byte(source)), SPIRV: dialect.Hash(spirv)}
	}
	m, err := json.MarshalIndent(manifest, "", "\t")
	if err != nil {
		return nil, err
	}
	files["manifest.json"] = append(m, '\n')
	return files, errors.Join(errs...)
}

// compile runs glslc, spirv-opt and spirv-val. The source goes in and the module comes out by files with the same names each
// time, and without debug information, so that equal sources give equal bytes.
func compile(tmp, name, source string) ([]byte, error) {
	in, raw, out := filepath.Join(tmp, name+".comp"), filepath.Join(tmp, name+".raw"), filepath.Join(tmp, name+".spv")
	if err := os.WriteFile(in, []byte(source), 0o600); err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		append(append([]string{"glslc"}, flags...), "-o", raw, in),
		append(append([]string{"spirv-opt"}, passes...), "-o", out, raw),
		{"spirv-val", "--target-env", targetEnv, out},
	} {
		if text, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %s: %w\n%s", name, args[0], err, text)
		}
	}
	return os.ReadFile(out)
}

// write makes spirv/ hold exactly the files.
func write(dir string, files map[string][]byte) error {
	spirv := filepath.Join(dir, "spirv")
	if err := os.MkdirAll(spirv, 0o755); err != nil {
		return err
	}
	old, err := os.ReadDir(spirv)
	if err != nil {
		return err
	}
	for _, e := range old {
		if _, ok := files[e.Name()]; !ok {
			if err := os.Remove(filepath.Join(spirv, e.Name())); err != nil {
				return err
			}
		}
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(spirv, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// compare reports each file of spirv/ that is not what the generator made.
func compare(dir string, files map[string][]byte) error {
	spirv := filepath.Join(dir, "spirv")
	old, err := os.ReadDir(spirv)
	if err != nil {
		return err
	}
	var stale []string
	for _, e := range old {
		if _, ok := files[e.Name()]; !ok {
			stale = append(stale, e.Name()+" (no source)")
		}
	}
	for name, data := range files {
		if have, err := os.ReadFile(filepath.Join(spirv, name)); err != nil || !bytes.Equal(have, data) {
			stale = append(stale, name)
		}
	}
	if len(stale) > 0 {
		return fmt.Errorf("stale: %s: run go generate ./shaders", strings.Join(stale, ", "))
	}
	return nil
}
