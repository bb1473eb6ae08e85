package shaders

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/gonvolve/gonvolve/shaders/internal/dialect"
	"github.com/gonvolve/gonvolve/shaders/internal/spirv"
)

// Set is the kernels of a device: those that are built in, or with changes. It is safe for concurrent use.
type Set struct {
	src     fs.FS // has src/
	dir     string
	changed []string // files of src/ that are not the built-in ones
	spirv   bool     // SPIR-V is wanted of what they change

	names   []string
	kernels map[string]func() (*Kernel, error)
}

// shared are the files of src/ that every kernel is made of, beside its body.
var shared = []string{"prelude.glsl", "prelude.cl", "common.inc"}

// Overlay is the built-in set with the bodies (*.k), preludes and common.inc that the folder dir, which fsys shows, has
// instead. If SPIR-V is wanted, changed bodies are compiled at once, and what another file changes when it is first asked
// for. Where a source does not compile the error is a *SourceError.
func Overlay(fsys fs.FS, dir string, forSPIRV bool) (*Set, error) {
	src := &overlay{files, map[string][]byte{}}
	list, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("%w: folder %s: %w", ErrKernel, dir, err)
	}
	for _, f := range list {
		name := f.Name()
		if f.IsDir() || path.Ext(name) != ".k" && !slices.Contains(shared, name) {
			continue
		}
		was, err := files.ReadFile("src/" + name)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: nothing runs a kernel of this name; change one of %s", ErrKernel,
				filepath.Join(dir, name), strings.Join(BuiltIn().names, ", "))
		}
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrKernel, err)
		}
		if string(text) != string(was) {
			src.changed["src/"+name] = text
		}
	}
	if len(src.changed) == 0 {
		return nil, fmt.Errorf("%w: folder %s has no *.k, prelude.glsl, prelude.cl or common.inc that differs from what is built in",
			ErrKernel, dir)
	}
	s := newSet(src, dir, src.names())
	s.spirv = forSPIRV
	for _, name := range s.names {
		body, _, _ := strings.Cut(name, ".")
		if slices.Contains(s.changed, body+".k") {
			if _, err := s.Get(name); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

// overlay is a file system with some files changed.
type overlay struct {
	fs.FS
	changed map[string][]byte
}

// ReadFile implements fs.ReadFileFS.
func (o *overlay) ReadFile(name string) ([]byte, error) {
	if text, ok := o.changed[name]; ok {
		return slices.Clone(text), nil
	}
	return fs.ReadFile(o.FS, name)
}

func (o *overlay) names() (list []string) {
	for name := range o.changed {
		list = append(list, path.Base(name))
	}
	slices.Sort(list)
	return list
}

func newSet(src fs.FS, dir string, changed []string) *Set {
	s := &Set{src: src, dir: dir, changed: changed, kernels: map[string]func() (*Kernel, error){}}
	bodies, _ := fs.Glob(files, "src/*.k") // its only error is a bad pattern
	for _, f := range bodies {
		body := strings.TrimSuffix(path.Base(f), ".k")
		for _, variant := range variantsOf(body) {
			name := dialect.File(body, variant)
			s.names = append(s.names, name)
			s.kernels[name] = sync.OnceValues(func() (*Kernel, error) { return s.load(body, variant) })
		}
	}
	return s
}

// variantsOf lists what a built-in body is compiled in: the base, which is "", and its variants.
func variantsOf(body string) []string {
	if text, err := files.ReadFile("src/" + body + ".k"); err == nil {
		if d, err := dialect.Parse(body, string(text)); err == nil {
			return d.Builds()
		}
	}
	return []string{""} // whose error Get returns
}

// Changed lists the files that are not the built-in ones.
func (s *Set) Changed() []string { return s.changed }

// Get returns the kernel with the name of its body's file, or of that and a variant.
func (s *Set) Get(name string) (*Kernel, error) {
	get, ok := s.kernels[name]
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrKernel, name)
	}
	return get()
}

// All returns every usable kernel, by name.
func (s *Set) All() []*Kernel {
	var all []*Kernel
	for _, n := range s.names {
		if k, err := s.Get(n); err == nil {
			all = append(all, k)
		}
	}
	return all
}

// read returns files of src/ as text.
func (s *Set) read(names ...string) (texts []string, err error) {
	for _, name := range names {
		text, err := fs.ReadFile(s.src, "src/"+name)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrKernel, err)
		}
		texts = append(texts, string(text))
	}
	return texts, nil
}

func (s *Set) load(name, variant string) (*Kernel, error) {
	t, err := s.read("prelude.glsl", "prelude.cl", "common.inc", name+".k")
	if err != nil {
		return nil, err
	}
	glsl, cl, common, body := t[0], t[1], t[2], t[3]
	d, err := dialect.Parse(name, body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKernel, err)
	}
	k := &Kernel{
		Name:       dialect.File(name, variant),
		Entry:      name,
		Buffers:    len(d.Buffers),
		ParamBytes: 4 * len(d.Params),
		Tunables:   []Tunable{{"LX", 0, 1}, {"LY", 1, 1}, {"LZ", 2, 1}},
		Matrix:     variant == dialect.Matrix,
		Dot:        variant == dialect.Dot,
		Packed:     variant == dialect.Packed,
	}
	if dialect.OpenCL(variant) {
		k.CL = d.Assemble(cl, common, body, variant)
	}
	for _, f := range d.Params {
		k.Params = append(k.Params, Field(f))
	}
	for _, t := range d.Variant(variant).Tunables {
		k.Tunables = append(k.Tunables, Tunable(t))
	}
	k.cl = s.places(k.CL, "prelude.cl", common, name+".k", body)
	isChanged := func(file string) bool { return slices.Contains(s.changed, file) }
	if !isChanged(name+".k") && !isChanged("prelude.glsl") && !isChanged("common.inc") {
		if k.SPIRV, err = files.ReadFile("spirv/" + k.Name + ".spv"); err != nil {
			return nil, fmt.Errorf("%w: %w: run go generate ./shaders", ErrKernel, err)
		}
		return k, nil
	}
	if err := s.alike(k); err != nil {
		return nil, err
	}
	if s.spirv {
		if k.SPIRV, err = s.compile(k, d.Assemble(glsl, common, body, variant), common, body); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// alike refuses a changed kernel that declares something else than the built-in one: the code that runs it would bind
// other buffers and pass other parameters.
func (s *Set) alike(k *Kernel) error {
	was, err := Get(k.Name)
	if err != nil {
		return err
	}
	what := ""
	switch {
	case k.Buffers != was.Buffers:
		what = fmt.Sprintf("%d buffers, not %d", k.Buffers, was.Buffers)
	case !reflect.DeepEqual(k.Params, was.Params):
		what = fmt.Sprintf("PARAMS %v, not %v", k.Params, was.Params)
	case !reflect.DeepEqual(k.Tunables, was.Tunables):
		what = fmt.Sprintf("tunables %v, not %v", k.Tunables, was.Tunables)
	default:
		return nil
	}
	return fmt.Errorf("%w: %s has %s as package gpu runs it: change the code there, too, and go generate ./shaders",
		ErrKernel, filepath.Join(s.dir, k.Entry+".k"), what)
}

// compile makes a changed kernel's SPIR-V.
func (s *Set) compile(k *Kernel, glsl, common, body string) ([]byte, error) {
	var said *spirv.Error
	module, err := spirv.Compile("", k.Name, glsl)
	if errors.As(err, &said) {
		at := s.places(glsl, "prelude.glsl", common, k.Entry+".k", body)
		return nil, at.locate(said.Tool, said.Text)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrKernel, k.Name, err)
	}
	return module, nil
}
