// Command gen writes the assembly of package simd, by avo. It is run by go generate there; with -check it writes
// nothing and fails if the committed files are not what it would write.
//
// It is a module of its own, so that neither avo nor what avo needs becomes a dependency of those who import gonvolve.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
)

// asm is a file of assembly while it is written.
type asm struct{ *build.Context }

// files are what is generated, by the names without endings.
var files = []struct {
	name  string
	write func(asm)
}{
	{"avx512_amd64", avx512},
	{"vnni_amd64", vnni},
	{"quads_amd64", quads},
	{"avx2_amd64", avx2},
	{"windows_amd64", slides},
	{"dots_amd64", dots},
	{"winograd_amd64", winograd},
	{"integers_amd64", integers},
	{"activations_amd64", activations},
	{"fourier_amd64", fouriers},
}

func main() {
	dir := flag.String("dir", "..", "folder of package simd")
	check := flag.Bool("check", false, "compare with the files that are there, and write nothing")
	flag.Parse()
	if err := run(*dir, *check); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(dir string, check bool) error {
	for _, f := range files {
		a := asm{build.NewContext()}
		f.write(a)
		file, err := a.Result()
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		if err := pass.Compile.Execute(file); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		cfg := printer.Config{Name: "cpu/simd/gen", Pkg: "simd"}
		for ending, p := range map[string]printer.Printer{
			".s": printer.NewGoAsm(cfg), ".go": printer.NewStubs(cfg),
		} {
			text, err := p.Print(file)
			if err != nil {
				return fmt.Errorf("%s%s: %w", f.name, ending, err)
			}
			if err := emit(filepath.Join(dir, f.name+ending), text, check); err != nil {
				return err
			}
		}
	}
	return nil
}

var errStale = errors.New("stale: run go generate in cpu/simd")

func emit(path string, text []byte, check bool) error {
	if !check {
		return os.WriteFile(path, text, 0o644)
	}
	have, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !bytes.Equal(have, text) {
		return fmt.Errorf("%s is %w", path, errStale)
	}
	return nil
}

// align starts the following loop at a multiple of 32 bytes.
func (a asm) align() {
	a.Instruction(&ir.Instruction{Opcode: "PCALIGN", Operands: []operand.Op{operand.Imm(32)}})
}
