// Package tuned is the database of measured choices: for a device and a problem, the algorithm and tile that was fastest
// and was proven right. A choice holds as long as the kernels that its plan runs stay what they were; changes of others do
// not touch it. Package engine looks plans up in it; package tune fills it.
//
// It consists of what this machine's user tuned, which is kept in the cache folder, and of the sets that are built in
// for devices that could be measured (known/*.jsonl). What the user measured counts more.
package tuned

import (
	"cmp"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"github.com/gonvolve/gonvolve/engine/cache"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// Key says what a choice was measured for.
type Key struct {
	Device  string `json:"device"`  // DeviceKey
	Problem string `json:"problem"` // Text
}

// Entry is a choice. It is one line of JSON in exported files.
type Entry struct {
	Key
	Kernels     string  `json:"kernels"`     // Code of the winner's plan
	DeviceName  string  `json:"device_name"` // for people
	Algorithm   string  `json:"algorithm"`
	Tile        string  `json:"tile"` // as driver.PlanOptions takes it
	MS          float64 `json:"ms"`   // median, submit to finish
	Default     string  `json:"default"`
	DefaultTile string  `json:"default_tile"`
	DefaultMS   float64 `json:"default_ms"` // of the device's own choice
	Tried       int     `json:"tried"`      // candidates that were timed
	Check       string  `json:"check"`      // how it was proven
	Date        string  `json:"date"`
}

// Options make the plan of the choice.
func (e *Entry) Options() driver.PlanOptions {
	return driver.PlanOptions{Algorithm: e.Algorithm, Tile: e.Tile}
}

// Why is the choice in words.
func (e *Entry) Why() string {
	why := fmt.Sprintf("tuned: %.4g ms on %s", e.MS, e.Date)
	if (e.Algorithm != e.Default || e.Tile != e.DefaultTile) && e.DefaultMS > 0 {
		why += fmt.Sprintf(", %.4g ms by %s", e.DefaultMS, strings.TrimSpace(e.Default+" "+e.DefaultTile))
	}
	return why
}

// Text is a problem without its name, as keys have it.
func Text(p problem.Problem) string {
	p.Name = ""
	return p.String()
}

// DeviceKey is the identity of a device for what was measured on it: its own and its driver's, and where the processor
// does the work, the processor and how much of it there is.
func DeviceKey(i driver.Info) string {
	api, _, _ := strings.Cut(i.API, " ")
	key := api + " " + i.ID
	if i.Type == driver.CPU {
		key += fmt.Sprintf(" %s ×%d", i.Name, i.ComputeUnits)
	}
	return key
}

// Code says what code a plan runs: the kernels that it names, or this version of the module.
func Code(i driver.PlanInfo) string { return cmp.Or(i.Kernels, Version()) }

// Runs says whether a device runs the code that a choice was measured with.
func Runs(d driver.Device, e *Entry) bool {
	if t, ok := d.(driver.Tuner); ok {
		return t.Runs(e.Kernels)
	}
	return e.Kernels == Version()
}

// Version is the module's version in this program, or "unknown".
var Version = sync.OnceValue(func() string {
	const module = "github.com/gonvolve/gonvolve"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == module {
			return cmp.Or(m.Version, "unknown")
		}
	}
	return "unknown"
})

// DB is a database. A nil *DB is empty. It is safe for concurrent use.
type DB struct {
	kept *cache.Cache

	mu    sync.RWMutex
	own   map[Key]Entry
	known map[Key]Entry
}

// cacheKey is where the user's part is kept: all of it in one entry.
const cacheKey = "tuned choices"

// Load reads the user's part from the cache; nil for none. A damaged or unreadable part is an empty one.
func Load(c *cache.Cache) *DB {
	db := &DB{kept: c, known: known()}
	db.own = stored(c)
	return db
}

func stored(c *cache.Cache) map[Key]Entry {
	own, err := read(strings.NewReader(string(c.Get(cacheKey))))
	if err != nil {
		own = map[Key]Entry{}
	}
	return own
}

// BuiltIn is the database of the sets that are built in. What is put into it is not kept.
var BuiltIn = sync.OnceValue(func() *DB { return Load(nil) })

var users struct {
	sync.Mutex
	byDir map[string]*DB
}

// User is the database of the user's cache folder, read once. Where there is none, it is kept for the process alone.
func User() *DB {
	c := cache.Open()
	users.Lock()
	defer users.Unlock()
	db := users.byDir[c.Dir()]
	if db == nil {
		db = Load(c)
		if users.byDir == nil {
			users.byDir = map[string]*DB{}
		}
		users.byDir[c.Dir()] = db
	}
	return db
}

// Lookup returns the choice for a problem on a device, unless it was measured with code that the device no longer runs.
func (db *DB) Lookup(d driver.Device, k Key) (Entry, bool) {
	if e, ok := db.Own(d, k); ok || db == nil {
		return e, ok
	}
	e, ok := db.known[k]
	return e, ok && Runs(d, &e)
}

// Own is Lookup in what the user tuned.
func (db *DB) Own(d driver.Device, k Key) (Entry, bool) {
	if db == nil {
		return Entry{}, false
	}
	db.mu.RLock()
	defer db.mu.RUnlock()
	e, ok := db.own[k]
	return e, ok && Runs(d, &e)
}

// Says is the choice for a key in words, whatever code it was measured with; empty if there is none.
func (db *DB) Says(k Key) string {
	if db == nil {
		return ""
	}
	db.mu.RLock()
	defer db.mu.RUnlock()
	e, ok := db.own[k]
	if !ok {
		e = db.known[k]
	}
	return strings.TrimSpace(e.Algorithm + " " + e.Tile)
}

// Entries lists the user's choices by device and problem.
func (db *DB) Entries() []Entry {
	if db == nil {
		return nil
	}
	db.mu.RLock()
	defer db.mu.RUnlock()
	return sorted(db.own)
}

func sorted(m map[Key]Entry) []Entry {
	list := make([]Entry, 0, len(m))
	for _, e := range m {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b Entry) int {
		return cmp.Or(strings.Compare(a.Device, b.Device), strings.Compare(a.Problem, b.Problem))
	})
	return list
}

// Put stores a choice, in place of the one that its key had, and keeps it in the cache folder.
func (db *DB) Put(e Entry) error {
	if err := e.check(); err != nil {
		return err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.own[e.Key] = e
	return db.save(map[Key]Entry{e.Key: e})
}

// save keeps changes, in addition to what other processes kept in the meantime. The caller holds mu.
func (db *DB) save(changes map[Key]Entry) error {
	all := stored(db.kept)
	for k, e := range changes {
		all[k] = e
	}
	var text strings.Builder
	if err := write(&text, sorted(all)); err != nil {
		return err
	}
	return db.kept.Put(cacheKey, []byte(text.String()))
}
