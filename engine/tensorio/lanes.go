package tensorio

import (
	"cmp"
	"context"
	"sync"
)

// atOnce is how many pieces of a file are on their way at a time: a disk that has the next one at hand when one is done does
// not stand still in between. Disks of virtual machines tell of several that are done at once.
const atOnce = 8

// lanes do things side by side, until one fails.
type lanes struct {
	ctx  context.Context
	stop context.CancelFunc
	busy chan struct{}
	wg   sync.WaitGroup

	mu  sync.Mutex
	err error // the first
}

func newLanes(ctx context.Context) *lanes {
	l := &lanes{busy: make(chan struct{}, atOnce)}
	l.ctx, l.stop = context.WithCancel(ctx)
	return l
}

// start does f as soon as there is a lane for it, unless it is too late.
func (l *lanes) start(f func() error) {
	select {
	case l.busy <- struct{}{}:
	case <-l.ctx.Done():
		return
	}
	l.wg.Go(func() {
		defer func() { <-l.busy }()
		if err := f(); err != nil {
			l.fail(err)
		}
	})
}

func (l *lanes) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
	l.stop()
}

// wait waits for all of them, and returns the first error: err, one of theirs, or the context's.
func (l *lanes) wait(err error) error {
	defer l.stop()
	if err != nil && l.ctx.Err() == nil {
		l.fail(err)
	}
	l.wg.Wait()
	return cmp.Or(l.err, err, l.ctx.Err())
}
