// Package vkshim is the thin C layer under package vulkan: it opens the Vulkan loader at run time, and makes the calls
// that the vulkan-go binding lacks (everything newer than Vulkan 1.0) or cannot make safely (its calls that take
// slices of structs free their C copies while the call runs, when the garbage collector is quick).
//
// Every call is one C function that builds the structs Vulkan wants on the C stack, from arguments that hold no Go
// pointers to Go pointers. Handles that Vulkan does not dispatch on are uint64 on both sides: a driver may put any
// number into them, and a number must not look like a pointer to Go's collector.
//
// vkmin.h declares the part of Vulkan's ABI that is used here, so that neither headers nor a library are needed to
// build.
package vkshim
