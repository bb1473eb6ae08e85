package outofcore

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/problem"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
	"github.com/gonvolve/gonvolve/engine/tiling"
)

// A journal that was torn anywhere, or ends in garbage, is taken up where it can be, and never makes a wrong result.
func TestTornJournal(t *testing.T) {
	dev := open(t)
	o := Options{Tiling: tiling.Options{MemLimit: 30 << 10}}
	b := newBench(t, dev, problemtest.Parse(t, "conv:mb1ic3ih40oc4kh3ph1"))
	interrupt(t, b, o)
	path := b.path(problem.Dst) + journalSuffix
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	partial, err := os.ReadFile(b.path(problem.Dst) + partialSuffix)
	if err != nil {
		t.Fatal(err)
	}
	first := strings.IndexByte(string(text), '\n')
	tails := []string{"", "done 1 1", "done 5 5 00000000\n", "done 99999999999999999999\n", "\x00\x00\x00\n"}
	for n := 0; n <= len(text); n++ {
		tail := tails[n%len(tails)]
		put(t, path, string(text[:n])+tail)
		put(t, b.path(problem.Dst)+partialSuffix, string(partial))
		if _, _, err := b.run(t.Context(), o); err == nil {
			b.check(fmt.Sprintf("cut after %d bytes", n))
		} else if !errors.Is(err, ErrInterrupted) {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
		if n > 20 && n < first-8 {
			n += 20 // within the head it is all the same
		}
	}
	j := &journal{key: crc32.ChecksumIEEE(text[:first])}
	for _, none := range []string{"done 0 1000000", "done 1000000 1000000"} {
		put(t, path, string(text)+j.line(none))
		if _, _, err := b.run(t.Context(), o); !errors.Is(err, ErrInterrupted) {
			t.Errorf("%s: %v", none, err)
		}
	}
}

// A bit of the journal that has changed on the disk makes no wrong result.
func TestFlippedJournal(t *testing.T) {
	dev := open(t)
	o := Options{Tiling: tiling.Options{MemLimit: 30 << 10}}
	b := newBench(t, dev, problemtest.Parse(t, "conv:mb1ic3ih40oc4kh3ph1"))
	interrupt(t, b, o)
	path := b.path(problem.Dst) + journalSuffix
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	partial, err := os.ReadFile(b.path(problem.Dst) + partialSuffix)
	if err != nil {
		t.Fatal(err)
	}
	went := 0
	for n := range text {
		flipped := slices.Clone(text)
		flipped[n] ^= 1 << (n % 5) // digits remain digits, often
		put(t, path, string(flipped))
		put(t, b.path(problem.Dst)+partialSuffix, string(partial))
		if _, _, err := b.run(t.Context(), o); err == nil {
			went++
			b.check(fmt.Sprintf("a bit of byte %d of %q", n, text))
		} else if !errors.Is(err, ErrInterrupted) {
			t.Fatalf("a bit of byte %d: %v", n, err)
		}
	}
	if went == 0 {
		t.Error("no run went on")
	}
}

// A result counts only once its data is on the disk.
func TestDataBeforeJournal(t *testing.T) {
	dev := open(t)
	b := newBench(t, dev, problemtest.Parse(t, "conv:mb1ic3ih40oc4kh3ph1"))
	o := Options{Tiling: tiling.Options{MemLimit: 30 << 10}}
	broken := o
	broken.faults.sync = func() error { return errBroken }
	if _, _, err := b.run(t.Context(), broken); !errors.Is(err, errBroken) {
		t.Fatalf("a disk that fails: %v", err)
	}
	text, err := os.ReadFile(b.path(problem.Dst) + journalSuffix)
	if err != nil || strings.Count(string(text), "\n") != 1 {
		t.Errorf("journal %q: %v", text, err)
	}
	if finished, _, err := b.run(t.Context(), o); finished != 0 || err != nil {
		t.Errorf("%d results were finished: %v", finished, err)
	}
	b.check("after a disk that failed")
}

// A run that was killed between its last tile and its end only ends.
func TestInterruptedAtTheEnd(t *testing.T) {
	dev := open(t)
	o := Options{Tiling: tiling.Options{MemLimit: 12 << 10}}
	b := newBench(t, dev, problemtest.Parse(t, "pool:max:indices=flat:mb2ic6ih20kh2sh2"))
	var kept string
	broken := o
	broken.faults.sync = func() error { // the last journal is kept
		text, err := os.ReadFile(b.path(problem.Dst) + journalSuffix)
		kept = string(text)
		return err
	}
	_, tiles, err := b.run(t.Context(), broken)
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(kept, "\n")
	j := &journal{key: crc32.ChecksumIEEE([]byte(head))}
	head += "\n" + j.line(fmt.Sprintf("done 0 %d", tiles.Results()-1)) + j.line("complete")
	for _, renamed := range [][]problem.Role{{}, {problem.Dst}, {problem.Ind}, {problem.Dst, problem.Ind}} {
		for _, r := range b.p.Outputs() {
			if !slices.Contains(renamed, r) {
				if err := os.Rename(b.path(r), b.path(r)+partialSuffix); err != nil {
					t.Fatal(err)
				}
			}
		}
		put(t, b.path(problem.Dst)+journalSuffix, head)
		if _, _, err := b.run(t.Context(), o); err != nil {
			t.Fatalf("%v were renamed: %v", renamed, err)
		}
		b.check(fmt.Sprintf("%v were renamed", renamed))
	}
}

// A result over its own source is not taken for a source where a run was killed after it had got its name.
func TestInterruptedOverItsSource(t *testing.T) {
	for _, text := range []string{"conv:mb1ic3ih40oc3kh3ph1", "conv:mb1ic3ih40oc4kh3"} {
		o := Options{Tiling: tiling.Options{MemLimit: 30 << 10}}
		b := newBench(t, open(t), problemtest.Parse(t, text))
		b.over = true
		var head string
		broken := o
		broken.faults.sync = func() error {
			all, err := os.ReadFile(b.path(problem.Dst) + journalSuffix)
			head, _, _ = strings.Cut(string(all), "\n")
			return err
		}
		if _, _, err := b.run(t.Context(), broken); err != nil {
			t.Fatal(err)
		}
		b.check(text)
		j := &journal{key: crc32.ChecksumIEEE([]byte(head))}
		put(t, b.path(problem.Dst)+journalSuffix, head+"\n"+j.line("complete"))
		if _, _, err := b.run(t.Context(), o); !errors.Is(err, ErrInterrupted) || !strings.Contains(err.Error(), "nothing is left to do") {
			t.Errorf("%s: %v", text, err)
		}
		if err := os.Remove(b.path(problem.Dst) + journalSuffix); err != nil { // as it says
			t.Fatal(err)
		}
		b.check(text + " again")
	}
}

// A source stays until every other result has its name: a run that cannot give it one goes on from there.
func TestSourceIsReplacedLast(t *testing.T) {
	o := Options{Tiling: tiling.Options{MemLimit: 30 << 10}}
	b := newBench(t, open(t), problemtest.Parse(t, "pool:max:indices=flat:mb2ic6ih20kh3ph1"))
	b.over = true
	before, err := os.ReadFile(b.path(problem.Src))
	if err != nil {
		t.Fatal(err)
	}
	blocked := o
	blocked.faults.sync = func() error { // a folder cannot be replaced by a file
		return os.MkdirAll(filepath.Join(b.path(problem.Ind), "in the way"), 0o777)
	}
	if _, _, err := b.run(t.Context(), blocked); err == nil {
		t.Fatal("a result got a folder's name")
	}
	if after, err := os.ReadFile(b.path(problem.Src)); err != nil || !bytes.Equal(after, before) {
		t.Fatalf("the source was replaced (%v)", err)
	}
	if err := os.RemoveAll(b.path(problem.Ind)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	b.check("after a name that was taken")
}

// Two processes do not work on one result.
func TestLocked(t *testing.T) {
	dev := open(t)
	o := Options{Tiling: tiling.Options{MemLimit: 30 << 10}}
	b := newBench(t, dev, problemtest.Parse(t, "conv:mb1ic3ih40oc4kh3ph1"))
	inside := o
	tried := false
	inside.Tiling.Progress = func(int, int, int64) {
		if !tried {
			tried = true
			if _, _, err := b.run(t.Context(), o); !errors.Is(err, ErrInterrupted) || !strings.Contains(err.Error(), "another process") {
				t.Errorf("a second run: %v", err)
			}
		}
	}
	if _, _, err := b.run(t.Context(), inside); err != nil || !tried {
		t.Fatal(tried, err)
	}
	b.check("the first run")
}

// Two runs that were both prepared when there was nothing yet do not write over each other.
func TestTwoBegin(t *testing.T) {
	dev := open(t)
	o := Options{Tiling: tiling.Options{MemLimit: 30 << 10}}
	b := newBench(t, dev, problemtest.Parse(t, "conv:mb1ic3ih40oc4kh3ph1"))
	second, done, err := b.prepare(t.Context(), o)
	defer done()
	if err != nil {
		t.Fatal(err)
	}
	first := o
	tried := false
	first.Tiling.Progress = func(done, _ int, _ int64) {
		if done == 3 {
			tried = true
			if err := second.Run(t.Context()); !errors.Is(err, ErrInterrupted) || !strings.Contains(err.Error(), "another process") {
				t.Errorf("a second run: %v", err)
			}
		}
	}
	if _, _, err := b.run(t.Context(), first); err != nil || !tried {
		t.Fatal(tried, err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	b.check("the first run")
}

// A run that waits for another one, which then comes to its end, does not take that one's journal, which is no more, for its own.
func TestWaitedFor(t *testing.T) {
	dev := open(t)
	o := Options{Tiling: tiling.Options{MemLimit: 30 << 10}}
	b := newBench(t, dev, problemtest.Parse(t, "conv:mb1ic3ih40oc4kh3ph1"))
	second := make(chan error, 1)
	first := o
	first.Tiling.Progress = func(done, _ int, _ int64) {
		if done == 1 {
			go func() {
				_, _, err := b.run(t.Context(), o)
				second <- err
			}()
			time.Sleep(leaving / 30) // so that it most likely waits
		}
	}
	_, _, err := b.run(t.Context(), first)
	if waited := <-second; err != nil || waited != nil && !errors.Is(waited, ErrInterrupted) {
		t.Errorf("%v, then %v", err, waited)
	}
	b.check("the second run")
}

// A source that is written to while it is read makes no result, whether it is hashed as a whole or not.
func TestChangedWhileRead(t *testing.T) {
	dev := open(t)
	for _, c := range []struct {
		text  string
		limit int64
	}{
		{"pool:max:u8:mb1ic64ih64kh2sh2", 64 << 10},
		{"pool:max:u8:mb1ic64ih550kh2sh2", 4 << 20},
	} {
		for _, shorter := range []bool{false, true} {
			b := newBench(t, dev, problemtest.Parse(t, c.text))
			src := b.path(problem.Src)
			o := Options{Tiling: tiling.Options{MemLimit: c.limit}}
			st, err := os.Stat(src)
			if err != nil {
				t.Fatal(err)
			}
			if large := st.Size() > hashedWhole; large != (c.limit > 1<<20) {
				t.Fatalf("%d bytes", st.Size())
			}
			text, err := os.ReadFile(src)
			if err != nil {
				t.Fatal(err)
			}
			o.Tiling.Progress = func(done, _ int, _ int64) {
				if done != 1 {
					return
				}
				if shorter {
					err = os.Truncate(src, st.Size()/2)
				} else {
					err = writeAt(src, []byte{^text[len(text)/2]}, int64(len(text)/2))
				}
				if err != nil {
					t.Error(err)
				}
			}
			_, tiles, err := b.run(t.Context(), o)
			says := "src has changed since"
			if shorter {
				says = src + ": unusable file: it has become shorter"
			}
			if err == nil || !strings.Contains(err.Error(), says) || shorter == errors.Is(err, ErrInterrupted) {
				t.Errorf("%v, shorter: %v: %v", tiles, shorter, err)
			}
			if _, err := os.Stat(b.path(problem.Dst)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("there is a result: %v", err)
			}
		}
	}
}

func writeAt(path string, p []byte, off int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(p, off)
	return errors.Join(err, f.Close())
}

// What cannot be written to is refused before anything is computed.
func TestOutputsAreWritable(t *testing.T) {
	dev := open(t)
	b := newBench(t, dev, problemtest.Parse(t, "pool:max:indices=flat:mb2ic6ih20kh2sh2"))
	var f Files
	f.In[problem.Src] = tiling.Memory{Tensor: b.in[problem.Src]}
	for _, c := range []struct{ dst, ind, says string }{
		{"", "", "no file"},
		{b.dir, "", "no regular file"},
		{b.path(problem.Dst), b.dir + "/./dst.npy", "both"},
	} {
		f.Out[problem.Dst], f.Out[problem.Ind] = c.dst, c.ind
		if _, err := Prepare(t.Context(), dev, b.p, f, Options{}); !errors.Is(err, engine.ErrInvalid) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
