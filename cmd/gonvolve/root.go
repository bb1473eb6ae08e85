package main

import (
	"cmp"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "gonvolve",
		Short: "Convolution and pooling on any device: run, verify, benchmark",
		Long: `gonvolve runs neural-network convolution and pooling on whatever a machine has:
any GPU through Vulkan or OpenCL, or the CPU. Every result can be checked
against a float64 reference.

Devices are named cpu, vulkan:0, opencl:1, by a pattern over their names
(vulkan:*H100*), auto (for each problem the one that is measured to be fastest),
cpu+vulkan:0 (both; run divides its work among them) or all.
GONVOLVE_DEVICE is the default of --device.

Problems are written in the grammar of oneDNN's benchdnn, such as
mb1ic64ih56oc64oh56kh3ph1 or pool:max:mb1ic64ih112oh56kh3sh2ph1
(without mb the grammar means a batch of 2), with words for directions, types,
layouts and more in front: run problem --help has them all.`,
		Example: `  gonvolve devices
  gonvolve run conv --src photo.png --wei gaussian:5 --dst blurred.png
  gonvolve bench
  gonvolve verify --device all mb1ic64ih56oc64oh56kh3ph1`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	verbose := root.PersistentFlags().BoolP("verbose", "v", false, "log what happens to standard error")
	probing := root.PersistentFlags().Bool("probe", os.Getenv(probeVar) == "1", "first open every driver's devices in a child process, and leave "+
		"drivers out that crash there; devices always does (GONVOLVE_PROBE=1, or 0 for never)")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		// Commands say themselves what the user must know, so that the log of the packages would say it twice.
		level := slog.LevelError
		if *verbose {
			level = slog.LevelDebug
		}
		slog.SetDefault(slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level})))
		if cmd.Name() != "probe" && (*probing || cmd.Name() == "devices" && os.Getenv(probeVar) != "0") {
			return probe(cmd)
		}
		return nil
	}
	root.AddCommand(newDevicesCommand(), newRunCommand(), newBenchCommand(), newVerifyCommand(), newTuneCommand(),
		newMakeCommand(), newCompareCommand(), newProbeCommand())
	return root
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}

// deviceFlag adds --device with its default from GONVOLVE_DEVICE.
func deviceFlag(cmd *cobra.Command, fallback string) *string {
	return cmd.Flags().String("device", cmp.Or(os.Getenv("GONVOLVE_DEVICE"), fallback), "devices, comma separated: cpu, vulkan:0, opencl:*name*, auto, all")
}
