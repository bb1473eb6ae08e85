// Package shaders holds the GPU kernels. Each body is written once, in the dialect of src/prelude.glsl and
// src/prelude.cl, and reaches both GPU APIs from the same file. It imports nothing of the project.
//
// README.md lists the words of the dialect and says how to add a kernel.
package shaders

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"

	"github.com/gonvolve/gonvolve/shaders/internal/dialect"
)

//go:generate go run ./gen

// ErrKernel is what Get's errors wrap.
var ErrKernel = errors.New("no such kernel")

// Kernel is one kernel body in both dialects. Kernels are shared: do not modify them.
type Kernel struct {
	Name       string
	Buffers    int       // number of buffers, bound in order
	ParamBytes int       // size of PARAMS
	Params     []Field   // the fields of PARAMS in order, four bytes each
	Tunables   []Tunable // compile-time constants: LX, LY, LZ (the work-group size) first, then the body's own
	SPIRV      []byte    // SPIR-V for Vulkan 1.1: tunables are specialization constants
	CL         string    // complete OpenCL C source: tunables are -D NAME=value, and so is VW, the vector width
}

// Field is one parameter of a kernel.
type Field struct {
	Name string
	Type string // int, uint or float
}

// Tunable is a compile-time constant of a kernel.
type Tunable struct {
	Name    string
	ID      int   // specialization constant id
	Default int32 // its value where nobody sets one
}

//go:embed src/*.k src/common.inc src/prelude.glsl src/prelude.cl spirv
var files embed.FS

// loaded is a kernel or the reason why there is none.
type loaded struct {
	kernel *Kernel
	err    error
}

var load = sync.OnceValues(func() (names []string, byName map[string]loaded) {
	byName = map[string]loaded{}
	bodies, _ := fs.Glob(files, "src/*.k") // its only error is a bad pattern
	for _, f := range bodies {
		name := strings.TrimSuffix(path.Base(f), ".k")
		k, err := loadKernel(name)
		names = append(names, name)
		byName[name] = loaded{k, err}
	}
	return names, byName
})

// Get returns the kernel with the name of its body's file.
func Get(name string) (*Kernel, error) {
	_, byName := load()
	k, ok := byName[name]
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrKernel, name)
	}
	return k.kernel, k.err
}

// All returns every usable kernel, by name.
func All() []*Kernel {
	names, byName := load()
	var all []*Kernel
	for _, n := range names {
		if k := byName[n]; k.err == nil {
			all = append(all, k.kernel)
		}
	}
	return all
}

func loadKernel(name string) (*Kernel, error) {
	body, err := files.ReadFile("src/" + name + ".k")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKernel, err)
	}
	d, err := dialect.Parse(name, string(body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKernel, err)
	}
	spirv, err := files.ReadFile("spirv/" + name + ".spv")
	if err != nil {
		return nil, fmt.Errorf("%w: %w: run go generate ./shaders", ErrKernel, err)
	}
	cl, err := source("prelude.cl", string(body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKernel, err)
	}

	k := &Kernel{
		Name:       name,
		Buffers:    len(d.Buffers),
		ParamBytes: 4 * len(d.Params),
		Tunables:   []Tunable{{"LX", 0, 1}, {"LY", 1, 1}, {"LZ", 2, 1}},
		SPIRV:      spirv,
		CL:         cl,
	}
	for _, f := range d.Params {
		k.Params = append(k.Params, Field(f))
	}
	for _, t := range d.Tunables {
		k.Tunables = append(k.Tunables, Tunable(t))
	}
	return k, nil
}

// source joins a prelude of src and the common functions with a body.
func source(prelude, body string) (string, error) {
	p, err := files.ReadFile("src/" + prelude)
	if err != nil {
		return "", err
	}
	c, err := files.ReadFile("src/common.inc")
	if err != nil {
		return "", err
	}
	return dialect.Assemble(string(p), string(c), body), nil
}
