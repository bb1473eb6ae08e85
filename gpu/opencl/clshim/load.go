//go:build cgo && !noopencl

package clshim

/*
#cgo linux LDFLAGS: -Wl,--as-needed -ldl
#cgo darwin LDFLAGS: -framework OpenCL

#cgo noescape clshim_set_args
#cgo nocallback clshim_set_args
#cgo noescape clshim_launch
#cgo nocallback clshim_launch
#cgo noescape clshim_copy
#cgo nocallback clshim_copy
#cgo noescape clshim_write
#cgo nocallback clshim_write
#cgo noescape clshim_read
#cgo nocallback clshim_read
#cgo noescape clshim_fill
#cgo nocallback clshim_fill
#cgo noescape clshim_marker
#cgo nocallback clshim_marker
#cgo noescape clshim_status
#cgo nocallback clshim_status
#cgo noescape clshim_times
#cgo nocallback clshim_times
#cgo noescape clshim_wait
#cgo nocallback clshim_wait
#cgo noescape clshim_release_events
#cgo nocallback clshim_release_events

#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"unsafe"
)

// Libraries are the files that Load tries, in order. Tests change it before the first Load. It is empty on macOS,
// where OpenCL is linked.
var Libraries = libraries()

func libraries() []string {
	switch runtime.GOOS {
	case "darwin":
		return nil
	case "windows":
		return []string{"OpenCL.dll"}
	}
	return []string{"libOpenCL.so.1", "libOpenCL.so"}
}

// loaded holds the outcome of the one attempt that succeeded. A failure is tried again, so that a program may install
// a loader and go on.
var loaded struct {
	sync.Mutex
	done bool
}

// Load opens the OpenCL library, unless one was preloaded into the process, as oclgrind does. Before it succeeds every function here, and in the binding, returns Missing.
func Load() error {
	loaded.Lock()
	defer loaded.Unlock()
	if loaded.done || len(Libraries) == 0 {
		return nil
	}
	if C.clshim_open_preloaded() != 0 {
		loaded.done = true
		return nil
	}
	var whys []string
	for _, name := range Libraries {
		cs := C.CString(name)
		why := C.clshim_open(cs)
		C.free(unsafe.Pointer(cs))
		if why == nil {
			loaded.done = true
			return nil
		}
		whys = append(whys, C.GoString(why))
	}
	return fmt.Errorf("%s not found (%s)", Libraries[0], strings.Join(whys, "; "))
}

// Has tells whether the library that Load opened has the function, for those that came after OpenCL 1.2.
func Has(name string) bool {
	cs := C.CString(name)
	defer C.free(unsafe.Pointer(cs))
	return C.clshim_has(cs) != 0
}
