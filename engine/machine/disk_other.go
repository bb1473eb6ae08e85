//go:build !unix

package machine

// Disk is a number of the file system that a file is in, where the system tells.
func Disk(string) (n uint64, known bool) { return 0, false }
