//go:build !linux

package tensorio

import (
	"errors"
	"os"
)

// Without a way past the cache there is no bulk, and what it takes isn't called.

func openDirect(string, int) (*os.File, error) { return nil, errors.ErrUnsupported }

func inCache(*os.File, int64, int64) (all, known bool) { return false, false }

func directAlign(*os.File) uintptr { return page }
