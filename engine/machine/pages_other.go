//go:build !linux

package machine

// Huge asks for huge pages, where a system has to be asked and can be.
func Huge([]byte) {}
