package dialect

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

const body = `// sum: TUNABLE(9, COMMENT, 1) and KERNEL(comment, ) do not count.
TUNABLE(3, TM, 8)
TUNABLE(4, TN, -1)
VARIANT(half) // VARIANT(comment)
PARAMS(
    int n; // a comment
    float scale; uint seed;
)
LOCAL_GLOBAL_SCOPE(float, tile, TM * LX)
KERNEL(sum,
    BUF_IN(0, float, src)
    BUF_OUT(1, VEC, dst)
) {
    LOCAL_KERNEL_SCOPE(float, tile,  TM * LX)
}
`

func TestParse(t *testing.T) {
	want := Decl{
		Name:     "sum",
		Params:   []Field{{"n", "int"}, {"scale", "float"}, {"seed", "uint"}},
		Buffers:  []string{"src", "dst"},
		Tunables: []Tunable{{"TM", 3, 8}, {"TN", 4, -1}},
		Variants: []string{Half},
	}
	got, err := Parse("sum", body)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Parse = %+v, %v, want %+v", got, err, want)
	}
}

func TestParseErrors(t *testing.T) {
	for name, edit := range map[string][2]string{
		"other name":          {"KERNEL(sum,", "KERNEL(total,"},
		"two kernels":         {"KERNEL(sum,", "KERNEL(sum, ) KERNEL(sum,"},
		"no parameters":       {"PARAMS(", "PARAM("},
		"empty parameters":    {"int n; // a comment\n    float scale; uint seed;", ""},
		"two in one":          {"int n;", "int n, m;"},
		"wide parameter":      {"int n;", "double n;"},
		"too many parameters": {"int n;", strings.Repeat("int n; ", 32)},
		"no buffers":          {"BUF_IN(0, float, src)\n    BUF_OUT(1, VEC, dst)", ""},
		"buffer numbers":      {"BUF_OUT(1,", "BUF_OUT(2,"},
		"tunable ids":         {"TUNABLE(4,", "TUNABLE(5,"},
		"tunable expression":  {"TM, 8)", "TM, 2 * 4)"},
		"tunable too large":   {"TM, 8)", "TM, 3000000000)"},
		"variant":             {"VARIANT(half)", "VARIANT(quarter)"},
		"variant twice":       {"VARIANT(half)", "VARIANT(half) VARIANT(half)"},
		"local memory":        {"tile,  TM * LX", "tile, TM"},
	} {
		t.Run(name, func(t *testing.T) {
			edited := strings.Replace(body, edit[0], edit[1], 1)
			if edited == body {
				t.Fatal("the edit changes nothing")
			}
			if d, err := Parse("sum", edited); !errors.Is(err, ErrBody) {
				t.Errorf("Parse = %+v, %v, want ErrBody", d, err)
			}
		})
	}
}

// A variant half has a tunable more and says what it is. All lines stay where they are.
func TestAssembleVariant(t *testing.T) {
	d, err := Parse("sum", body)
	if err != nil {
		t.Fatal(err)
	}
	want := []Tunable{{"TM", 3, 8}, {"TN", 4, -1}, {NativeHalf, 5, 0}}
	if got := d.Variant(Half).Tunables; !reflect.DeepEqual(got, want) {
		t.Errorf("tunables %v, want %v", got, want)
	}
	if got := d.Variant("").Tunables; !reflect.DeepEqual(got, want[:2]) {
		t.Errorf("the base's tunables %v, want %v", got, want[:2])
	}
	prelude := "#version 460\n#define VARIANT_BASE\nwords\n"
	half := "#version 460\n#define VARIANT_HALF\nwords\nTUNABLE(5, NATIVE_HALF, 0)\ncommon\nbody"
	if got := d.Assemble(prelude, "common", "body", Half); got != half {
		t.Errorf("assembled %q, want %q", got, half)
	}
	if got := d.Assemble(prelude, "common", "body", ""); got != prelude+"\ncommon\nbody" {
		t.Errorf("the base is %q", got)
	}
}
