package gpu

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/gpu/hal"
)

// transferWords are the sizes of the self-test's transfers: less than copy engines like, odd ones, and more than a staging slot.
var transferWords = []int{1, 2, 3, 4, 5, 1023, 4096, stagingBytes/4 + 3}

// errTransfers says that a device was lost by its queues for transfers: opened again, it does without.
var errTransfers = errors.New("self-test of transfer queues")

// transfers sees whether queues for transfers can be used. One that fails goes no further than to say so.
func (t *tester) transfers() error {
	if t.dev.limits.TransferQueues == 0 {
		return nil
	}
	err := t.lost
	if err == nil {
		err = t.tryTransfers()
		switch {
		case err == nil || t.ctx.Err() != nil:
			return err
		case errors.Is(err, driver.ErrDeviceLost):
			return fmt.Errorf("%w: %w", errTransfers, err)
		}
	}
	t.proof.Transfers, t.passing = false, errors.Is(err, driver.ErrOutOfMemory)
	t.report("transfer queues", false, "%v: transfers go where kernels go", err)
	return nil
}

// tryTransfers: what goes up by a queue for transfers is what a kernel sees, and what that leaves comes down by one; a stream that
// moves from transfers to a kernel stays in order. Other values each time go through memory that was used before.
func (t *tester) tryTransfers() (err error) {
	queues := t.dev.limits.TransferQueues
	var opened []*stream
	defer func() {
		for _, s := range opened {
			err = errors.Join(err, s.Close())
		}
	}()
	open := func() (*stream, error) {
		s, err := t.dev.newStream(false)
		if err == nil {
			opened = append(opened, s)
		}
		return s, err
	}
	streams := make([]*stream, queues) // with a queue each, as they begin to transfer in turn
	for i := range streams {
		if streams[i], err = open(); err != nil {
			return err
		}
	}
	salt := uint32(0)
	try := func(up, work, down *stream, words int) (passed bool, err error) {
		salt++
		at, err := t.transfer(up, work, down, words, salt)
		if err != nil || at < 0 {
			return err == nil, err
		}
		t.report("transfer queues", false, "word %d of %d comes out wrong: transfers go where kernels go", at, words)
		return false, nil
	}
	for range 2 {
		for _, words := range transferWords {
			for i, up := range streams {
				if passed, err := try(up, t.stream, streams[(i+1)%queues], words); !passed {
					return err
				}
			}
		}
		s, err := open()
		if err != nil {
			return err
		}
		if passed, err := try(s, s, s, transferWords[len(transferWords)-1]); !passed {
			return err
		}
	}
	t.proof.Transfers = true
	t.report("transfer queues", true, "%d, up to %d words up and down", queues, transferWords[len(transferWords)-1])
	return nil
}

// transfer sends words up by one stream, through a kernel on another, and down by a third. Where two are one, nobody waits
// between. It returns the first word that is wrong, or -1.
func (t *tester) transfer(up, work, down *stream, words int, salt uint32) (wrong int, err error) {
	in := make([]byte, 4*words)
	for w := range words {
		binary.LittleEndian.PutUint32(in[4*w:], uint32(w+1)*2654435761+salt)
	}
	k, err := t.dev.kernel(t.ctx, "copy", 64, 1, 1)
	if err != nil {
		return 0, err
	}
	defer t.dev.release(k)
	cmds, err := t.dev.dispatches(k, [3]int{words, 1, 1}, func([3]int) any { return []uint32{uint32(words)} })
	if err != nil {
		return 0, err
	}
	src, err := t.dev.newBuffer(int64(len(in)))
	if err != nil {
		return 0, err
	}
	defer src.Free()
	dst, err := t.dev.newBuffer(int64(len(in)))
	if err != nil {
		return 0, err
	}
	defer dst.Free()
	for i := range cmds {
		cmds[i].Views = []hal.View{src.view, dst.view}
	}
	err = errors.Join(up.Fill(t.ctx, dst, 0xdeadbeef), up.Write(t.ctx, src, 0, in[:4]), up.Write(t.ctx, src, 4, in[4:]))
	if err != nil {
		return 0, err
	}
	if up != work {
		if err := up.Wait(t.ctx); err != nil {
			return 0, err
		}
	}
	e, err := work.run(t.ctx, cmds, src.ref, dst.ref)
	if err != nil {
		return 0, err
	}
	if work != down {
		if err := e.Wait(t.ctx); err != nil {
			return 0, err
		}
	}
	out := make([]byte, len(in))
	if err := errors.Join(down.Read(t.ctx, out[:4], dst, 0), down.Read(t.ctx, out[4:], dst, 4)); err != nil {
		return 0, err
	}
	for i := range words {
		if string(in[4*i:][:4]) != string(out[4*i:][:4]) {
			return i, nil
		}
	}
	return -1, nil
}
