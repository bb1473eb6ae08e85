package shaders

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/shaders/internal/dialect"
)

func manifest(t *testing.T) dialect.Manifest {
	t.Helper()
	data, err := files.ReadFile("spirv/manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	var m dialect.Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestCurrent fails when spirv/ was not made from the sources beside it. It needs no compiler.
func TestCurrent(t *testing.T) {
	m := manifest(t)
	bodies, err := fs.Glob(files, "src/*.k")
	if err != nil || len(bodies) == 0 {
		t.Fatalf("%d bodies, %v", len(bodies), err)
	}
	modules := 0
	for _, f := range bodies {
		name := strings.TrimSuffix(path.Base(f), ".k")
		body, err := files.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		shared, err := BuiltIn().read("prelude.glsl", "common.inc")
		if err != nil {
			t.Fatal(err)
		}
		d, err := dialect.Parse(name, string(body))
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range d.Builds() {
			modules++
			name := dialect.File(name, v)
			glsl := d.Assemble(shared[0], shared[1], string(body), v)
			if got := m.Kernels[name].Source; got != dialect.Hash([]byte(glsl)) {
				t.Errorf("%s.spv is stale: run go generate ./shaders", name)
			}
			spirv, err := files.ReadFile("spirv/" + name + ".spv")
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if got := m.Kernels[name].SPIRV; got != dialect.Hash(spirv) {
				t.Errorf("%s.spv is not the module in the manifest: run go generate ./shaders", name)
			}
		}
	}
	spirv, err := fs.Glob(files, "spirv/*.spv")
	if err != nil {
		t.Fatal(err)
	}
	if len(spirv) != modules || len(m.Kernels) != modules {
		t.Errorf("%d bodies and variants, %d modules, %d in the manifest: run go generate ./shaders", modules, len(spirv), len(m.Kernels))
	}
}

// TestKernels holds what the package says of a kernel against what is in its two sources.
func TestKernels(t *testing.T) {
	all := All()
	if got, want := len(all), len(manifest(t).Kernels); got != want {
		t.Errorf("All lists %d kernels of %d", got, want)
	}
	for _, k := range all {
		t.Run(k.Name, func(t *testing.T) {
			if got, err := Get(k.Name); got != k || err != nil {
				t.Errorf("Get = %p, %v, want %p", got, err, k)
			}
			if k.ParamBytes != 4*len(k.Params) || k.ParamBytes > dialect.MaxParamBytes {
				t.Errorf("%d bytes for %d parameters", k.ParamBytes, len(k.Params))
			}
			for i, tu := range k.Tunables {
				if tu.ID != i {
					t.Errorf("tunable %s has id %d at %d", tu.Name, tu.ID, i)
				}
			}
			if k.CL == "" && !strings.Contains(k.Name, ".matrix") && !strings.Contains(k.Name, ".emulated") {
				t.Error("no OpenCL C")
			}
			for _, w := range []string{"pragma OPENCL FP_CONTRACT OFF", "KERNEL(" + k.Entry + ","} {
				if k.CL != "" && !strings.Contains(k.CL, w) {
					t.Errorf("OpenCL source lacks %q", w)
				}
			}
			checkModule(t, k)
		})
	}
}

// checkModule reads, from the SPIR-V itself, the specialization ids, bindings and push constant offsets.
func checkModule(t *testing.T, k *Kernel) {
	t.Helper()
	const (
		magic            = 0x07230203
		headerWords      = 5
		opDecorate       = 71
		opMemberDecorate = 72
		decSpecID        = 1
		decBinding       = 33
		decOffset        = 35
	)
	if len(k.SPIRV) < 4*headerWords || len(k.SPIRV)%4 != 0 {
		t.Fatalf("module of %d bytes", len(k.SPIRV))
	}
	word := func(i int) uint32 { return binary.LittleEndian.Uint32(k.SPIRV[4*i:]) }
	if word(0) != magic {
		t.Fatalf("magic %#x", word(0))
	}
	ids := map[uint32]bool{}
	var bindings, paramEnd uint32
	for i := headerWords; i < len(k.SPIRV)/4; {
		op, n := word(i)&0xffff, int(word(i)>>16)
		switch {
		case n == 0:
			t.Fatalf("instruction without words at %d", i)
		case op == opDecorate && word(i+2) == decSpecID:
			ids[word(i+3)] = true
		case op == opDecorate && word(i+2) == decBinding:
			bindings = max(bindings, word(i+3)+1)
		case op == opMemberDecorate && word(i+3) == decOffset:
			paramEnd = max(paramEnd, word(i+4)+4)
		}
		i += n
	}
	if int(bindings) != k.Buffers {
		t.Errorf("module has %d bindings, Buffers is %d", bindings, k.Buffers)
	}
	if int(paramEnd) != k.ParamBytes {
		t.Errorf("module has %d bytes of push constants, ParamBytes is %d", paramEnd, k.ParamBytes)
	}
	for id := range ids {
		if int(id) >= len(k.Tunables) {
			t.Errorf("module has specialization constant %d, Tunables end at %d", id, len(k.Tunables)-1)
		}
	}
	for id := range uint32(dialect.FirstTunable) {
		if !ids[id] {
			t.Errorf("module lacks specialization constant %d of the work-group size", id)
		}
	}
}

func TestGetUnknown(t *testing.T) {
	if k, err := Get("no_such"); k != nil || !errors.Is(err, ErrKernel) {
		t.Errorf("Get = %v, %v, want ErrKernel", k, err)
	}
}

// TestTwins fails when a word is in one prelude only, those that end in _ apart: they are its own.
func TestTwins(t *testing.T) {
	words := func(file string) map[string]bool {
		data, err := files.ReadFile("src/" + file)
		if err != nil {
			t.Fatal(err)
		}
		set := map[string]bool{}
		both, _, _ := strings.Cut(string(data), "\n// Words of Vulkan alone")
		for _, m := range regexp.MustCompile(`(?m)^#define (\w*[^\W_])\b`).FindAllStringSubmatch(both, -1) {
			set[m[1]] = true
		}
		// OpenCL gets these as -D.
		for _, w := range []string{"LX", "LY", "LZ", "VW"} {
			set[w] = true
		}
		return set
	}
	gl, cl := words("prelude.glsl"), words("prelude.cl")
	for w := range gl {
		if !cl[w] {
			t.Errorf("%s is missing in prelude.cl", w)
		}
	}
	for w := range cl {
		if !gl[w] {
			t.Errorf("%s is missing in prelude.glsl", w)
		}
	}
}
