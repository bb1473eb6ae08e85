package outofcore

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
)

// sums keep the sums of results' first parts, while these are added up. Each result has two files that take turns: a process
// that is killed while it writes one of them leaves the other. A file is the run's key, result, number of parts, the sum, and a
// hash of these.
type sums struct {
	path  string
	key   [sha256.Size]byte // of the journal's head: sums of another run are none
	parts int               // of a result
	size  func(result int) int64
	every time.Duration // between two sums of a result, at least; 0: each is kept

	mu    sync.Mutex
	slots [sumSlots]slot
	off   bool // it went wrong
}

// slot is the two files of a result, the most complete of which has so many parts.
type slot struct {
	result int // −1: none's
	turn   int // the file to write next
	parts  int
	idle   time.Time // until then nothing is written
}

const (
	sumSlots = 8 // as many results are kept at a time, of as many devices
	sumEvery = time.Second
	sumShare = 20 // of the time at most one part goes into sums
	sumHead  = sha256.Size + 16
)

// newSums are the sums of the run whose journal has the head, of results that have so many parts each.
func newSums(path string, h head, parts int, size func(int) int64) (*sums, error) {
	text, err := json.Marshal(h)
	s := &sums{path: path, key: sha256.Sum256(text), parts: parts, size: size, every: sumEvery}
	for i := range s.slots {
		s.slots[i].result = -1
	}
	return s, err
}

// file is one of the two of a slot.
func (s *sums) file(slot, turn int) string { return fmt.Sprintf("%s.sum%d", s.path, 2*slot+turn) }

// find takes up the sums of results that are wanted, and returns how many parts they have together.
func (s *sums) find(wanted func(result int) bool) (parts int) {
	best := map[int]*slot{}
	for i := range s.slots {
		for turn := range 2 {
			result, n, _ := s.read(s.file(i, turn), wanted)
			if b := best[result]; n == 0 || b != nil && b.parts >= n {
				continue
			} else if b != nil {
				parts -= b.parts
				b.result = -1
			}
			if was := s.slots[i]; was.result >= 0 { // of which this one took the place
				parts -= was.parts
				delete(best, was.result)
			}
			s.slots[i] = slot{result: result, turn: 1 - turn, parts: n}
			best[result] = &s.slots[i]
			parts += n
		}
	}
	return parts
}

// load is the most complete sum of a result; 0 parts if there is none.
func (s *sums) load(result int) (parts int, sum []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.slots {
		if at := &s.slots[i]; at.result == result && at.parts > 0 {
			_, parts, sum = s.read(s.file(i, 1-at.turn), func(is int) bool { return is == result })
			return parts, sum
		}
	}
	return 0, nil
}

// read is what a file has of a result that is wanted.
func (s *sums) read(path string, wanted func(result int) bool) (result, parts int, sum []byte) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, nil
	}
	defer f.Close()
	top := make([]byte, sumHead)
	if _, err := io.ReadFull(f, top); err != nil || !bytes.HasPrefix(top, s.key[:]) {
		return 0, 0, nil
	}
	numbers := top[sha256.Size:]
	r, n := binary.LittleEndian.Uint64(numbers), binary.LittleEndian.Uint64(numbers[8:])
	if r >= 1<<31 || n == 0 || n >= uint64(s.parts) || !wanted(int(r)) {
		return 0, 0, nil
	}
	want := s.size(int(r)) + sha256.Size
	text, err := io.ReadAll(io.LimitReader(f, want+1))
	if err != nil || int64(len(text)) != want {
		return 0, 0, nil
	}
	h := sha256.New()
	h.Write(top)
	h.Write(text[:want-sha256.Size])
	if !bytes.Equal(h.Sum(nil), text[want-sha256.Size:]) {
		return 0, 0, nil
	}
	return int(r), int(n), text[:want-sha256.Size]
}

// keep writes a sum, unless it is too early for another one. It is called for one sum of a result at a time.
func (s *sums) keep(result, parts int, sum []byte) {
	start := time.Now()
	i, turn := s.place(result, start)
	if i < 0 {
		return
	}
	err := s.write(s.file(i, turn), result, parts, sum)
	s.mu.Lock()
	defer s.mu.Unlock()
	at := &s.slots[i]
	if err != nil {
		slog.Warn("partial sums are not kept: an interrupted run starts this result over", "error", err)
		s.off = true
	} else {
		at.turn, at.parts = 1-turn, parts
	}
	if s.every > 0 {
		at.idle = start.Add(max(s.every, sumShare*time.Since(start)))
	}
}

// place is the slot of a result and the file to write; less than 0 if nothing is to be written now.
func (s *sums) place(result int, now time.Time) (i, turn int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	find := func(result int) int {
		return slices.IndexFunc(s.slots[:], func(at slot) bool { return at.result == result })
	}
	if i = find(result); i < 0 {
		if i = find(-1); i >= 0 {
			s.slots[i].result, s.slots[i].parts = result, 0
		}
	}
	if s.off || i < 0 || now.Before(s.slots[i].idle) {
		return -1, 0
	}
	return i, s.slots[i].turn
}

// done makes room for another result.
func (s *sums) done(result int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.slots {
		if s.slots[i].result == result {
			s.slots[i].result = -1
		}
	}
}

func (s *sums) write(path string, result, parts int, sum []byte) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	top := binary.LittleEndian.AppendUint64(append([]byte(nil), s.key[:]...), uint64(result))
	top = binary.LittleEndian.AppendUint64(top, uint64(parts))
	h := sha256.New()
	to := io.MultiWriter(f, h)
	for _, part := range [][]byte{top, sum} {
		if _, err := to.Write(part); err != nil {
			return err
		}
	}
	if _, err := f.Write(h.Sum(nil)); err != nil {
		return err
	}
	return f.Sync()
}

// remove forgets them.
func (s *sums) remove() error {
	for i := range 2 * sumSlots {
		if err := os.Remove(s.file(i/2, i%2)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
