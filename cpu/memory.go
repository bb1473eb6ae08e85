package cpu

// assumedMemory is what a machine is taken to have when it does not say, in bytes.
const assumedMemory = 8 << 30
