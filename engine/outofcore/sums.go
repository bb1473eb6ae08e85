package outofcore

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"time"
)

// sums keep the sum of a result's first parts, while these are added up, in two files that take turns: a process that is killed
// while it writes one of them leaves the other. A file is the run's key, result, number of parts, the sum, and a hash of these.
type sums struct {
	paths [2]string
	key   [sha256.Size]byte // of the journal's head: sums of another run are none
	every time.Duration     // between two of them, at least; 0: each is kept

	turn int       // the file to write next
	idle time.Time // until then nothing is written
	off  bool      // it went wrong
}

const (
	sumEvery = time.Second
	sumShare = 20 // of the time at most one part goes into sums
	sumHead  = sha256.Size + 16
)

// newSums are the sums of the run whose journal has the head.
func newSums(path string, h head) (*sums, error) {
	text, err := json.Marshal(h)
	return &sums{paths: [2]string{path + ".sum0", path + ".sum1"}, key: sha256.Sum256(text), every: sumEvery}, err
}

// load is the most complete sum of a result, which has so many bytes; 0 parts if there is none.
func (s *sums) load(result int, size int64) (parts int, sum []byte) {
	for i, path := range s.paths {
		n, data := s.read(path, result, size)
		if n > parts {
			parts, sum = n, data
			s.turn = 1 - i
		}
	}
	return parts, sum
}

// read is what a file has of a result.
func (s *sums) read(path string, result int, size int64) (parts int, sum []byte) {
	f, err := os.Open(path)
	if err != nil {
		return 0, nil
	}
	defer f.Close()
	want := sumHead + size + sha256.Size
	text, err := io.ReadAll(io.LimitReader(f, want+1))
	if err != nil || int64(len(text)) != want || !bytes.HasPrefix(text, s.key[:]) {
		return 0, nil
	}
	body, hash := text[:want-sha256.Size], text[want-sha256.Size:]
	if is := sha256.Sum256(body); !bytes.Equal(is[:], hash) {
		return 0, nil
	}
	numbers := body[sha256.Size:]
	n := binary.LittleEndian.Uint64(numbers[8:])
	if binary.LittleEndian.Uint64(numbers) != uint64(result) || n >= 1<<31 {
		return 0, nil
	}
	return int(n), body[sumHead:]
}

// keep writes a sum, unless it is too early for another one.
func (s *sums) keep(result, parts int, sum []byte) {
	start := time.Now()
	if s.off || start.Before(s.idle) {
		return
	}
	if err := s.write(result, parts, sum); err != nil {
		slog.Warn("partial sums are not kept: an interrupted run starts this result over", "error", err)
		s.off = true
	}
	if s.every > 0 {
		s.idle = start.Add(max(s.every, sumShare*time.Since(start)))
	}
}

func (s *sums) write(result, parts int, sum []byte) (err error) {
	f, err := os.Create(s.paths[s.turn])
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
	s.turn = 1 - s.turn
	return f.Sync()
}

// remove forgets them.
func (s *sums) remove() error {
	for _, path := range s.paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
