// Command gonvolve runs, checks and times convolution and pooling on every device of a machine: GPUs through Vulkan and
// OpenCL, and the CPU. Each of its commands has --help with examples.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/gonvolve/gonvolve/engine"

	_ "github.com/gonvolve/gonvolve/cpu"
	_ "github.com/gonvolve/gonvolve/gpu/opencl"
	_ "github.com/gonvolve/gonvolve/gpu/vulkan"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1 // a check failed, or a device computes something else
	exitUsage  = 2 // wrong flags, problems or files
	exitDevice = 3 // nothing could run
)

// errFailed is returned when a check failed and was reported.
var errFailed = errors.New("check failed")

// errInterrupted is returned when the user stopped the command.
var errInterrupted = errors.New("interrupted")

// errNothingRan is returned when no device could run what was asked.
var errNothingRan = errors.New("nothing could run")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with everything that it touches passed in.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", errInterrupted, err)
	}
	if err != nil {
		fmt.Fprintln(stderr, "gonvolve:", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return exitCode(err)
}

func exitCode(err error) int {
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	switch {
	case err == nil:
		return exitDone
	case is(errFailed, engine.ErrWrongResult):
		return exitFailed
	case is(engine.ErrUnknownDevice):
		return exitUsage
	case is(errNothingRan, errInterrupted, engine.ErrUnsupported, engine.ErrOutOfMemory, engine.ErrDeviceLost, engine.ErrNoDevices, context.Canceled):
		return exitDevice
	}
	return exitUsage
}
