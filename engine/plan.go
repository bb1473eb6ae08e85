package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// Plan is a problem compiled for a device: it knows its algorithm and what memory it will take, and holds compiled
// kernels and packed weights. It is safe for concurrent use.
type Plan struct {
	dev      *Device
	p        problem.Problem
	d        driver.Plan
	fallback *Fallback

	mu      sync.RWMutex
	weights driver.Weights
	closed  bool
}

// Problem is what the plan computes.
func (pl *Plan) Problem() problem.Problem { return pl.p }

// Device is where the plan runs: the device that made it, or the one that it fell back to.
func (pl *Plan) Device() *Device { return pl.dev }

// Fallback is nil, or why the plan is for another device than asked.
func (pl *Plan) Fallback() *Fallback { return pl.fallback }

// Info is the algorithm, tile and memory.
func (pl *Plan) Info() driver.PlanInfo { return pl.d.Info() }

// Close frees what the plan holds, once runs in flight are done with it.
func (pl *Plan) Close() error {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	if pl.closed {
		return nil
	}
	pl.closed = true
	if pl.weights != nil {
		pl.weights.Free()
	}
	return pl.d.Close()
}

// check compares a tensor's shape with the problem's.
func check(what string, got, want []int) error {
	if !slices.Equal(got, want) {
		return fmt.Errorf("%w: %s has shape %v, the problem wants %v", ErrInvalid, what, got, want)
	}
	return nil
}

// SetWeights uploads and packs weights and bias (nil if the problem has none). Runs that were started before keep the
// weights they had.
func (pl *Plan) SetWeights(ctx context.Context, wei, bia *Tensor) error {
	if pl.p.Op == problem.Pool {
		return fmt.Errorf("%w: pooling has no weights", ErrInvalid)
	}
	if wei == nil || (bia == nil) == pl.p.Bias {
		return fmt.Errorf("%w: weights are needed, and a bias if and only if the problem has one", ErrInvalid)
	}
	if err := check("wei", wei.Shape(), pl.p.WeiShape()); err != nil {
		return err
	}
	if bia != nil {
		if err := check("bia", bia.Shape(), pl.p.BiaShape()); err != nil {
			return err
		}
	}
	s, err := pl.dev.NewStream()
	if err != nil {
		return err
	}
	defer s.Close()
	dw, err := s.Upload(ctx, wei)
	if err != nil {
		return err
	}
	defer dw.Free()
	var db driver.Buffer
	if bia != nil {
		t, err := s.Upload(ctx, bia)
		if err != nil {
			return err
		}
		defer t.Free()
		db = t.buf
	}
	packed, ev, err := pl.d.Pack(ctx, s.d, dw.buf, db)
	if err != nil {
		return fmt.Errorf("%s: %w", pl.dev.spec, err)
	}
	if err := ev.Wait(ctx); err != nil {
		packed.Free()
		return fmt.Errorf("%s: %w", pl.dev.spec, err)
	}
	pl.mu.Lock()
	defer pl.mu.Unlock()
	if pl.closed {
		packed.Free()
		return fmt.Errorf("plan: %w", ErrClosed)
	}
	if pl.weights != nil {
		pl.weights.Free()
	}
	pl.weights = packed
	return nil
}

// Run computes dst from src, both on the plan's device, on the stream, and returns without waiting.
func (pl *Plan) Run(ctx context.Context, s *Stream, src, dst *DeviceTensor) (*Event, error) {
	if src.dev != pl.dev || dst.dev != pl.dev || s.dev != pl.dev {
		return nil, fmt.Errorf("%w: stream and tensors must be of the plan's device %s", ErrInvalid, pl.dev.spec)
	}
	if err := check("src", src.shape, pl.p.SrcShape()); err != nil {
		return nil, err
	}
	if err := check("dst", dst.shape, pl.p.DstShape()); err != nil {
		return nil, err
	}
	// Held while the driver takes its own hold of the weights, so that SetWeights and Close cannot free them between.
	pl.mu.RLock()
	defer pl.mu.RUnlock()
	if pl.closed {
		return nil, fmt.Errorf("plan: %w", ErrClosed)
	}
	if pl.p.Op != problem.Pool && pl.weights == nil {
		return nil, fmt.Errorf("%w: the plan has no weights yet; call SetWeights", ErrInvalid)
	}
	ev, err := pl.d.Run(ctx, s.d, driver.Args{Src: src.buf, Dst: dst.buf, Weights: pl.weights})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", pl.dev.spec, err)
	}
	return &Event{pl.dev, ev}, nil
}

// RunHost uploads src, runs, and downloads the result.
func (pl *Plan) RunHost(ctx context.Context, src *Tensor) (*Tensor, error) {
	if err := check("src", src.Shape(), pl.p.SrcShape()); err != nil {
		return nil, err
	}
	out, err := NewTensor(pl.p.Type, pl.p.DstShape()...)
	if err != nil {
		return nil, err
	}
	s, err := pl.dev.NewStream()
	if err != nil {
		return nil, err
	}
	defer s.Close()
	in, err := s.Upload(ctx, src)
	if err != nil {
		return nil, err
	}
	defer in.Free()
	dst, err := pl.dev.NewTensor(pl.p.DstShape()...)
	if err != nil {
		return nil, err
	}
	defer dst.Free()
	ev, err := pl.Run(ctx, s, in, dst)
	if err != nil {
		return nil, err
	}
	if err := s.Download(ctx, out, dst); err != nil {
		return nil, err
	}
	// A run that failed or was cancelled half way leaves a partial result behind.
	if err := ev.Wait(ctx); err != nil {
		return nil, err
	}
	return out, nil
}

// Stream is an in-order queue of work on a device. It is safe for concurrent use.
type Stream struct {
	dev *Device
	d   driver.Stream
}

// NewStream makes a stream.
func (d *Device) NewStream() (*Stream, error) {
	s, err := d.d.NewStream()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.spec, err)
	}
	return &Stream{d, s}, nil
}

func (s *Stream) wrap(err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", s.dev.spec, err)
	}
	return nil
}

// Upload makes a device tensor of the host's.
func (s *Stream) Upload(ctx context.Context, t *Tensor) (*DeviceTensor, error) {
	if t.Type() != problem.F32 {
		return nil, fmt.Errorf("%w: tensors of type %v cannot be uploaded", ErrUnsupported, t.Type())
	}
	dt, err := s.dev.NewTensor(t.Shape()...)
	if err != nil {
		return nil, err
	}
	if err := s.Write(ctx, dt, t); err != nil {
		dt.Free()
		return nil, err
	}
	return dt, nil
}

// Write copies the host's tensor to a device tensor of the same shape. The host's may be reused at return.
func (s *Stream) Write(ctx context.Context, dst *DeviceTensor, src *Tensor) error {
	if err := check("source", src.Shape(), dst.shape); err != nil {
		return err
	}
	return s.wrap(s.d.Write(ctx, dst.buf, 0, src.Bytes()))
}

// Download copies a device tensor to the host's of the same shape, after everything before it on the stream.
func (s *Stream) Download(ctx context.Context, dst *Tensor, src *DeviceTensor) error {
	if err := check("destination", dst.Shape(), src.shape); err != nil {
		return err
	}
	return s.wrap(s.d.Read(ctx, dst.Bytes(), src.buf, 0))
}

// Poison fills a device tensor with NaNs, so that elements nobody writes show.
func (s *Stream) Poison(ctx context.Context, t *DeviceTensor) error {
	return s.wrap(s.d.Fill(ctx, t.buf, 0x7fc0dead))
}

// Wait returns when everything submitted so far is done.
func (s *Stream) Wait(ctx context.Context) error { return s.wrap(s.d.Wait(ctx)) }

// Close waits for what is in flight and frees the stream.
func (s *Stream) Close() error { return s.wrap(s.d.Close()) }

// Event is the completion of one run.
type Event struct {
	dev *Device
	d   driver.Event
}

// Wait returns when the run is done, or with ctx's error when that ends first (the run goes on).
func (e *Event) Wait(ctx context.Context) error {
	if err := e.d.Wait(ctx); err != nil {
		return fmt.Errorf("%s: %w", e.dev.spec, err)
	}
	return nil
}

// DeviceTime is how long the run's kernels took by the device's own clock, after Wait; ok is false where the device
// cannot tell.
func (e *Event) DeviceTime() (d time.Duration, ok bool) { return e.d.DeviceTime() }
