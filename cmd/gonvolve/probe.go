package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/gonvolve/gonvolve/engine"
)

const (
	probeVar = "GONVOLVE_PROBE"   // 1: probe before every command; 0: not even for `gonvolve devices`
	probeEnd = "gonvolve: probed" // the line that a child says when it is done
)

// probeLimit is for all devices of a driver to prove themselves, cold.
var probeLimit = 2 * time.Minute

// talk is the end of what a child says, which may be any amount: drivers print what they like.
type talk []byte

func (t *talk) Write(p []byte) (int, error) {
	const most = 64 << 10
	*t = append(*t, p[max(0, len(p)-most):]...)
	*t = append((*t)[:0], (*t)[max(0, len(*t)-most):]...)
	return len(p), nil
}

// newProbeCommand is what runs in a child process: a driver that ends its process, ends the child.
func newProbeCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "probe DRIVER",
		Short:  "List and open the devices of a driver",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, l := range engine.Devices() {
				if name, _, _ := strings.Cut(l.Spec, ":"); name != args[0] || l.Err != nil {
					continue // a driver without devices says so in the parent, too
				}
				if d, err := engine.Open(cmd.Context(), l.Spec, engine.NoFallback()); err == nil {
					err = d.Close()
					if err != nil {
						fmt.Fprintln(cmd.ErrOrStderr(), err)
					}
				}
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "\n%s\n", probeEnd)
			return err
		},
	}
}

// probe opens the devices of each driver in a child process, and leaves drivers out whose child does not come back.
func probe(cmd *cobra.Command) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	var wg sync.WaitGroup
	drivers := engine.Drivers()
	found := make([]error, len(drivers))
	for i, name := range drivers {
		if name != "cpu" { // which is this program's own
			wg.Go(func() { found[i] = probeDriver(cmd.Context(), self, name) })
		}
	}
	wg.Wait()
	for i, why := range found {
		if why == nil {
			continue
		}
		engine.LeaveOut(drivers[i], why)
		if cmd.Name() != "devices" { // whose table says it
			fmt.Fprintf(cmd.ErrOrStderr(), "gonvolve: note: %s: %v\n", drivers[i], why)
		}
	}
	return cmd.Context().Err()
}

// probeDriver is nil, or how the driver ended a child.
func probeDriver(ctx context.Context, self, name string) error {
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	child := exec.CommandContext(ctx, self, "probe", name)
	// The other drivers are no concern of this child.
	child.Env = append(os.Environ(), probeVar+"=0", "GONVOLVE_WITHOUT="+strings.Join(others(name), ","))
	child.WaitDelay = time.Second
	var out, said talk
	child.Stdout, child.Stderr = &out, &said
	err := child.Run()
	switch {
	case strings.Contains("\n"+string(out), "\n"+probeEnd+"\n"):
		return nil // however it ended
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		err = fmt.Errorf("it hung in a probe of %v", probeLimit)
	case ctx.Err() != nil:
		return nil // interrupted
	case err == nil:
		err = errors.New("it ended the process in a probe")
	default:
		err = fmt.Errorf("it crashed in a probe (%w)", err)
	}
	if line := lastLine(string(said)); line != "" {
		err = fmt.Errorf("%w, saying %q", err, line)
	}
	return fmt.Errorf("%w; repair or remove it, or set GONVOLVE_WITHOUT=%s", err, name)
}

// others are the drivers but one that a child leaves out, besides those that are left out anyway.
func others(name string) []string {
	list := strings.Split(os.Getenv("GONVOLVE_WITHOUT"), ",")
	for _, d := range engine.Drivers() {
		if d != name {
			list = append(list, d)
		}
	}
	return list
}

// lastLine is what was said last before Go told of a crash, or else that, shortened.
func lastLine(text string) string {
	line := ""
	for l := range strings.Lines(text) {
		l = strings.TrimSpace(l)
		crash := strings.HasPrefix(l, "SIG") || strings.HasPrefix(l, "panic:") || strings.HasPrefix(l, "fatal error:")
		if l != "" && (!crash || line == "") {
			line = l
		}
		if crash {
			break
		}
	}
	const most = 200
	if len(line) > most {
		line = line[:most]
	}
	return line
}
