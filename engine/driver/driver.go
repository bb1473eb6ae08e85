// Package driver is the contract between package engine and the drivers that run problems (cpu, vulkan, opencl), in
// the manner of database/sql/driver: users import engine, driver authors import this. Whatever only some devices have
// is an optional interface, found by assertion.
package driver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// What a driver's errors wrap, so that callers can tell them apart with errors.Is.
var (
	// ErrUnsupported: the device cannot run this problem, or not this large, or not by the algorithm asked for.
	ErrUnsupported = errors.New("unsupported")
	// ErrOutOfMemory: memory could not be had now.
	ErrOutOfMemory = errors.New("out of memory")
	// ErrDeviceLost: the device is gone; open it again.
	ErrDeviceLost = errors.New("device lost")
	// ErrNoDevices: the driver's API, its loader or its vendor driver is not installed, or lists nothing.
	ErrNoDevices = errors.New("no devices")
	// ErrClosed: a device, stream, plan or buffer was used after its Close or Free.
	ErrClosed = errors.New("used after close")
	// ErrInvalid: the arguments contradict the problem or each other.
	ErrInvalid = errors.New("invalid argument")
)

// Driver lists and opens devices. Registering a driver opens nothing.
type Driver interface {
	// Devices lists the driver's devices in an order that is stable from run to run. A driver that has none returns
	// an error that wraps ErrNoDevices and says why; it never stops other drivers.
	Devices() ([]Info, error)
	// Open opens the i-th device of the list.
	Open(ctx context.Context, i int, o Options) (Device, error)
}

// Options of Open. The zero value is what users get by default.
type Options struct {
	// Validate asks for the API's own validation (Vulkan's Khronos layer). Its messages become errors of Close.
	Validate bool
	// Staged keeps the driver from sharing memory with the host where it could, for tests of the transfer path.
	Staged bool
	// MaxBinding, if not 0, has the driver take what kernels see of a tensor to be no more than so many bytes, for tests of
	// larger tensors on small ones.
	MaxBinding int64
	// NoCache does without the on-disk cache.
	NoCache bool
	// Kernels is a folder with kernel sources that are used instead of the built-in ones of the same names, for those who
	// write kernels. A driver without kernels refuses it with an error that wraps ErrUnsupported.
	Kernels string
}

// Type says what sort of hardware a device is.
type Type string

// The device types.
const (
	CPU        Type = "cpu"
	Integrated Type = "integrated"
	Discrete   Type = "discrete"
	Virtual    Type = "virtual"
	Other      Type = "other"
)

// Info describes a device before and after it is opened.
type Info struct {
	Name           string // the vendor's name of the device
	Vendor         string
	Type           Type
	API            string // "Vulkan 1.3.230", "OpenCL 3.0", "Go"
	Driver         string // name and version of the vendor's driver
	ID             string // stable identity of device and driver version: the key of whatever is cached for them
	MemoryBytes    int64  // memory that tensors can live in
	MaxTensorBytes int64  // largest tensor
	ComputeUnits   int    // cores, compute units, SMs; 0 if unknown
	Limits         []Fact // further limits and features, for people
}

// Fact is a named value for people to read.
type Fact struct{ Name, Value string }

// Device runs problems. Its methods are safe for concurrent use.
type Device interface {
	Info() Info
	// Alloc takes memory for a tensor. Its contents are undefined.
	Alloc(bytes int64) (Buffer, error)
	// NewStream makes a queue of work.
	NewStream() (Stream, error)
	// Plan chooses how to run p and compiles it. It takes no memory for tensors: a problem that the device cannot
	// hold is refused here, with an error that wraps ErrUnsupported and names the limit.
	Plan(ctx context.Context, p problem.Problem, o PlanOptions) (Plan, error)
	// Algorithms lists the algorithms that could run p, best guess first.
	Algorithms(p problem.Problem) []string
	// Close frees the device. Buffers, streams and plans must have been freed.
	Close() error
}

// PlanOptions of Device.Plan.
type PlanOptions struct {
	// Algorithm forces one of Device.Algorithms; empty chooses.
	Algorithm string
	// Tile forces the tunables of the algorithm, as PlanInfo.Tunables and Tuner.Candidates write them; empty chooses.
	// What the algorithm or the device cannot do is refused with an error that wraps ErrUnsupported.
	Tile string
	// Exact rules out what PlanInfo.Arithmetic calls other than plain: of small integers, every result is then exact.
	Exact bool
	// Background lets the plan begin with general kernels, if its first result comes sooner so, and compile those of its
	// algorithm while it runs, from the second run on. They take over between two runs; PlanInfo.Pending says which are
	// awaited. Sums may be added up in another order before and after, so the last bits of reals may change; results are
	// within the bounds of PlanInfo.Arithmetic always.
	Background bool
}

// Buffer is memory on a device. Free may be called while work that uses the buffer is in flight: the memory is reused
// when that work is done. The same holds for Weights.
type Buffer interface {
	Bytes() int64
	Free()
}

// Buffers are tensors by role; nil for roles that take no part. A buffer holds the elements of problem.Problem's TypeOf
// in the order of its Shape, without gaps, rounded up to whole 4-byte words.
type Buffers [problem.Roles]Buffer

// Plan is a problem compiled for a device by an algorithm. It is safe for concurrent use.
type Plan interface {
	Info() PlanInfo
	// Pack brings the problem's Constants (weights, bias, parameters) into the form that the plan's kernels read. The
	// sources may be freed when Pack's event is done. It is not called for a problem without constants.
	Pack(ctx context.Context, s Stream, constants Buffers) (Weights, Event, error)
	// Run computes the problem's Outputs from its Inputs on the stream and returns at once.
	Run(ctx context.Context, s Stream, a Args) (Event, error)
	Close() error
}

// Args are the operands of a run: the problem's Inputs and Outputs, and what Pack returned.
type Args struct {
	Buffers Buffers
	Weights Weights // nil for a problem without constants
}

// Weights are packed weights: immutable, usable by any number of runs of the plan that packed them.
type Weights interface {
	Bytes() int64
	Free()
}

// PlanInfo is what a plan answers before any memory is taken.
type PlanInfo struct {
	Algorithm      string // direct, igemm, gemm, reference …
	Tile           string // the tile and other tunables, for people and reports
	Tunables       string // the same for PlanOptions.Tile, which makes this plan again; empty where there is no choice
	Why            string // why this algorithm
	WorkspaceBytes int64  // memory a run takes beside its tensors; a stream may keep it until the plan's Close
	WeightsBytes   int64  // memory that packed weights take
	Pending        string // the algorithm that takes over when it is compiled (PlanOptions.Background); else empty
	Kernels        string // the code that the plan runs, as Tuner.Runs takes it; empty where the driver has no Tuner

	Arithmetic Arithmetic // how sums of products are formed: what the oracle has to know to bound their rounding
}

// Arithmetic is how a plan forms the sums of products that a convolution consists of. The zero value is f32 arithmetic on
// the very products, in any order.
type Arithmetic struct {
	// Winograd is m where tiles of m×m results come from Winograd's F(m×m, r×r) (package winograd), starting at the
	// result's origin. 0: they do not. An infinity or NaN may then spread over its tile, and sums overflow earlier, unless
	// the driver computes such again, as the cpu's does.
	Winograd int
	// FFT is t where tiles of results come from Fourier transforms of t×t cells of the source (package fft), starting at the
	// result's origin. 0: they do not. What is not finite is as with Winograd.
	FFT int
	// Cut: the problem was cut, and tiles that are transformed start anywhere; FFT's are of any size that there is.
	Cut bool
	// Half, if not 0: sums of up to so many products, and the products, are rounded to f16 (packed arithmetic), and these
	// short sums are added up in f32. Where one of them overflows, the products are summed in f32 instead.
	Half int
	// Truncates: sums are f32, but what an addition cuts off may be a whole unit in the last place of the larger operand,
	// as in matrix units, instead of half a one of the sum.
	Truncates bool
	// OrPlain: or in f32 arithmetic on the very products. A plan that goes over from one way to the other while it is in use
	// (PlanOptions.Background) does not say which one a result came by, so the oracle allows for both.
	OrPlain bool
}

// String is empty for f32 arithmetic on the very products.
func (a Arithmetic) String() string {
	var words []string
	if a.Winograd != 0 {
		words = append(words, fmt.Sprintf("winograd %d×%[1]d", a.Winograd))
	}
	if a.FFT != 0 {
		words = append(words, fmt.Sprintf("fft %d×%[1]d", a.FFT))
	}
	if a.Cut {
		words = append(words, "cut")
	}
	if a.Half != 0 {
		words = append(words, fmt.Sprintf("f16 sums of %d", a.Half))
	}
	if a.Truncates {
		words = append(words, "truncated sums")
	}
	if a.OrPlain {
		words = append(words, "or plain sums")
	}
	return strings.Join(words, ", ")
}

// Stream is an in-order queue: each operation sees the effects of those before it. It is safe for concurrent use,
// and the order is then that of the calls' return.
type Stream interface {
	// Write copies from host memory, which the caller may reuse at return.
	Write(ctx context.Context, dst Buffer, off int64, src []byte) error
	// Read copies to host memory and returns when the data is there.
	Read(ctx context.Context, dst []byte, src Buffer, off int64) error
	// Fill writes the word to each 4 bytes of the buffer.
	Fill(ctx context.Context, dst Buffer, word uint32) error
	// Wait returns when everything submitted so far is done.
	Wait(ctx context.Context) error
	Close() error
}

// Event is the completion of one operation.
type Event interface {
	Wait(ctx context.Context) error
	// DeviceTime is the device's own measure of the operation's kernels, valid after Wait; ok is false where the
	// device cannot tell, or would have told on the stream of a Timer.
	DeviceTime() (d time.Duration, ok bool)
}

// Oracle is the float64 reference, an optional interface of a Device (the cpu driver's has it).
type Oracle interface {
	// Reference computes one of the problem's Outputs in float64 by plain loops, for the elements listed in at (nil:
	// all), as flat indices into the output's memory, in that order. The truth is the same whatever the arithmetic;
	// how far a result may be off it is not. An error that wraps ErrUnsupported says that there is no bound.
	Reference(ctx context.Context, p problem.Problem, a Arithmetic, in Operands, out problem.Role, at []int64) (Truth, error)
}

// Operand is a host tensor as an oracle reads it: f32, f16, s8 and u8 elements as F32, s32 elements as I32.
type Operand struct {
	F32 []float32
	I32 []int32
}

// Operands are the problem's Inputs and Constants, each in the order that it has in memory.
type Operands [problem.Roles]Operand

// Truth is what the oracle says of some elements of a result.
type Truth []Element

// Element is the truth about one element of a result.
type Element struct {
	Value float64 // the true result, not rounded to the output's type; of integer outputs the very integer
	// Bound is how far a computation in that arithmetic (f16 outputs: rounded once more) may be off Value, whatever the
	// order of its sums, by the a-priori analysis of package rounding. 0: it must be Value rounded.
	Bound     float64
	Magnitude float64 // Σ|terms| of the sum that it comes from
	Terms     int64   // how many there are
	// Exact says that the arithmetic does not round on the way to this element if all operands are small integers: the
	// result then is Value rounded, bit for bit.
	Exact bool
}

// SelfTester is an optional interface of a Device: what the device proved about itself when it was opened.
type SelfTester interface {
	SelfTest() []Check
}

// Check is one finding of a self-test.
type Check struct {
	Name   string // "loop count", "barrier", "fma"
	Passed bool
	Detail string // what was measured or what is worked around
}

// Tuner is an optional interface of a Device whose algorithms have tiles to choose from. A device without it is tuned over
// its Algorithms.
type Tuner interface {
	// Candidates lists what is worth timing for p, the most promising first.
	Candidates(p problem.Problem) []Candidate
	// Runs says whether the device still runs this code, which was some plan's PlanInfo.Kernels: what was measured of other
	// code says nothing.
	Runs(kernels string) bool
}

// Candidate is a way to run a problem.
type Candidate struct{ Algorithm, Tile string }

// Options make the plan of the candidate.
func (c Candidate) Options() PlanOptions { return PlanOptions{Algorithm: c.Algorithm, Tile: c.Tile} }

// Switcher is an optional interface of a Device that compiles in the background.
type Switcher interface {
	// Switches lists how that ended for plans that were still wanted, the last few hundred, as it happened.
	Switches() []Switch
}

// Switch is the end of a compilation in the background.
type Switch struct {
	Problem  problem.Problem
	From, To string        // algorithms
	After    time.Duration // since it began
	Reason   error         // nil, or why From stays
}

// Peaker is an optional interface of a Device that measures what it can do at most.
type Peaker interface {
	// MeasurePeaks takes less than a second or so.
	MeasurePeaks(ctx context.Context) (Peaks, error)
}

// Peaks are rates that small kernels reached which do nothing else; 0 where nothing was measured.
type Peaks struct {
	GFLOPS       float64 `json:"gflops"`                  // fused multiply-adds of f32 in registers, two operations each
	HalfGFLOPS   float64 `json:"half_gflops,omitempty"`   // those of f16
	MatrixGFLOPS float64 `json:"matrix_gflops,omitempty"` // those of cooperative matrices of f16, summed in f32
	GBPS         float64 `json:"gbps"`                    // a copy of tensors that no cache holds, bytes read and bytes written
}

// By is the rate that belongs to an arithmetic.
func (p *Peaks) By(a Arithmetic) *float64 {
	switch {
	case a.Half != 0:
		return &p.HalfGFLOPS
	case a.Truncates:
		return &p.MatrixGFLOPS
	}
	return &p.GFLOPS
}

// Max has the larger of each two rates.
func (p Peaks) Max(q Peaks) Peaks {
	return Peaks{
		GFLOPS: max(p.GFLOPS, q.GFLOPS), HalfGFLOPS: max(p.HalfGFLOPS, q.HalfGFLOPS),
		MatrixGFLOPS: max(p.MatrixGFLOPS, q.MatrixGFLOPS), GBPS: max(p.GBPS, q.GBPS),
	}
}

// Timer is an optional interface of a Device that measures only when it is asked to, because that takes time itself:
// its other streams have no DeviceTime.
type Timer interface {
	// NewTimedStream makes a stream whose operations are measured.
	NewTimedStream() (Stream, error)
}

// MemoryReporter is an optional interface of a Device: bytes in use for tensors, weights and workspace, and
// bytes held from the API, for leak checks and reports.
type MemoryReporter interface {
	MemoryInUse() (used, held int64)
}

// Sharer is an optional interface of a Device whose memory may be the host's as well.
type Sharer interface {
	// Shared is a buffer's memory, for the host to read and write in place, or nil. A Run sees what was written before it
	// was started, and what it writes is seen after its event's Wait. It is valid until the buffer's Free.
	Shared(b Buffer) []byte
}

// MemoryBudgeter is an optional interface of a Device whose memory others have a part in.
type MemoryBudgeter interface {
	// MemoryBudget is how many bytes of the device's memory this process may have in all as things are, with what it has; 0
	// if that is not known.
	MemoryBudget() int64
}

// MemorySaver is an optional interface of a Device that takes memory beside what it is asked for.
type MemorySaver interface {
	// SaveMemory has the device keep nothing for reuse and take no more at a time than it is asked for, until stop is called.
	SaveMemory() (stop func())
	// StagingBytes is what a stream takes and keeps to transfer so many bytes; 0 where host and device share memory.
	StagingBytes(transfer int64) int64
}
