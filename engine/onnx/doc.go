// Package onnx reads ONNX models and tensors, translates their convolution and pooling nodes into problems, and runs
// ONNX backend tests (a model with recorded inputs and outputs) on an engine device: single nodes, and small graphs whose
// other nodes, if they are among a few that stand around convolutions, run on the host.
//
// Files are read by hand from the protobuf wire format: only the fields that the translation needs, no generated code.
// They are taken as hostile. Nothing is allocated before its size has been checked, of what a file holds against the
// bytes that are there, of what a graph makes against a limit, and whatever is wrong with a file becomes one line that
// wraps [ErrFormat].
//
// What a model says and this library cannot do (another operator, another element type) is an error that wraps
// driver.ErrUnsupported, and a test of it counts as unsupported, never as passed.
package onnx
