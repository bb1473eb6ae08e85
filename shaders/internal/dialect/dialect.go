// Package dialect reads kernel bodies: what a body declares (parameters, buffers, tunables), and the complete source
// that each API's compiler gets. The generator uses it when it compiles, package shaders when it loads, so the two
// cannot disagree.
package dialect

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ErrBody is what errors about a malformed kernel body wrap.
var ErrBody = errors.New("malformed kernel body")

// FirstTunable is the id of a body's first own tunable: 0, 1 and 2 are LX, LY and LZ.
const FirstTunable = 3

// MaxParamBytes is what Vulkan promises for push constants.
const MaxParamBytes = 128

// Field is one parameter. Every type has four bytes, so that both APIs lay the parameters out alike.
type Field struct{ Name, Type string }

// Tunable is one compile-time constant.
type Tunable struct {
	Name    string
	ID      int
	Default int32
}

// Decl is what a body declares.
type Decl struct {
	Name     string
	Params   []Field
	Buffers  []string
	Tunables []Tunable // without LX, LY, LZ
	Variants []string  // beside the base, in which a body is compiled, too
}

var (
	comments    = regexp.MustCompile(`(?s)//[^\n]*|/\*.*?\*/`)
	kernelWord  = regexp.MustCompile(`\bKERNEL\(\s*(\w+)\s*,`)
	paramsWord  = regexp.MustCompile(`\bPARAMS\(([^)]*)\)`)
	fieldForm   = regexp.MustCompile(`^(int|uint|float)\s+(\w+)$`)
	bufferWord  = regexp.MustCompile(`\bBUF_(?:IN|OUT)\(\s*(\d+)\s*,\s*\w+\s*,\s*(\w+)\s*\)`)
	tunableWord = regexp.MustCompile(`\bTUNABLE\(\s*(\d+)\s*,\s*(\w+)\s*,\s*(-?\d+)\s*\)`)
	anyTunable  = regexp.MustCompile(`\bTUNABLE\(`)
	variantWord = regexp.MustCompile(`\bVARIANT\(\s*(\w*)\s*\)`)
	localWord   = regexp.MustCompile(`\bLOCAL_(GLOBAL|KERNEL)_SCOPE\(([^\n;]*)\)`)
)

// Parse reads the declarations of the body in the file NAME.k.
func Parse(name, body string) (Decl, error) {
	d := Decl{Name: name}
	fail := func(format string, args ...any) (Decl, error) {
		return Decl{}, fmt.Errorf("%w %s.k: %s", ErrBody, name, fmt.Sprintf(format, args...))
	}
	code := comments.ReplaceAllString(body, " ")

	k := kernelWord.FindAllStringSubmatch(code, -1)
	if len(k) != 1 || k[0][1] != name {
		return fail("want exactly one KERNEL(%s, …)", name)
	}

	p := paramsWord.FindAllStringSubmatch(code, -1)
	if len(p) != 1 {
		return fail("want exactly one PARAMS(…)")
	}
	for s := range strings.SplitSeq(p[0][1], ";") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		f := fieldForm.FindStringSubmatch(s)
		if f == nil {
			return fail("parameter %q: write one int, uint or float scalar a declaration", s)
		}
		d.Params = append(d.Params, Field{Name: f[2], Type: f[1]})
	}
	if n := 4 * len(d.Params); n == 0 || n > MaxParamBytes {
		return fail("%d bytes of parameters: want 4 to %d", n, MaxParamBytes)
	}

	for i, m := range bufferWord.FindAllStringSubmatch(code, -1) {
		if m[1] != strconv.Itoa(i) {
			return fail("buffer %s has number %s: number them 0, 1, 2 … in order", m[2], m[1])
		}
		d.Buffers = append(d.Buffers, m[2])
	}
	if len(d.Buffers) == 0 {
		return fail("no BUF_IN or BUF_OUT")
	}

	ts := tunableWord.FindAllStringSubmatch(code, -1)
	if len(ts) != len(anyTunable.FindAllString(code, -1)) {
		return fail("write TUNABLE(id, name, default) with decimal integers")
	}
	for i, m := range ts {
		if m[1] != strconv.Itoa(FirstTunable+i) {
			return fail("tunable %s has id %s: number them %d, %d … in order", m[2], m[1], FirstTunable, FirstTunable+1)
		}
		v, err := strconv.ParseInt(m[3], 10, 32)
		if err != nil {
			return fail("tunable %s: default %s is not an int", m[2], m[3])
		}
		d.Tunables = append(d.Tunables, Tunable{Name: m[2], ID: FirstTunable + i, Default: int32(v)})
	}

	for _, m := range variantWord.FindAllStringSubmatch(code, -1) {
		if !slices.Contains(variants, m[1]) || slices.Contains(d.Variants, m[1]) {
			return fail("VARIANT(%s): there are %s, each once", m[1], strings.Join(variants, ", "))
		}
		d.Variants = append(d.Variants, m[1])
	}

	// A body that declares local memory for one API only compiles for that one alone, or worse, for both.
	scope := map[string][]string{}
	for _, m := range localWord.FindAllStringSubmatch(code, -1) {
		scope[m[1]] = append(scope[m[1]], strings.Join(strings.Fields(m[2]), " "))
	}
	if g, k := strings.Join(scope["GLOBAL"], ";"), strings.Join(scope["KERNEL"], ";"); g != k {
		return fail("LOCAL_GLOBAL_SCOPE(%s) and LOCAL_KERNEL_SCOPE(%s) differ", g, k)
	}
	return d, nil
}

// Variants of bodies. All but dot have tensors with elements of 16 bits.
const (
	Half     = "half"
	Matrix   = "matrix"   // with cooperative matrices, for Vulkan alone; such a body has no base
	Emulated = "emulated" // does itself what the hardware does there
	Packed   = "packed"   // short sums of products in the device's f16 arithmetic
	Rounded  = "rounded"  // the same, rounding what f32 arithmetic gives
	Dot      = "dot"      // with the device's dot products of bytes
)

var variants = []string{Half, Matrix, Emulated, Packed, Rounded, Dot}

// halves says whether a variant's tensors have elements of 16 bits.
func halves(variant string) bool { return variant != "" && variant != Dot }

// NativeHalf is the tunable that such variants have after the body's own: 1, the device's own conversions are exact when it
// loads halves, 2, when it stores them.
const NativeHalf = "NATIVE_HALF"

// Builds are what a body is compiled in: the base, which is "", and its variants.
func (d Decl) Builds() []string {
	if slices.Contains(d.Variants, Matrix) {
		return d.Variants
	}
	return append([]string{""}, d.Variants...)
}

// OpenCL says whether a variant is one for OpenCL, too.
func OpenCL(variant string) bool { return variant != Matrix && variant != Emulated }

// Variant is the declaration of one of the body's variants, or of the base for "".
func (d Decl) Variant(variant string) Decl {
	if halves(variant) {
		d.Tunables = append(slices.Clip(d.Tunables), Tunable{NativeHalf, FirstTunable + len(d.Tunables), 0})
	}
	return d
}

// File is the name of a kernel's files without extension, and the kernel's own: the body's and the variant's.
func File(name, variant string) string {
	if variant == "" {
		return name
	}
	return name + "." + variant
}

// base is the line of a prelude that says what is compiled.
const base = "#define VARIANT_BASE"

// Assemble joins a prelude, the functions that all bodies share and a body into what a compiler gets for a variant. It moves
// no lines.
func (d Decl) Assemble(prelude, common, body, variant string) string {
	if variant != "" {
		prelude = strings.Replace(prelude, base, "#define VARIANT_"+strings.ToUpper(variant), 1)
	}
	if halves(variant) {
		prelude += fmt.Sprintf("TUNABLE(%d, %s, 0)", FirstTunable+len(d.Tunables), NativeHalf)
	}
	return prelude + "\n" + common + "\n" + body
}

// Hash identifies a source in the manifest.
func Hash(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// Entry is a kernel's line in the manifest.
type Entry struct {
	Source   string `json:"source"`             // Hash of the assembled GLSL
	SPIRV    string `json:"spirv"`              // Hash of the module
	Compiler string `json:"compiler,omitempty"` // that made it, where it is another than the manifest's
}

// Manifest says what the committed SPIR-V was made from.
type Manifest struct {
	Compiler string           `json:"compiler"`
	Flags    []string         `json:"flags"`
	Kernels  map[string]Entry `json:"kernels"`
}
