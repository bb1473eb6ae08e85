//go:build cgo && !novulkan

package vulkan

import (
	"debug/elf"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/gpu/hal"
)

// collect runs the garbage collector without a pause until the test ends.
func collect(t *testing.T) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	})
	t.Cleanup(func() {
		close(stop)
		wg.Wait()
	})
}

// Queues, kernels and memory of one device are used by several goroutines while the collector loops.
func TestConcurrentUnderGC(t *testing.T) {
	d := open(t, hal.Options{})
	collect(t)
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			const n = 4096
			q, err := d.NewQueue(true)
			if err != nil {
				t.Error(err)
				return
			}
			defer q.Free()
			for r := range rounds {
				if err := round(t, d, q, n, g, r); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// round makes, uses and frees one of everything.
func round(t *testing.T, d *device, q hal.Queue, n, g, r int) error {
	k, err := d.NewKernel(t.Context(), source(t, "fill_pattern"), []int32{groupSize, 1, 1})
	if err != nil {
		return err
	}
	defer k.Free()
	m, err := d.Alloc(int64(4*n), hal.DeviceMemory)
	if err != nil {
		return err
	}
	defer m.Free()
	s, err := d.Alloc(int64(4*n), hal.StagingMemory)
	if err != nil {
		return err
	}
	defer s.Free()
	v, err := m.View(0, int64(4*n))
	if err != nil {
		return err
	}
	defer v.Free()
	cmds := make([]hal.Command, 0, 40)
	for i := range 38 {
		cmds = append(cmds, pattern(k, v, n, i, i))
	}
	cmds = append(cmds, pattern(k, v, n, g+2, r), hal.Command{Op: hal.Copy, Dst: s, Src: m, Bytes: int64(4 * n)})
	if err := run(q, cmds...); err != nil {
		return err
	}
	for i, got := range words(s.Bytes()) {
		if want := uint32(i*(g+2) + r); got != want {
			t.Errorf("goroutine %d, round %d: word %d is %d, want %d", g, r, i, got, want)
			break
		}
	}
	return nil
}

// A queue in its stride makes nothing new: its frames go round.
func TestFramesAreReused(t *testing.T) {
	d := open(t, hal.Options{})
	q := newQueue(t, d).(*queue)
	m := alloc(t, d, 64, hal.DeviceMemory)
	for range 50 {
		var fences []hal.Fence
		for range 3 {
			f, err := q.Submit([]hal.Command{{Op: hal.Fill, Dst: m, Bytes: 64}})
			if err != nil {
				t.Fatal(err)
			}
			fences = append(fences, f)
		}
		for _, f := range fences {
			f.Free()
		}
	}
	if len(q.idle) != 3 || len(q.running) != 0 {
		t.Errorf("%d frames idle, %d submissions running after 3 at a time", len(q.idle), len(q.running))
	}
}

// cycle opens a device, computes and closes it.
func cycle(t *testing.T, o hal.Options) {
	t.Helper()
	if _, err := API().Adapters(); err != nil {
		t.Fatal(err)
	}
	h, err := API().Open(0, o)
	if err != nil {
		t.Fatal(err)
	}
	q, err := h.NewQueue(true)
	if err != nil {
		t.Fatal(err)
	}
	if err := round(t, h.(*device), q, 256, 0, 1); err != nil {
		t.Fatal(err)
	}
	q.Free()
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenCloseIsFlat(t *testing.T) {
	open(t, hal.Options{}) // skips where there is nothing to open
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	const times = 200
	for range 20 { // drivers keep what they made once
		cycle(t, hal.Options{Validate: validate()})
	}
	rss, fds := resident(t), descriptors(t)
	for range times {
		cycle(t, hal.Options{Validate: validate()})
	}
	grown, more := resident(t)-rss, descriptors(t)-fds
	t.Logf("%d times: resident memory grew by %d KiB, open files by %d", times, grown>>10, more)
	if more > 0 {
		t.Errorf("%d files stayed open", more)
	}
	if grown > 32<<20 && !raceEnabled && !validate() {
		t.Errorf("resident memory grew by %d KiB", grown>>10)
	}
}

func resident(t *testing.T) int {
	t.Helper()
	runtime.GC()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), "VmRSS:")
	kib := 0
	for _, c := range strings.TrimSpace(after) {
		if c < '0' || c > '9' {
			break
		}
		kib = 10*kib + int(c-'0')
	}
	return kib << 10
}

func descriptors(t *testing.T) int {
	t.Helper()
	e, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(e)
}

// The program must start where there is no Vulkan.
func TestLibraryIsNotLinked(t *testing.T) {
	f, err := elf.Open(os.Args[0])
	if err != nil {
		t.Skip("no ELF file: ", err)
	}
	defer f.Close()
	libs, err := f.ImportedLibraries()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range libs {
		if strings.Contains(l, "vulkan") {
			t.Errorf("the program needs %s to start", l)
		}
	}
	t.Log(libs)
}

func TestTimesAdd(t *testing.T) {
	d := open(t, hal.Options{})
	if !d.info.Timestamps {
		t.Skip("the device has no clock")
	}
	q := newQueue(t, d)
	k := newKernel(t, d, "loop_count", groupSize)
	const n = 1 << 14
	one, dst := alloc(t, d, 16, hal.DeviceMemory), alloc(t, d, 4*n, hal.DeviceMemory)
	views := []hal.View{newView(t, one, 0, 16), newView(t, dst, 0, 4*n)}
	count := func(items int) hal.Command {
		return hal.Command{Op: hal.Dispatch, Kernel: k, Groups: [3]int{items / groupSize, 1, 1}, Params: params(n, 50, 100), Views: views}
	}
	start := time.Now()
	f, err := q.Submit([]hal.Command{count(groupSize), count(n), count(groupSize)})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	wall := time.Since(start)
	times := f.Times()
	f.Free()
	if len(times) != 3 || times[0] <= 0 || times[1] <= 0 || times[2] <= 0 {
		t.Fatalf("times %v", times)
	}
	// The two clocks need not agree to the last percent.
	if sum := times[0] + times[1] + times[2]; sum > wall+wall/10+time.Millisecond {
		t.Errorf("the device worked %v in %v", sum, wall)
	}
	t.Logf("%v in %v", times, wall)
}

// BenchmarkEmptyDispatch is the overhead of a submission: one work-group that does nothing, submitted and waited for.
func BenchmarkEmptyDispatch(b *testing.B) {
	d := open(b, hal.Options{})
	q := newQueue(b, d)
	k := newKernel(b, d, "fill_pattern", groupSize)
	m := alloc(b, d, 256, hal.DeviceMemory)
	cmds := []hal.Command{pattern(k, newView(b, m, 0, 256), 0, 0, 0)}
	cmds[0].Groups = [3]int{1, 1, 1}
	b.ReportAllocs()
	for b.Loop() {
		if err := run(q, cmds...); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRecord is the cost of one more command in a submission.
func BenchmarkRecord(b *testing.B) {
	d := open(b, hal.Options{})
	q := newQueue(b, d)
	k := newKernel(b, d, "fill_pattern", groupSize)
	m := alloc(b, d, 256, hal.DeviceMemory)
	one := pattern(k, newView(b, m, 0, 256), 0, 0, 0)
	cmds := make([]hal.Command, 1000)
	for i := range cmds {
		cmds[i] = one
	}
	for b.Loop() {
		if err := run(q, cmds...); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(cmds)), "ns/command")
}
