// Package gpu is what both GPU APIs share. Given a hal.API it is a whole driver: it chooses kernels and their tiles, fills
// their parameters, sub-allocates device memory, moves data through pinned staging memory where host and device share
// none, and makes each device prove itself when it is opened. gpu/vulkan and gpu/opencl only say how their API does it.
package gpu
