//go:build unix

package outofcore

import (
	"os"

	"golang.org/x/sys/unix"
)

// lock keeps other processes off a file until it is closed, or this one ends.
func lock(f *os.File) bool { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil }
