// Package tiling computes problems that a device cannot hold, or that a memory limit forbids, in exact tiles.
//
// [Cut] divides a problem into tiles: problems of their own, each with the boxes of the whole's tensors that it reads and
// writes. It cuts along batch, groups (channels, where there are no weights), output channels and space. A tile's source
// has the halo that its windows reach, and paddings of its own, such that every window covers the cells it covers in the
// whole. Gradients of poolings, and those by a source whose padding is made of its own cells, are computed on whole windows, and a
// part of them is kept. A part of an unpooling's plane has the windows that reach it: an index that points elsewhere is refused.
// Where the whole sums over what is cut (batch and space of a gradient of weights, and, where nothing else is left
// to cut, input channels) tiles are partial sums: the host adds them in f32 (integers: s32) in the order of the tiles,
// and rounds f16 results once, at the end. In exact mode a tiled result is the whole's, bit for bit.
//
// A program that imports this package has engine.Device.Compute and its like cut, too, what the device or its memory limit
// (engine.WithMemLimit) cannot hold.
//
// [Compute] and [Job.Run] run the tiles in stages that overlap: while one tile is computed others are read, uploaded,
// downloaded and written. A [Trace] shows them. Where host and device share memory, tiles are read to and written from it in
// place, and nothing is uploaded or downloaded. What is in flight, on the host and on the device, keeps to the memory limit:
// twice the inputs and outputs of the largest tile on either side, a partial sum, weights three times (on the host,
// uploaded, packed), the plans' workspace and the streams' staging memory.
//
// Several devices share a job whose device is a list, such as "cpu+opencl:0": each takes the next result from a queue when it
// has room for one, and what a failed one had taken goes back into it. One that was lost is opened again and takes part again,
// up to three times without a result in between; when all have failed the job goes on as that of the first. Job.Shares says
// what each did.
//
// A run outlives its device. When the device is lost it is opened again (engine.Device.Reopen) and the run goes on with the
// first tile that is not written; when memory runs out the tiles that are left are computed in parts of half the size, a
// quarter, an eighth; where that does not help, the device to fall back to goes on. engine.Device.Fallbacks and the log
// have each of these steps. With engine.WithCheck a sample of each tile is computed once more by the reference before the
// tile is written.
package tiling
