package tensorio

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
)

func TestFormatOf(t *testing.T) {
	for path, want := range map[string]Format{"a.npy": NPY, "A.NPY": NPY, "x/y.z.PnG": PNG, "a.jpg": JPEG, "a.JPEG": JPEG} {
		if got, err := FormatOf(path); got != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", path, got, err, want)
		}
	}
	for _, path := range []string{"", "npy", "a.npz", "a.gif", "a.png.bak", "dir.npy/x"} {
		_, err := FormatOf(path)
		oneLine(t, err, ErrFormat)
		if err != nil && !strings.Contains(err.Error(), ".npy, .png, .jpg or .jpeg") {
			t.Errorf("%v does not say what is supported", err)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	dir := t.TempDir()
	_, err := Read(filepath.Join(dir, "none.npy"))
	oneLine(t, err, fs.ErrNotExist)
	folder := filepath.Join(dir, "folder.npy")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = Read(folder)
	oneLine(t, err, ErrFormat)
	_, err = Read("x.tiff")
	oneLine(t, err, ErrFormat)
	text := filepath.Join(dir, "text.png")
	if err := os.WriteFile(text, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Read(text)
	oneLine(t, err, ErrFormat)
	if err != nil && !strings.Contains(err.Error(), text) {
		t.Errorf("%v does not name the file", err)
	}
}

func TestWriteRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		file  string
		shape []int
	}{
		{"a.png", []int{2, 3, 4, 4}}, {"a.png", []int{0, 3, 4, 4}}, {"a.png", []int{1, 2, 4, 4}}, {"a.png", []int{4, 4, 4}}, {"a.png", []int{5}},
		{"a.png", nil}, {"a.png", []int{1, 1, 3, 4, 4}}, {"a.png", []int{0, 4}}, {"a.png", []int{4, 0}}, {"a.jpg", []int{1, 70000}},
		{"a.gif", []int{4, 4}}, {"a", []int{4, 4}},
	} {
		x, err := engine.NewTensor(problem.F32, c.shape...)
		if err != nil {
			t.Fatal(err)
		}
		oneLine(t, Write(filepath.Join(dir, c.file), x, Options{}), ErrFormat)
		oneLine(t, Check(filepath.Join(dir, c.file), c.shape), ErrFormat)
	}
	oneLine(t, Write(filepath.Join(dir, "none", "a.npy"), tensor(t, []float32{1}, 1, 1), Options{}), fs.ErrNotExist)
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left in the folder: %v, %v", left, err)
	}
}

// A failed write leaves what was there, and nothing beside it.
func TestWriteIsAllOrNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.png")
	if err := Write(path, tensor(t, []float32{1}, 1, 1), Options{}); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(path, tensor(t, []float32{9}, 1, 1), Options{}); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(before) == string(after) {
		t.Error("the second write did not replace the first")
	}
	// A folder in the way cannot be replaced.
	inTheWay := filepath.Join(dir, "folder.png")
	if err := os.MkdirAll(filepath.Join(inTheWay, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Write(inTheWay, tensor(t, []float32{1}, 1, 1), Options{}); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("write over a folder: %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("left in the folder: %v, %v", left, err)
	}
}

func TestParseMapping(t *testing.T) {
	for _, m := range []Mapping{Clamp, Abs, Scale} {
		if got, err := ParseMapping(m.String()); got != m || err != nil {
			t.Errorf("%v: %v, %v", m, got, err)
		}
	}
	if _, err := ParseMapping("Clamp"); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("Clamp: %v", err)
	}
}

// A picture is read as any type that holds its samples, and tensors of any type are written as one.
func TestPicturesOfTypes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.png")
	for _, typ := range []problem.DataType{problem.F32, problem.F16, problem.U8, problem.S32} {
		x, err := engine.NewTensor(typ, 1, 1, 1, 3)
		if err != nil {
			t.Fatal(err)
		}
		if err := x.Narrow([]float32{0, 100, 255}); err != nil {
			t.Fatal(err)
		}
		if err := Write(path, x, Options{}); err != nil {
			t.Fatal(err)
		}
		got, err := ReadAs(path, typ)
		if err != nil || got.Type() != typ || !bytes.Equal(got.Bytes(), x.Bytes()) {
			t.Errorf("%v: %v, %v", typ, got, err)
		}
	}
	_, err := ReadAs(path, problem.S8)
	oneLine(t, err, ErrFormat)
	if typ, err := TypeOf(path); typ != problem.F32 || err != nil {
		t.Errorf("a picture is of %v, %v", typ, err)
	}
	_, err = TypeOf(path + ".npy")
	oneLine(t, err, fs.ErrNotExist)
}
