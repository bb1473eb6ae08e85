package tensorio

import (
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/gonvolve/gonvolve/engine/machine"
)

// bulk is how large pieces of an array come from the disk and go there: past the system's cache, where that can be. What is
// read or written once would only push out of the cache what others use, and its pages cost the processor more time than the
// disk takes for them. What is in the cache already is taken from there.
//
// Where a page of the file is to come to memory that the disk can write to, it does, and the processor has nothing to do with it:
// so arrays that are written in boxes begin with a page, and large tensors with a huge one. Else it goes through windows.
type bulk struct {
	direct  *os.File    // the same file, for whole pages in memory of the alignment; nil: all goes through the cache
	align   uintptr     // of memory
	windows chan []byte // such memory, once it is needed
	taken   sync.Once
	off     atomic.Bool // the file system has its reasons, or what is read is read again
	copies  atomic.Bool // the disk cannot get at tensors
	read    atomic.Int64
}

const (
	large = 256 << 10  // bytes that have to be neighbours in the file for the cache to be of no use
	piece = 4 * window // bytes that are read or written at once, if that can be in place
)

// openBulk opens the file once more, past the cache.
func (a *Array) openBulk(flag int) {
	f, err := openDirect(a.path, flag)
	if err != nil {
		return
	}
	if !sameFile(a.f, f) {
		f.Close()
		return
	}
	a.bulk.direct, a.bulk.align = f, directAlign(f)
}

func sameFile(a, b *os.File) bool {
	x, err := a.Stat()
	if err != nil {
		return false
	}
	y, err := b.Stat()
	return err == nil && os.SameFile(x, y)
}

// closeBulk gives everything back.
func (a *Array) closeBulk() error {
	if a.bulk.direct == nil {
		return nil
	}
	err := a.bulk.direct.Close()
	a.bulk.direct = nil
	return err
}

// window is memory for what goes past the cache, until done is called.
func (a *Array) window() (w []byte, done func()) {
	b := &a.bulk
	b.taken.Do(func() {
		b.windows = make(chan []byte, atOnce)
		memory := machine.Alloc(max(atOnce*window, machine.Large))
		for k := range atOnce {
			b.windows <- memory[k*window:][:window:window]
		}
	})
	w = <-b.windows
	return w, func() { b.windows <- w }
}

// past says whether to go past the cache. If that fails once it is given up: if it is the file's fault, it comes again.
func (a *Array) past() bool { return a.bulk.direct != nil && !a.bulk.off.Load() }

// readAt fills p from the file, past the cache if it is a part of much. It may be called in several lanes.
func (a *Array) readAt(p []byte, off int64, much bool) error {
	if a.bulk.read.Add(int64(len(p))) > a.size/2*3 {
		a.bulk.off.Store(true)
	}
	for much && len(p) > 0 && a.past() {
		all, known := inCache(a.f, off, int64(len(p)))
		if all {
			break
		}
		n, err := a.readDirect(p, off)
		if !known || err != nil || n == 0 {
			a.bulk.off.Store(true)
		}
		p, off = p[n:], off+int64(n)
	}
	_, err := a.f.ReadAt(p, off)
	return err
}

// inPlace is how much of p the disk can get at itself, beginning with this page of the file.
func (a *Array) inPlace(p []byte, off int64) (n int) {
	if off%page != 0 || uintptr(unsafe.Pointer(unsafe.SliceData(p)))%a.bulk.align != 0 || a.bulk.copies.Load() {
		return 0
	}
	return len(p) &^ (page - 1)
}

// readDirect reads some of p from the disk.
func (a *Array) readDirect(p []byte, off int64) (n int, err error) {
	if n = a.inPlace(p, off); n > 0 {
		if n, err = a.bulk.direct.ReadAt(p[:n], off); n > 0 {
			return n, nil
		}
		a.bulk.copies.Store(true)
	}
	w, done := a.window()
	defer done()
	before := int(off % page)
	end := min((before+len(p)+page-1)/page*page, len(w))
	got, err := a.bulk.direct.ReadAt(w[:end], off-int64(before))
	if n = copy(p, w[min(before, got):got]); n > 0 {
		err = nil // the end of the file is an error to ReadAt
	}
	return n, err
}

// writeAt writes p to the file, whole pages of what is large in lanes. The pages at its ends are its neighbours' as well, and
// better off in the cache.
func (a *Array) writeAt(l *lanes, p []byte, off int64) error {
	head := len(p)
	if len(p) >= large && a.past() {
		head = int(-off & (page - 1))
	}
	if _, err := a.f.WriteAt(p[:head], off); err != nil {
		return err
	}
	p, off = p[head:], off+int64(head)
	for len(p) >= page {
		part, at := p[:min(len(p), piece)&^(page-1)], off
		l.start(func() error { return a.writePages(part, at) })
		p, off = p[len(part):], off+int64(len(part))
	}
	_, err := a.f.WriteAt(p, off)
	return err
}

// writePages writes whole pages, past the cache if that goes.
func (a *Array) writePages(p []byte, off int64) error {
	for len(p) > 0 && a.past() {
		n, err := a.writeDirect(p, off)
		if err != nil {
			a.bulk.off.Store(true)
		}
		p, off = p[n:], off+int64(n)
	}
	_, err := a.f.WriteAt(p, off)
	return err
}

// writeDirect writes some of p, whole pages, to the disk.
func (a *Array) writeDirect(p []byte, off int64) (n int, err error) {
	if n = a.inPlace(p, off); n > 0 {
		if _, err = a.bulk.direct.WriteAt(p[:n], off); err == nil {
			return n, nil
		}
		a.bulk.copies.Store(true)
	}
	w, done := a.window()
	defer done()
	w = w[:copy(w, p)]
	if _, err = a.bulk.direct.WriteAt(w, off); err != nil {
		return 0, err
	}
	return len(w), nil
}
