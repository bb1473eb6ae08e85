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

// Read reads a tensor from a file, as f32 whatever its elements are.
func Read(path string) (*engine.Tensor, error) { return ReadAs(path, problem.F32) }

// ReadAs reads a tensor of the type from a file. To f32 and f16 every number is rounded to nearest, ties to even;
// integers must be the very numbers of the file, else it is refused.
func ReadAs(path string, typ problem.DataType) (t *engine.Tensor, err error) {
	err = open(path, func(f *os.File, format Format, size int64) error {
		if format == NPY {
			t, err = readNPY(f, size, typ)
			return err
		}
		if t, err = readPicture(f, format, MaxPixels); err == nil {
			t, err = as(t, typ)
		}
		return err
	})
	return t, err
}

// TypeOf is the type of tensor that has the elements of the file as they are, or comes closest: u8 for bool, s32 for
// other integers, f32 for float64 and for pictures.
func TypeOf(path string) (typ problem.DataType, err error) {
	err = open(path, func(f *os.File, format Format, size int64) error {
		if format != NPY {
			return nil
		}
		h, _, err := readHeader(f, size)
		if err != nil {
			return err
		}
		e, _, err := elementOf(h.Descr.Type)
		typ = e.typ
		return err
	})
	return typ, err
}

// ShapeOf is the shape of an array, of which no more than the header is read.
func ShapeOf(path string) (shape []int, err error) {
	err = open(path, func(f *os.File, format Format, size int64) error {
		if format != NPY {
			return fmt.Errorf("%w: it is a picture; a .npy file is needed", ErrFormat)
		}
		i, err := readInfo(f, size)
		shape = i.shape
		return err
	})
	return shape, err
}

// open calls read with the open file.
func open(path string, read func(f *os.File, format Format, size int64) error) error {
	format, err := FormatOf(path)
	if err != nil {
		return err
	}
	f, size, err := openRegular(path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := read(f, format, size); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// openRegular opens a file that has a size.
func openRegular(path string, flag int) (*os.File, int64, error) {
	// Before it is opened, because that may wait forever for the other end of a pipe.
	if st, err := os.Stat(path); err != nil {
		return nil, 0, err
	} else if !st.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%w: %s is not a regular file, whose size could be checked; copy it to one", ErrFormat, path)
	}
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, st.Size(), nil
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
