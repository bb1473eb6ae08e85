package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/engine"
)

// Ctrl+C goes to all processes of a terminal: a driver's linker must outlive it, or PoCL aborts the process.
func TestInterruptedLinker(t *testing.T) {
	d, err := engine.Open(t.Context(), "opencl:0")
	if errors.Is(err, engine.ErrNoDevices) && os.Getenv("GONVOLVE_REQUIRE_DRIVERS") != "1" {
		t.Skip("no device: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), build(t), "verify", "--fuzz", "10m", "--seed", fmt.Sprint(time.Now().UnixNano()), "--device", "opencl:0")
	cmd.Env = append(os.Environ(), "POCL_CACHE_DIR="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	for !linking(cmd.Process.Pid) && time.Since(begun) < 20*time.Second {
		time.Sleep(time.Millisecond) // a driver that starts no linker is interrupted all the same
	}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != exitDevice || strings.Contains(stderr.String(), "SIG") {
		t.Errorf("exit %d, %s", cmd.ProcessState.ExitCode(), stderr.String())
	}
}

// linking says whether a process runs a linker.
func linking(pid int) bool {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is good
	for _, children := range tasks {
		text, _ := os.ReadFile(children) // none, if it is gone by now
		for child := range strings.FieldsSeq(string(text)) {
			if name, _ := os.ReadFile("/proc/" + child + "/comm"); strings.Contains(string(name), "ld") {
				return true
			}
		}
	}
	return false
}
