// Command gen compiles every kernel body to SPIR-V. It is run by go generate in package shaders; with -check it writes
// nothing and fails if the committed files are not what it would write.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gonvolve/gonvolve/shaders/internal/dialect"
	"github.com/gonvolve/gonvolve/shaders/internal/spirv"
)

func main() {
	dir := flag.String("dir", ".", "folder of package shaders")
	check := flag.Bool("check", false, "write nothing, fail if spirv/ is not current")
	newer := flag.String("tools", "",
		"folder of newer glslc, spirv-opt and spirv-val, for kernels that those on PATH cannot compile")
	flag.Parse()
	if err := run(*dir, *newer, *check); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(dir, newer string, check bool) error {
	c := compilers{dir: dir, newer: newer}
	if err := c.find(); err != nil {
		return err
	}
	files, genErr := c.compileAll()
	if check {
		return errors.Join(genErr, compare(dir, files))
	}
	// What compiles is written even if another body does not: one broken body must not hold up the others.
	return errors.Join(genErr, write(dir, files))
}

// compilers are the tools and what they left the last time.
type compilers struct {
	dir                   string
	newer                 string // folder of tools, or empty
	version, newerVersion string
	committed             dialect.Manifest
}

func (c *compilers) find() (err error) {
	if c.version, err = spirv.Version(""); err != nil {
		return err
	}
	if c.newer != "" {
		if c.newerVersion, err = spirv.Version(c.newer); err != nil {
			return err
		}
	}
	text, err := os.ReadFile(filepath.Join(c.dir, "spirv", "manifest.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(text, &c.committed)
	}
	return err
}

// compile makes a kernel's module. One that the tools cannot compile and newer ones could stays as it is while its source does.
func (c *compilers) compile(name, source string) ([]byte, dialect.Entry, error) {
	entry := dialect.Entry{Source: dialect.Hash([]byte(source))}
	module, err := spirv.Compile("", name, source)
	if err != nil && c.newer != "" {
		entry.Compiler = c.newerVersion
		module, err = spirv.Compile(c.newer, name, source)
	}
	if was := c.committed.Kernels[name]; err != nil && c.newer == "" && was.Compiler != "" && was.Source == entry.Source {
		entry.Compiler = was.Compiler
		module, err = os.ReadFile(filepath.Join(c.dir, "spirv", name+".spv"))
	} else if err != nil && was.Compiler != "" {
		err = fmt.Errorf("%w\n%s was made by %s: give its tools by -tools", err, name, was.Compiler)
	}
	entry.SPIRV = dialect.Hash(module)
	return module, entry, err
}

// compileAll returns the files of spirv/ by name.
func (c *compilers) compileAll() (map[string][]byte, error) {
	src := filepath.Join(c.dir, "src")
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
	files := map[string][]byte{}
	manifest := dialect.Manifest{Compiler: c.version, Flags: spirv.Flags(), Kernels: map[string]dialect.Entry{}}
	var errs []error
	for _, path := range bodies {
		body, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		name := strings.TrimSuffix(filepath.Base(path), ".k")
		d, err := dialect.Parse(name, string(body))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, v := range d.Builds() {
			name := dialect.File(name, v)
			module, entry, err := c.compile(name, d.Assemble(string(prelude), string(common), string(body), v))
			if err != nil {
				errs = append(errs, err)
				if was, ok := c.committed.Kernels[name]; ok && was.Compiler != "" { // stale, for the tools that made it
					if old, err := os.ReadFile(filepath.Join(c.dir, "spirv", name+".spv")); err == nil {
						files[name+".spv"], manifest.Kernels[name] = old, was
					}
				}
				continue
			}
			files[name+".spv"] = module
			manifest.Kernels[name] = entry
		}
	}
	m, err := json.MarshalIndent(manifest, "", "\t")
	if err != nil {
		return nil, err
	}
	files["manifest.json"] = append(m, '\n')
	return files, errors.Join(errs...)
}

// write makes spirv/ hold exactly the files.
func write(dir string, files map[string][]byte) error {
	folder := filepath.Join(dir, "spirv")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	old, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range old {
		if _, ok := files[e.Name()]; !ok {
			if err := os.Remove(filepath.Join(folder, e.Name())); err != nil {
				return err
			}
		}
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// compare reports each file of spirv/ that is not what the generator made.
func compare(dir string, files map[string][]byte) error {
	folder := filepath.Join(dir, "spirv")
	old, err := os.ReadDir(folder)
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
		if have, err := os.ReadFile(filepath.Join(folder, name)); err != nil || !bytes.Equal(have, data) {
			stale = append(stale, name)
		}
	}
	if len(stale) > 0 {
		return fmt.Errorf("stale: %s: run go generate ./shaders", strings.Join(stale, ", "))
	}
	return nil
}
