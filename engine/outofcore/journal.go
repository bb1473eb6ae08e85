package outofcore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	journalVersion = 2
	maxJournal     = 64 << 20 // bytes that are read
)

// head is the first line of a journal: JSON.
type head struct {
	Gonvolve int      `json:"gonvolve_journal"`
	ID       identity `json:"run"`
	Device   string   `json:"device"` // for people
	Steps    []int    `json:"steps"`
}

// journal is the record of a run in a file: the head, lines "done FIRST LAST" for results, and "complete" once there are all.
// Behind each of these lines stands a checksum of the head and of it: what was torn by a crash, or has changed on the disk, is
// ignored with all that follows, and computed again.
type journal struct {
	path string
	f    *os.File // locked; nil before claim
	head head
	key  uint32 // the head's checksum, which those of the lines begin with

	found    bool     // there was one
	done     [][2]int // the first and last of results in it
	complete bool

	mu      sync.Mutex
	pending []int
	wake    chan struct{}
}

// errEnded says that a journal's run, of which an input has changed since, came to have all results.
var errEnded = errors.New("its results were all there")

// openJournal reads a journal, if there is one and it is not to be forgotten.
func openJournal(path string, id identity, restart bool) (*journal, error) {
	j := &journal{path: path, head: head{Gonvolve: journalVersion, ID: id}, wake: make(chan struct{}, 1)}
	for j.f == nil {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if errors.Is(err, os.ErrNotExist) {
			return j, nil
		}
		if err != nil {
			return nil, err
		}
		switch {
		case !locked(f):
			f.Close()
			return nil, taken(path)
		case !there(f, path): // another process has come to its end, and removed it, since it was opened
			f.Close()
			continue
		}
		j.f = f
	}
	if restart {
		return j, nil
	}
	if err := j.read(id); err != nil {
		j.f.Close()
		return nil, fmt.Errorf("%w: %s: %w; start over (--restart), or write to another file", ErrInterrupted, path, err)
	}
	return j, nil
}

// taken is the error of a journal that is another process's.
func taken(path string) error {
	return fmt.Errorf("%w: %s: another process is at it; wait for it, or end it", ErrInterrupted, path)
}

// there says whether an open file is still the one of that name.
func there(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(path)
	return err == nil && os.SameFile(mine, named)
}

// leaving is how long a process that was killed may take to be gone: it has memory and devices to give back.
const leaving = 3 * time.Second

// locked locks a file, unless another process keeps it.
func locked(f *os.File) bool {
	for end := time.Now().Add(leaving); !lock(f); time.Sleep(leaving / 100) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// read reads what an interrupted run left, and makes ready to append to it.
func (j *journal) read(id identity) error {
	text, err := io.ReadAll(io.LimitReader(j.f, maxJournal+1))
	if err != nil {
		return err
	}
	line, rest, ok := bytes.Cut(text, []byte{'\n'})
	switch begin := []byte(`{"gonvolve_journal":`); {
	case len(text) > maxJournal || !bytes.HasPrefix(text, begin[:min(len(begin), len(text))]):
		return errors.New("not a journal")
	case !ok: // killed while it was begun: nothing is finished
		return nil
	}
	var h head
	if err := json.Unmarshal(line, &h); err != nil || h.Gonvolve != journalVersion {
		return errors.New("not a journal of this version")
	}
	if h.Steps == nil {
		return errors.New("it does not say how the problem was cut")
	}
	j.key = crc32.ChecksumIEEE(line)
	good := len(line) + 1
	for !j.complete {
		entry, more, ok := bytes.Cut(rest, []byte{'\n'})
		if !ok || !j.enter(string(entry)) {
			break
		}
		good, rest = good+len(entry)+1, more
	}
	if err := h.ID.differs(id); j.complete && err != nil {
		return fmt.Errorf("%w: %w", errEnded, err)
	} else if err != nil {
		return err
	}
	j.head, j.found = h, true
	if err := j.f.Truncate(int64(good)); err != nil {
		return err
	}
	_, err = j.f.Seek(int64(good), io.SeekStart)
	return err
}

// line is what stands in the journal for an entry.
func (j *journal) line(entry string) string {
	return fmt.Sprintf("%s %08x\n", entry, crc32.Update(j.key, crc32.IEEETable, []byte(entry)))
}

const (
	doneEntry     = "done %d %d"
	completeEntry = "complete"
)

// enter takes in a line that was read, if it is as it was written.
func (j *journal) enter(line string) bool {
	entry := line[:max(0, strings.LastIndexByte(line, ' '))]
	if j.line(entry) != line+"\n" {
		return false
	}
	if entry == completeEntry {
		j.complete = true
		return true
	}
	var first, last int
	if _, err := fmt.Sscanf(entry, doneEntry, &first, &last); err != nil || first < 0 || last < first {
		return false
	}
	j.done = append(j.done, [2]int{first, last})
	return true
}

// claim makes the journal this process's, and empty: nothing is finished.
func (j *journal) claim() error {
	if j.f != nil {
		if err := j.f.Truncate(0); err != nil {
			return err
		}
		return j.f.Sync()
	}
	f, err := os.OpenFile(j.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, os.ErrExist) {
		return taken(j.path)
	}
	if err != nil {
		return err
	}
	if j.f = f; !locked(f) {
		return taken(j.path)
	}
	return nil
}

// begin writes the head of a journal that was claimed.
func (j *journal) begin(steps []int, device string) error {
	j.head.Steps, j.head.Device = steps, device
	text, err := json.Marshal(j.head)
	if err != nil {
		return err
	}
	j.key = crc32.ChecksumIEEE(text)
	if _, err = j.f.WriteAt(append(text, '\n'), 0); err == nil {
		_, err = j.f.Seek(0, io.SeekEnd)
	}
	if err == nil {
		err = j.f.Sync()
	}
	if err == nil {
		err = syncFolder(j.path)
	}
	return err
}

// written notes a result whose data was handed to the system.
func (j *journal) written(result int) {
	j.mu.Lock()
	j.pending = append(j.pending, result)
	j.mu.Unlock()
	select {
	case j.wake <- struct{}{}:
	default: // it is awake
	}
}

// between is how long there is at least from one entry to the next, which is what a process that is killed loses at most of what
// was finished: a disk that has to bring all to safety after each tile streams a few per cent slower.
const between = 200 * time.Millisecond

// keep puts results into the journal as they are written, once sync has returned, beside what computes them: as many at a
// time as there are then. When that fails it calls failed. end ends it, and puts in what is left unless that is to be lost.
func (j *journal) keep(sync func(last int) error, failed context.CancelCauseFunc) (end func(lose bool) error) {
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		stopped <- func() error {
			for {
				select {
				case <-j.wake:
				case <-stop:
					return nil
				}
				if err := j.commit(sync); err != nil {
					failed(err)
					return err
				}
				select {
				case <-time.After(between):
				case <-stop:
					return nil
				}
			}
		}()
	}()
	return func(lose bool) error {
		close(stop)
		if err := <-stopped; err != nil || lose {
			return err
		}
		return j.commit(sync)
	}
}

// commit syncs the data of pending results, and then puts them in the journal.
func (j *journal) commit(sync func(last int) error) error {
	j.mu.Lock()
	list := j.pending
	j.pending = nil
	j.mu.Unlock()
	if list == nil {
		return nil
	}
	slices.Sort(list) // several devices finish them in any order
	if err := sync(list[len(list)-1]); err != nil {
		return err
	}
	var text strings.Builder
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n] == list[0]+n {
			n++
		}
		text.WriteString(j.line(fmt.Sprintf(doneEntry, list[0], list[n-1])))
		list = list[n:]
	}
	return j.append(text.String())
}

// finish notes that all results are there.
func (j *journal) finish() error { return j.append(j.line(completeEntry)) }

func (j *journal) append(text string) error {
	if _, err := j.f.WriteString(text); err != nil {
		return err
	}
	return j.f.Sync()
}

// remove ends the journal for good.
func (j *journal) remove() error {
	if err := os.Remove(j.path); err != nil {
		return err
	}
	return errors.Join(j.close(), syncFolder(j.path))
}

func (j *journal) close() error {
	if j.f == nil {
		return nil
	}
	f := j.f
	j.f = nil
	return f.Close()
}
