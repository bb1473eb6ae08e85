// Package clshim is the part of OpenCL that the go-opencl binding lacks or gets wrong, as thin calls into C: one Go
// function for one C function, handles as numbers, errors as codes. It also finds the loader at run time.
//
// The binding links against libOpenCL, so that a program with it would not start on a machine without an OpenCL
// loader. Therefore forward.c defines every cl* symbol the binding and this package use; each one looks the real
// function up in the library that Load opened. The linker then has nothing to take from libOpenCL and --as-needed
// drops it. On macOS OpenCL is a part of the system and is linked in the ordinary way.
//
// Nothing here keeps Go memory after a call returns, except where a function says so.
package clshim
