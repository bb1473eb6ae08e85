package tensorio

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/tiling"
)

const (
	window = 1 << 20 // bytes read or written at once; between them it can be cancelled
	page   = 4 << 10 // what disks and caches count in; a gap between rows of no more is read with them
)

// incomplete is what a file begins with until all of its elements are written.
const incomplete = "gonvolve: this array is not complete. The command that writes it, run again, goes on.\n"

// Array is an array in a .npy file, read or written in boxes: it need not fit in memory, of which it takes some windows of 1 MiB.
// One that was opened is a tiling.Source, one that was created a tiling.Sink. It is used by one goroutine at a time.
type Array struct {
	f     *os.File
	path  string
	typ   problem.DataType // of the tensors that it is read to
	info  npyInfo
	shape []int
	raw   []byte // the window
	size  int64  // of the file
	bulk  bulk
}

var (
	_ tiling.Source = (*Array)(nil)
	_ tiling.Sink   = (*Array)(nil)
)

// OpenArray opens an array to read as elements of the type, converted as ReadAs does. Close it.
func OpenArray(path string, typ problem.DataType) (*Array, error) {
	if format, err := FormatOf(path); err != nil {
		return nil, err
	} else if format != NPY {
		return nil, fmt.Errorf("%w: %s is a picture; a .npy file is needed", ErrFormat, path)
	}
	f, size, err := openRegular(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	info, err := readInfo(f, size)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	a := &Array{f: f, path: path, typ: typ, info: info, shape: info.shape, size: size}
	a.openBulk(os.O_RDONLY)
	return a, nil
}

// CreateArray makes a file for an array of the type and shape, or replaces it. The file has its size at once, so that a disk
// that is too full is noticed, and is no array until it is Completed.
func CreateArray(path string, typ problem.DataType, shape ...int) (*Array, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return nil, err
	}
	a, size, err := unfinished(f, path, typ, shape)
	if err == nil {
		err = reserve(f, size)
	}
	if err == nil {
		_, err = f.WriteAt(a.mark(), 0)
	}
	if err != nil {
		f.Close()
		os.Remove(path)
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	a.openBulk(os.O_WRONLY)
	return a, nil
}

// ReopenArray goes on with an array that was created and not completed.
func ReopenArray(path string, typ problem.DataType, shape ...int) (*Array, error) {
	f, got, err := openRegular(path, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	a, size, err := unfinished(f, path, typ, shape)
	if err == nil {
		begins := make([]byte, a.info.data)
		if got != size {
			err = fmt.Errorf("%w: it has %d bytes instead of %d", ErrFormat, got, size)
		} else if _, err = f.ReadAt(begins, 0); err == nil && !bytes.Equal(begins, a.mark()) && !bytes.Equal(begins, boxesHeader(typ, shape)) {
			err = fmt.Errorf("%w: it does not begin as an array that is not complete", ErrFormat)
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	a.openBulk(os.O_WRONLY)
	return a, nil
}

// unfinished is an array to be written, and the size of its file.
func unfinished(f *os.File, path string, typ problem.DataType, shape []int) (*Array, int64, error) {
	n, err := count(shape)
	if err != nil {
		return nil, 0, err
	}
	elem := elements[descrs[typ][1:]]
	data := int64(len(boxesHeader(typ, shape)))
	a := &Array{f: f, path: path, typ: typ, shape: slices.Clone(shape), info: npyInfo{elem: elem, order: binary.LittleEndian, shape: shape, data: data}}
	a.size = data + n*int64(elem.size)
	return a, a.size, nil
}

// mark is what stands where the header will.
func (a *Array) mark() []byte {
	return []byte(incomplete + strings.Repeat(" ", int(a.info.data)-len(incomplete)))
}

// Path is the file's name.
func (a *Array) Path() string { return a.path }

// Stat describes the file.
func (a *Array) Stat() (os.FileInfo, error) { return a.f.Stat() }

// ReadAt reads bytes of the file, its header's as well.
func (a *Array) ReadAt(p []byte, off int64) (n int, err error) {
	n = int(max(0, min(int64(len(p)), a.size-off)))
	if err := a.readAt(p[:n], off, n >= large); err != nil {
		return 0, a.wrap(err)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Type is the type of the elements as they are read or written.
func (a *Array) Type() problem.DataType { return a.typ }

// Shape is the sizes, outermost first. It must not be changed.
func (a *Array) Shape() []int { return a.shape }

// Lead gives the array sizes of 1 in front, until it has so many dimensions.
func (a *Array) Lead(rank int) {
	if n := rank - len(a.shape); n > 0 {
		a.shape = append(slices.Repeat([]int{1}, n), a.shape...)
	}
}

// Sync returns when what was written is on the disk.
func (a *Array) Sync() error { return a.wrap(a.f.Sync()) }

// Complete makes the file an array, once all of its elements are on the disk.
func (a *Array) Complete() error {
	err := a.f.Sync()
	if err == nil {
		_, err = a.f.WriteAt(boxesHeader(a.typ, a.info.shape), 0)
	}
	if err == nil {
		err = a.f.Sync()
	}
	return a.wrap(err)
}

// Close closes the file. An array that was not completed remains as it is.
func (a *Array) Close() error {
	return errors.Join(a.f.Close(), a.closeBulk())
}

// wrap names the file, unless the error does.
func (a *Array) wrap(err error) error {
	if named := new(fs.PathError); err == nil || errors.As(err, &named) && named.Path == a.path {
		return err
	}
	return fmt.Errorf("%s: %w", a.path, err)
}

// ReadBox implements tiling.Source.
func (a *Array) ReadBox(ctx context.Context, b tiling.Box, to *engine.Tensor, at []int) error {
	w, err := a.walk(b, to, at)
	if err != nil {
		return err
	}
	in := &reader{a: a, to: to, step: w.step, same: a.info.elem.stored && a.info.elem.typ == a.typ, set: setter(to)}
	l := newLanes(ctx)
	err = w.each(l.ctx, func(file, host int64) error {
		if w.rows == 1 || w.run*int64(a.info.elem.size) > window/2 {
			for r := range w.rows {
				if err := in.run(l, file+r*w.fileRow, host+r*w.hostRow, w.run); err != nil {
					return err
				}
			}
			return nil
		}
		return in.row(l.ctx, w, file, host)
	})
	return a.wrap(l.wait(err))
}

// reader is one ReadBox.
type reader struct {
	a    *Array
	to   *engine.Tensor
	step int64 // between elements of a run in the tensor
	same bool  // the tensor has the same elements as the file
	set  func(int, float64) bool
}

// offset is where an element stands in the file.
func (a *Array) offset(elem int64) int64 { return a.info.data + elem*int64(a.info.elem.size) }

// load reads bytes of the file into memory, past the cache if they are a part of much.
func (a *Array) load(elem int64, into []byte, much bool) error {
	err := a.readAt(into, a.offset(elem), much)
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: it has become shorter since it was opened", ErrFormat)
	}
	if err != nil {
		return fmt.Errorf("%w: elements: %w", ErrFormat, err)
	}
	return nil
}

// scratch is the window.
func (a *Array) scratch() []byte {
	if a.raw == nil {
		a.raw = make([]byte, window)
	}
	return a.raw
}

// run reads n neighbours, in lanes if they are many.
func (in *reader) run(l *lanes, file, host, n int64) error {
	size := int64(in.a.info.elem.size)
	straight, much := in.same && in.step == 1, n*size >= large
	for n > 0 {
		if err := l.ctx.Err(); err != nil {
			return err
		}
		most := int64(window)
		if straight {
			most = piece
		}
		// The next piece begins with a page: past the cache, a page in two pieces is read twice.
		k, at, cell := min(n, most/size-in.a.offset(file)%page/size), file, host
		read := func() error {
			if straight {
				into := in.to.Bytes()[cell*size:][:k*size]
				if err := in.a.load(at, into, much); err != nil {
					return err
				}
				in.order(into)
				return nil
			}
			raw := in.a.scratch()[:k*size]
			if err := in.a.load(at, raw, much); err != nil {
				return err
			}
			return in.place(raw, at, cell)
		}
		if straight && much {
			l.start(read)
		} else if err := read(); err != nil {
			return err
		}
		file, host, n = file+k, host+k*in.step, n-k
	}
	return nil
}

// row reads runs at even distances, several at once if there is not much between them.
func (in *reader) row(ctx context.Context, w *walk, file, host int64) error {
	size := int64(in.a.info.elem.size)
	together := int64(1)
	if gap := (w.fileRow - w.run) * size; gap <= max(w.run*size, page) {
		together = 1 + (window/size-w.run)/w.fileRow
	}
	for r := int64(0); r < w.rows; {
		if err := ctx.Err(); err != nil {
			return err
		}
		k := min(together, w.rows-r)
		raw := in.a.scratch()[:((k-1)*w.fileRow+w.run)*size]
		if err := in.a.load(file+r*w.fileRow, raw, false); err != nil {
			return err
		}
		for i := range k {
			if err := in.place(raw[i*w.fileRow*size:][:w.run*size], file+(r+i)*w.fileRow, host+(r+i)*w.hostRow); err != nil {
				return err
			}
		}
		r += k
	}
	return nil
}

// order turns elements that are in the tensor already into the machine's order of bytes.
func (in *reader) order(b []byte) {
	if (in.a.info.order == binary.LittleEndian) != littleEndian {
		swap(b, in.a.info.elem.size)
	}
}

// place brings neighbours of the file to the tensor.
func (in *reader) place(raw []byte, file, host int64) error {
	size := in.a.info.elem.size
	switch {
	case in.same && in.step == 1:
		to := in.to.Bytes()[host*int64(size):][:len(raw)]
		copy(to, raw)
		in.order(to)
	case in.same:
		in.order(raw)
		to := in.to.Bytes()
		for i := range len(raw) / size {
			copy(to[(host+int64(i)*in.step)*int64(size):][:size], raw[i*size:])
		}
	default:
		for i := range len(raw) / size {
			if v := in.a.info.elem.number(raw[i*size:], in.a.info.order); !in.set(int(host+int64(i)*in.step), v) {
				return notWhole(file+int64(i), v, in.a.typ)
			}
		}
	}
	return nil
}

// WriteBox implements tiling.Sink.
func (a *Array) WriteBox(ctx context.Context, b tiling.Box, from *engine.Tensor, at []int) error {
	w, err := a.walk(b, from, at)
	if err != nil {
		return err
	}
	size := int64(a.info.elem.size)
	l := newLanes(ctx)
	err = w.each(l.ctx, func(file, host int64) error {
		for r := range w.rows {
			part := from.Bytes()[(host+r*w.hostRow)*size:][:w.run*size]
			if err := a.store(l, a.offset(file+r*w.fileRow), part); err != nil {
				return err
			}
		}
		return nil
	})
	return a.wrap(l.wait(err))
}

// store writes neighbours to the file.
func (a *Array) store(l *lanes, off int64, part []byte) error {
	if littleEndian || a.info.elem.size == 1 {
		return a.writeAt(l, part, off)
	}
	for len(part) > 0 {
		now := a.scratch()[:copy(a.scratch(), part)]
		swap(now, a.info.elem.size)
		if _, err := a.f.WriteAt(now, off); err != nil {
			return err
		}
		part, off = part[len(now):], off+int64(len(now))
	}
	return nil
}
