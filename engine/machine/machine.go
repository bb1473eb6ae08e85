// Package machine knows the machine that the program runs on: its memory and its processor.
package machine

import "math/bits"

// assumedMemory is what a machine is taken to have when it does not say, in bytes.
const assumedMemory = 8 << 30

// addressSpace is more than any process can have: what lies above is out of memory for certain. Where addresses have 32 bits it
// is what a process can count on.
const addressSpace = 1 << min(47, bits.UintSize-2)
