package tensorio

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// ErrFormat is what errors about a file's name or contents wrap: it is no tensor file, a damaged one, one of a kind that
// is not understood, or the tensor cannot be expressed in it.
var ErrFormat = errors.New("unusable file")

// MaxPixels is the size of the largest picture that is read or written.
const MaxPixels = 1 << 28

// Format is a file format.
type Format string

// The formats.
const (
	NPY  Format = "npy"
	PNG  Format = "png"
	JPEG Format = "jpeg"
)

// Picture says whether the format holds pictures.
func (f Format) Picture() bool { return f == PNG || f == JPEG }

// FormatOf tells the format by the extension of the file's name.
func FormatOf(path string) (Format, error) {
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".npy":
		return NPY, nil
	case ".png":
		return PNG, nil
	case ".jpg", ".jpeg":
		return JPEG, nil
	case "":
		return "", fmt.Errorf("%w: %s has no extension; use .npy, .png, .jpg or .jpeg", ErrFormat, path)
	default:
		return "", fmt.Errorf("%w: %s: extension %q is not supported; use .npy, .png, .jpg or .jpeg", ErrFormat, path, ext)
	}
}

// Mapping brings a tensor's values into a picture's range of 0 to 255.
type Mapping uint8

// The mappings.
const (
	Clamp Mapping = iota // as they are: below 0 is black, above 255 is white
	Abs                  // absolute values: the strength of an edge, whichever its direction
	Scale                // the least finite value becomes 0, the greatest 255; equal values become 0
)

func (m Mapping) String() string {
	if int(m) < len(mappings) {
		return mappings[m]
	}
	return "Mapping(" + strconv.Itoa(int(m)) + ")"
}

var mappings = []string{"clamp", "abs", "scale"}

// ParseMapping finds a mapping by its String.
func ParseMapping(text string) (Mapping, error) {
	for i, name := range mappings {
		if name == text {
			return Mapping(i), nil
		}
	}
	return 0, fmt.Errorf("%w: mapping %q; there are %s", engine.ErrInvalid, text, strings.Join(mappings, ", "))
}

// Options of Write. The zero value clamps.
type Options struct {
	Mapping     Mapping // of pictures
	JPEGQuality int     // 1 to 100; 0 is 95
}

// Read reads a tensor from a file.
func Read(path string) (*engine.Tensor, error) {
	format, err := FormatOf(path)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is not a regular file, whose size could be checked; copy it to one", ErrFormat, path)
	}
	var t *engine.Tensor
	if format == NPY {
		t, err = readNPY(f, st.Size())
	} else {
		t, err = readPicture(f, format, MaxPixels)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// Check says whether Write could express a tensor of the shape in the file, before there is one.
func Check(path string, shape []int) error {
	format, err := FormatOf(path)
	if err != nil {
		return err
	}
	if format.Picture() {
		if _, _, _, err := pictureSize(format, shape); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// Write writes a tensor to a file. The file appears, or replaces what was there, when it is complete.
func Write(path string, t *engine.Tensor, o Options) error {
	if err := Check(path, t.Shape()); err != nil {
		return err
	}
	if t.Type() != problem.F32 {
		return fmt.Errorf("%w: %s: tensors of type %v cannot be written; convert it to f32", ErrFormat, path, t.Type())
	}
	format, err := FormatOf(path)
	if err != nil {
		return err
	}
	return replace(path, func(w io.Writer) error {
		if format == NPY {
			return writeNPY(w, t)
		}
		return writePicture(w, format, t, o)
	})
}

// replace writes a temporary file beside path and renames it.
func replace(path string, write func(io.Writer) error) (err error) {
	// Not os.CreateTemp, whose files only their owner may read.
	temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+strconv.FormatUint(rand.Uint64(), 36))
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			os.Remove(temp)
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	w := bufio.NewWriterSize(f, 1<<16)
	err = write(w)
	if err == nil {
		err = w.Flush()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	return err
}
