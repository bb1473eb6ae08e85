// Package hal is the contract between package gpu, which plans problems, picks kernels and manages memory, and the
// two GPU APIs below it (gpu/vulkan and gpu/opencl). It is deliberately small: memory blocks, kernels, and queues that
// run lists of plain commands in order. An implementation keeps every type of its API to itself.
//
// Errors wrap the sentinels of engine/driver: driver.ErrUnsupported, driver.ErrOutOfMemory, driver.ErrDeviceLost,
// driver.ErrNoDevices.
package hal

import (
	"context"
	"time"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/shaders"
)

// API is one way to reach GPUs. Its methods are safe for concurrent use.
type API interface {
	// Name is the first part of a device spec: "vulkan", "opencl".
	Name() string
	// Adapters lists every device of every platform, in an order that is stable from run to run. When the API's
	// loader or its drivers are missing it returns an error that wraps driver.ErrNoDevices and says why.
	Adapters() ([]Info, error)
	// Open opens the i-th adapter of the list.
	Open(i int, o Options) (Device, error)
}

// Options of Open.
type Options struct {
	// Blob loads and stores what the API compiled (pipeline cache, program binaries) by key. Nil: nothing is kept.
	Blob Blobs
	// Validate asks for the API's validation layer, where it has one. Its messages are errors that Device.Close
	// returns joined; a missing layer is an error of Open.
	Validate bool
	// Staged makes a device that could share the host's memory behave like one that cannot, for tests.
	Staged bool
}

// Blobs is the part of the on-disk cache that an API needs. Get returns nil for whatever is absent, truncated or not
// what was Put.
type Blobs interface {
	Get(key string) []byte
	Put(key string, data []byte) error
}

// Info describes an adapter.
type Info struct {
	driver.Info
	// MaxBindingBytes is the largest range of a buffer that a kernel may see.
	MaxBindingBytes int64
	// MaxBufferBytes is the largest single Memory.
	MaxBufferBytes int64
	// ViewAlignment is what the offset of a View must be a multiple of.
	ViewAlignment int64
	// MaxGroupSize and MaxGroupItems limit a work-group; MaxGroupCount limits the number of groups.
	MaxGroupSize  [3]int
	MaxGroupItems int
	MaxGroupCount [3]int64
	// LocalBytes is the local (shared) memory of a work-group.
	LocalBytes int64
	// VectorWidth is how many floats an explicit vector should have: 1 or 4 on GPUs and on drivers that map
	// work-items to SIMD lanes, 8 or 16 on those that run each work-item as straight code.
	VectorWidth int
	// ShuffleLanes is the size of a subgroup whose work-items can exchange values by shuffles; 0 where kernels of this
	// API cannot.
	ShuffleLanes int
	// GLSL says that kernels come from the GLSL dialect: rows are loaded four floats at a time, and a device without
	// subgroup shuffles cannot take kernels that declare them.
	GLSL bool
	// Storage16 says that kernels can read and write elements of 16 bits in buffers, as their variants half do.
	Storage16 bool
	// HalfArithmetic says that kernels can compute with halves, as their variants packed do.
	HalfArithmetic bool
	// SubgroupLanes is the size of a subgroup; 0 where kernels of this API know of none.
	SubgroupLanes int
	// Matrices are the cooperative matrices that kernels may multiply, if any.
	Matrices []Matrix
	// Dot says that kernels can have the device's own dot products of bytes, as their variants dot do, and DotFast that the
	// hardware has an instruction for them.
	Dot, DotFast bool
	// Unified says that Device memory has Bytes: the host reads and writes it in place.
	Unified bool
	// Timestamps says that timed queues measure.
	Timestamps bool
	// TransferQueues is how many queues of an open device may transfer while another computes: queues that are not timed
	// begin there, one on each, and leave, after all that was submitted to them, with the first kernel. 0: the API has no
	// such notion, or the device none.
	TransferQueues int
}

// Matrix is the shape of a product of f16 matrices, [M][K] times [K][N], that the lanes of a subgroup sum in f32 together.
type Matrix struct{ M, N, K int }

// MemoryKind says what a Memory is for.
type MemoryKind int

const (
	// DeviceMemory is what kernels read and write.
	DeviceMemory MemoryKind = iota
	// StagingMemory is pinned memory of the host for transfers. It always has Bytes.
	StagingMemory
)

// Device is an open adapter. All methods are safe for concurrent use, except that Close is called last, once, after
// everything made by the device was freed.
type Device interface {
	Info() Info
	// Alloc takes one block of memory. Its contents are undefined.
	Alloc(bytes int64, kind MemoryKind) (Memory, error)
	// NewKernel compiles k with a value for each of its tunables (k.Tunables order; work-group size first).
	NewKernel(ctx context.Context, k *shaders.Kernel, tunables []int32) (Kernel, error)
	// NewQueue makes an in-order queue. A timed one measures its commands, where Info.Timestamps says that it can; that
	// is not free everywhere.
	NewQueue(timed bool) (Queue, error)
	Close() error
}

// Rememberer is an optional interface of a Device that keeps what it compiled.
type Rememberer interface {
	// Remembers says whether NewKernel would find the kernel compiled by an earlier process, at little cost. It may be
	// mistaken: that costs time.
	Remembers(k *shaders.Kernel, tunables []int32) bool
}

// TransferQueuer is the interface of a Device with TransferQueues.
type TransferQueuer interface {
	// DisableTransferQueues has queues that are made from now on transfer where they compute.
	DisableTransferQueues()
}

// Budgeter is an optional interface of a Device.
type Budgeter interface {
	// MemoryBudget is how many bytes of device memory this process may have in all as things are, with what it has; 0 if
	// that is not known. Others come and go.
	MemoryBudget() int64
}

// Memory is one block.
type Memory interface {
	Size() int64
	// Bytes is the block in the host's address space, or nil. It is valid until Free. What the host writes before
	// Submit is seen by the commands; what commands wrote is seen after Fence.Wait.
	Bytes() []byte
	// View makes a range of device memory usable as a kernel's buffer. off is a multiple of Info.ViewAlignment and
	// bytes at most Info.MaxBindingBytes. A View keeps nothing alive: free it before its Memory.
	View(off, bytes int64) (View, error)
	Free()
}

// View is a range of device memory as a kernel sees it.
type View interface{ Free() }

// Kernel is a compiled kernel.
type Kernel interface{ Free() }

// Op is what a Command does.
type Op int

const (
	// Dispatch runs Kernel over Groups work-groups with Views as its buffers and Params as its parameters.
	Dispatch Op = iota
	// Copy copies Bytes bytes from Src+SrcOff to Dst+DstOff; either may be staging memory. Offsets and Bytes are
	// multiples of 4.
	Copy
	// Fill writes Value to each 4-byte word of Dst from DstOff for Bytes bytes (multiples of 4).
	Fill
)

// Command is one step of a submission.
type Command struct {
	Op Op

	Kernel Kernel
	Groups [3]int
	Views  []View
	Params []byte // little-endian int32 and float32 fields, as the kernel's PARAMS has them

	Dst, Src       Memory
	DstOff, SrcOff int64
	Bytes          int64
	Value          uint32
}

// Queue runs commands in the order they were submitted, each command seeing the effects of all before it on this
// queue. A Queue is used by one goroutine at a time; different queues of a device may be used concurrently.
type Queue interface {
	// Submit starts the commands and returns without waiting for them. The slice and what it points to may be
	// reused at return; kernels, views and memory must live until the fence is done.
	Submit(cmds []Command) (Fence, error)
	// Record makes commands ready to be submitted many times, on a queue that is not timed. The slice and what it
	// points to may be reused at return.
	Record(cmds []Command) (Recorded, error)
	// Free waits for what is in flight.
	Free()
}

// Recorded is a list of commands that was made ready for its queue.
type Recorded interface {
	// Submit is Queue.Submit of the commands. Earlier submissions of the list may still be in flight; as for them,
	// kernels, views and memory must live.
	Submit() (Fence, error)
	// Free is called by any goroutine, when no submission of the list is in flight, perhaps after the queue's Free. What
	// the commands use may be freed before.
	Free()
}

// Fence is the completion of one Submit.
type Fence interface {
	// Wait returns when the commands are done, or with ctx's error when ctx ends first (the commands go on: Wait
	// again, or Free, which waits).
	Wait(ctx context.Context) error
	// Times returns, after a successful Wait, the device's own measure of each command of the submission, in
	// order; nil where the queue is not timed or Info.Timestamps is false.
	Times() []time.Duration
	// Free waits for the commands if need be and releases the fence.
	Free()
}
