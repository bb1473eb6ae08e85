package tensorio

import (
	"os"
	"sync"
	"sync/atomic"
	"unsafe"
)

// bulk is how large pieces of an array come from the disk and go there: past the system's cache, where that can be. What is
// read or written once would only push out of the cache what others use, and its pages cost the processor more time than the
// disk takes for them. What is in the cache already is taken from there.
type bulk struct {
	direct  *os.File    // the same file, for whole pages in memory that begins with a page; nil: all goes through the cache
	memory  []byte      // such memory, once it is needed …
	windows chan []byte // … in windows
	taken   sync.Once
	off     atomic.Bool // the file system has its reasons, or what is read is read again
	read    atomic.Int64
}

const (
	large    = 256 << 10 // bytes that have to be neighbours in the file for the cache to be of no use
	hugePage = 2 * window
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
	a.bulk.direct = f
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
	freePages(a.bulk.memory)
	err := a.bulk.direct.Close()
	a.bulk.direct = nil
	return err
}

// window is memory for what goes past the cache, until done is called.
func (a *Array) window() (w []byte, done func()) {
	b := &a.bulk
	b.taken.Do(func() {
		b.windows = make(chan []byte, atOnce)
		b.memory = takePages(atOnce*window + hugePage)
		// Of every page the disk has to be told: there are few if they can be huge.
		first := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b.memory))) % hugePage)
		for k := range atOnce {
			b.windows <- b.memory[first+k*window:][:window:window]
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

// readDirect reads some of p from the disk.
func (a *Array) readDirect(p []byte, off int64) (n int, err error) {
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
		part, at := p[:min(len(p), window)&^(page-1)], off
		l.start(func() error { return a.writeDirect(part, at) })
		p, off = p[len(part):], off+int64(len(part))
	}
	_, err := a.f.WriteAt(p, off)
	return err
}

// writeDirect writes whole pages to the disk, if that goes.
func (a *Array) writeDirect(p []byte, off int64) error {
	if a.past() {
		w, done := a.window()
		_, err := a.bulk.direct.WriteAt(w[:copy(w, p)], off)
		if done(); err == nil {
			return nil
		}
		a.bulk.off.Store(true)
	}
	_, err := a.f.WriteAt(p, off)
	return err
}
