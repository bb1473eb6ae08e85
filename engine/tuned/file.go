package tuned

import (
	"bufio"
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/gonvolve/gonvolve/engine/problem"
)

// ErrFile is what errors about files of choices wrap.
var ErrFile = errors.New("not a file of tuned choices (JSON lines, as `gonvolve tune --export` writes them)")

//go:embed known
var files embed.FS

// known reads the built-in sets. A test reads them too: a set that is damaged does not get this far.
var known = sync.OnceValue(func() map[Key]Entry {
	all := map[Key]Entry{}
	names, _ := fs.Glob(files, "known/*.jsonl") // its only error is a bad pattern
	for _, name := range names {
		data, err := files.ReadFile(name)
		if err != nil {
			continue
		}
		set, err := read(bytes.NewReader(data))
		if err != nil {
			continue
		}
		for k, e := range set {
			all[k] = e
		}
	}
	return all
})

// check refuses entries that nobody can have measured.
func (e *Entry) check() error {
	p, err := problem.Parse(e.Problem)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrFile, err)
	case Text(p) != e.Problem:
		return fmt.Errorf("%w: problem %q is written %q", ErrFile, e.Problem, Text(p))
	case e.Device == "" || e.Kernels == "" || e.Algorithm == "" || e.Check == "":
		return fmt.Errorf("%w: device, kernels, algorithm or check is missing", ErrFile)
	case !(e.MS > 0):
		return fmt.Errorf("%w: a time of %v ms", ErrFile, e.MS)
	}
	return nil
}

// better says whether an entry counts more than another with the same key: the faster of the same code, the younger of
// different codes.
func better(e, old Entry) bool {
	if e.Kernels == old.Kernels {
		return e.MS < old.MS
	}
	return e.Date > old.Date
}

// read reads entries, the better of two with the same key.
func read(r io.Reader) (map[Key]Entry, error) {
	all := map[Key]Entry{}
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<20)
	for line := 1; in.Scan(); line++ {
		if len(bytes.TrimSpace(in.Bytes())) == 0 {
			continue
		}
		var e Entry
		d := json.NewDecoder(bytes.NewReader(in.Bytes()))
		d.DisallowUnknownFields()
		err := d.Decode(&e)
		if err != nil {
			err = fmt.Errorf("%w: %w", ErrFile, err)
		} else {
			err = e.check()
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		if old, ok := all[e.Key]; !ok || better(e, old) {
			all[e.Key] = e
		}
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	return all, nil
}

func write(w io.Writer, list []Entry) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for i := range list {
		if err := enc.Encode(&list[i]); err != nil {
			return err
		}
	}
	return nil
}

// Export writes the user's choices, one a line.
func (db *DB) Export(w io.Writer) error { return write(w, db.Entries()) }

// Merge takes the choices of a file that are new or better than those with the same key: faster with the same code, or of
// a later day with other code. It keeps them. Of a file with a mistake it takes nothing.
func (db *DB) Merge(r io.Reader) (taken, total int, err error) {
	more, err := read(r)
	if err != nil {
		return 0, 0, err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	changes := map[Key]Entry{}
	for k, e := range more {
		if old, ok := db.own[k]; !ok || better(e, old) {
			db.own[k], changes[k] = e, e
		}
	}
	if len(changes) == 0 {
		return 0, len(more), nil
	}
	return len(changes), len(more), db.save(changes)
}
