package shaders

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// body is the text of a built-in file with one part replaced.
func body(t *testing.T, file, is, becomes string) *fstest.MapFile {
	t.Helper()
	text, err := files.ReadFile("src/" + file)
	if err != nil || !strings.Contains(string(text), is) {
		t.Fatalf("%s has no %q: %v", file, is, err)
	}
	return &fstest.MapFile{Data: []byte(strings.Replace(string(text), is, becomes, 1))}
}

// compiler leaves the test out where glslc is missing and need not be there.
func compiler(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("glslc"); err != nil {
		if os.Getenv("GONVOLVE_REQUIRE_DRIVERS") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// An overlay changes what its files say and nothing else; the built-in kernels stay.
func TestOverlay(t *testing.T) {
	compiler(t)
	dir := fstest.MapFS{
		"copy.k":         body(t, "copy.k", "KERNEL(", "// changed\nKERNEL("),
		"fma_check.k":    body(t, "fma_check.k", "", ""), // as it is
		"notes.txt":      {Data: []byte("left alone")},
		"old/conv_one.k": {Data: []byte("left alone")},
	}
	for _, forSPIRV := range []bool{false, true} {
		s, err := Overlay(dir, "mine", forSPIRV)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(s.Changed(), " "); got != "copy.k" {
			t.Errorf("changed: %s", got)
		}
		for _, was := range All() {
			k, err := s.Get(was.Name)
			if err != nil {
				t.Fatal(err)
			}
			if changed := was.Name == "copy"; (k.CL != was.CL) != changed || (len(k.SPIRV) == 0) != (changed && !forSPIRV) {
				t.Errorf("%s: OpenCL C changed %t, %d bytes of SPIR-V of %d", k.Name, k.CL != was.CL, len(k.SPIRV), len(was.SPIRV))
			}
		}
	}
	// common.inc is a part of each: every kernel is compiled again, when it is asked for.
	s, err := Overlay(fstest.MapFS{"common.inc": body(t, "common.inc", "", "\n")}, "mine", true)
	if err != nil {
		t.Fatal(err)
	}
	k, err := s.Get("pool")
	if was, _ := Get("pool"); err != nil || k.CL == was.CL || string(k.SPIRV) != string(was.SPIRV) {
		t.Errorf("an empty line more changes code: %v", err)
	}
}

// What cannot be run is refused, in words that say where.
func TestOverlayRefuses(t *testing.T) {
	compiler(t)
	for what, c := range map[string]struct {
		dir  fstest.MapFS
		says string
	}{
		"nothing":         {fstest.MapFS{"a.txt": {}}, "folder mine has no *.k"},
		"nothing changed": {fstest.MapFS{"copy.k": body(t, "copy.k", "", "")}, "differs"},
		"a typing error":  {fstest.MapFS{"conv_igem.k": {}}, "mine/conv_igem.k: nothing runs"},
		"more parameters": {fstest.MapFS{"copy.k": body(t, "copy.k", "PARAMS(", "PARAMS(int more; ")}, "mine/copy.k has PARAMS"},
		"other tunables":  {fstest.MapFS{"copy.k": body(t, "copy.k", "PARAMS(", "TUNABLE(3, MORE, 0)\nPARAMS(")}, "tunables"},
		"another name":    {fstest.MapFS{"copy.k": body(t, "copy.k", "KERNEL(copy", "KERNEL(copies")}, "copy.k: want exactly one KERNEL(copy"},
	} {
		if _, err := Overlay(c.dir, "mine", true); !errors.Is(err, ErrKernel) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", what, err)
		}
	}
	t.Setenv("PATH", t.TempDir())
	_, err := Overlay(fstest.MapFS{"copy.k": body(t, "copy.k", "KERNEL(", "\nKERNEL(")}, "mine", true)
	if !errors.Is(err, ErrKernel) || !strings.Contains(err.Error(), "apt-get install glslc") {
		t.Errorf("without glslc: %v", err)
	}
}

// The compiler's words come with the file and line of the author's source, wherever in it the mistake is.
func TestSourceError(t *testing.T) {
	compiler(t)
	for file, is := range map[string]string{"conv_direct.k": "KERNEL(", "common.inc": "FUNC float ", "prelude.glsl": "layout(local_size"} {
		fixed := body(t, file, is, "int wrong = nowhere;\n"+is)
		want := 1 + strings.Count(string(fixed.Data)[:strings.Index(string(fixed.Data), "int wrong")], "\n")
		s, err := Overlay(fstest.MapFS{file: fixed}, "mine", true)
		if err == nil {
			_, err = s.Get("conv_direct")
		}
		var at *SourceError
		if !errors.As(err, &at) || at.File != "mine/"+file || at.Line != want || !strings.Contains(at.Text, "nowhere") {
			t.Errorf("%s:%d: %v", file, want, err)
		}
	}
}

// Logs of compilers in their several forms.
func TestExplain(t *testing.T) {
	k, err := Get("copy")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Count(k.CL, "\n") - 1
	for log, want := range map[string]string{
		"input.cl:%d:7: error: unknown type name 'flot'\n":                      "copy.k:14:7: unknown type name 'flot'",
		"1 warning generated.\nerror: /tmp/a/b.cl:%d:7: no\nerror: b.cl:9:1: x": "copy.k:14:7: no (and 1 more)",
		"<kernel>:%d:7: fatal error: gone":                                      "copy.k:14:7: gone",
		"<program source>:3: Error: early":                                      "prelude.cl:3: early",
		"a.cl:99999:7: error: beyond":                                           "copy.k: beyond",
		"a.cl:99999999999999999999: error: far beyond":                          "copy.k: far beyond",
		"error: b.cl:%d:7 <Spelling=/c/b.cl:64:4>: undeclared":                  "copy.k:14:7: undeclared",
		"internal ERROR 7":                                                      "copy.k: compiler: internal ERROR 7",
		"":                                                                      "copy.k: compiler: the compiler gave no reason",
	} {
		log = strings.Replace(log, "%d", strconv.Itoa(lines), 1)
		if got := k.Explain(log); got.Error() != want {
			t.Errorf("%q: %v, want %s", log, got, want)
		}
	}
}
