package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/bench"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/report"
	"github.com/gonvolve/gonvolve/engine/verify"
)

// kernelsFlag adds --kernels.
func kernelsFlag(cmd *cobra.Command, usage string) *string {
	dir := cmd.Flags().String("kernels", "", usage)
	_ = cmd.MarkFlagDirname("kernels") // the flag exists
	return dir
}

// openWith opens a device with driver options; with changed kernels only if it has kernels.
func openWith(ctx context.Context, spec string, o driver.Options, more ...engine.Option) (d *engine.Device, changed bool, err error) {
	open := func() (*engine.Device, error) {
		return engine.Open(ctx, spec, append(more, engine.NoFallback(), engine.WithDriverOptions(o))...)
	}
	d, err = open()
	if changed = o.Kernels != ""; changed && errors.Is(err, engine.ErrUnsupported) {
		refused := err
		o.Kernels = ""
		if d, err = open(); err != nil {
			return nil, false, refused
		}
		changed = false
	}
	return d, changed, err
}

// withChanges is the flag that a command needs to run with the kernels again.
func withChanges(r *report.Record, dir string) {
	r.KernelsFrom = dir
	r.Repro += " --kernels '" + strings.ReplaceAll(dir, "'", `'\''`) + "'"
}

// comparison measures a benchmark's devices with built-in and with changed kernels.
type comparison struct {
	dir     string
	changed map[*engine.Device]*engine.Device // by the one with the built-in kernels
	ran     map[string]bool                   // names of kernels that changed ones' plans ran
}

// compare opens the devices that have kernels once more, with those of the folder.
func compare(ctx context.Context, dir string, devs []*engine.Device) (c *comparison, err error) {
	c = &comparison{dir: dir, changed: map[*engine.Device]*engine.Device{}, ran: map[string]bool{}}
	var refused error
	for _, d := range devs {
		if several(d) {
			return nil, errors.Join(fmt.Errorf("%w: %s with kernels of a folder; name single devices", engine.ErrInvalid, d.Name()), c.close())
		}
		other, changed, err := openWith(ctx, d.Spec(), driver.Options{Kernels: dir}, engine.WithTuning(nil), engine.WithMemLimit(d.MemLimit()), engine.WithTile(d.Tile()))
		switch {
		case err != nil && errors.Is(err, engine.ErrUnsupported):
			refused = err
		case err != nil:
			return nil, errors.Join(err, c.close())
		case !changed:
			err = other.Close()
		default:
			c.changed[d] = other
		}
		if err != nil && refused == nil {
			return nil, errors.Join(err, c.close())
		}
	}
	if len(c.changed) == 0 {
		return nil, fmt.Errorf("%w: none of the devices runs kernels of a folder: name one of vulkan or opencl", engine.ErrUnsupported)
	}
	return c, nil
}

func (c *comparison) close() error {
	var errs []error
	for _, d := range c.changed {
		errs = append(errs, d.Close())
	}
	return errors.Join(errs...)
}

// measure measures a device with its own kernels and with the changed ones, and then both in turns.
func (c *comparison) measure(ctx context.Context, d *engine.Device, on *verify.Case, o bench.Options,
	check func(*engine.Device) report.Record) []report.Record {
	was := check(d)
	other := c.changed[d]
	if other == nil {
		return []report.Record{was}
	}
	now := check(other)
	withChanges(&now, c.dir)
	for v := range strings.FieldsSeq(now.Kernels) {
		name, _, _ := strings.Cut(v, "@")
		c.ran[name+".k"] = true
	}
	if was.Status == report.Passed && now.Status == report.Passed {
		bench.InTurns(ctx, on, o, []*engine.Device{d, other}, []*report.Record{&was, &now})
		if was.WallMS != nil && now.WallMS != nil {
			ratio := was.WallMS.Median / now.WallMS.Median
			now.VsBuiltIn = &ratio
		}
	}
	return []report.Record{was, now}
}

// unused lists the changed bodies that no plan ran.
func (c *comparison) unused() (list []string) {
	files, _ := filepath.Glob(filepath.Join(c.dir, "*.k")) // its only error is a bad pattern
	for _, f := range files {
		if !c.ran[filepath.Base(f)] {
			list = append(list, f)
		}
	}
	return list
}

// tell says what the comparison did not try.
func (c *comparison) tell(to io.Writer) {
	if list := c.unused(); len(list) > 0 {
		fmt.Fprintf(to, "no problem was run by %s: choose problems or --alg that do\n", strings.Join(list, ", "))
	}
}
