// Package machine knows the machine that the program runs on: its memory and its processor.
package machine

// assumedMemory is what a machine is taken to have when it does not say, in bytes.
const assumedMemory = 8 << 30

// addressSpace is more than any process can have: what lies above is out of memory for certain.
const addressSpace = 1 << 47
