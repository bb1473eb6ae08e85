package tuned

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/engine/cache"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

const text = "mb1ic4ih8oc6kh3ph1"

// runs is a device that runs one code.
type runs struct {
	driver.Device
	code string
}

func (r runs) Runs(code string) bool                                { return code == r.code }
func (r runs) Candidates(problem.Problem) (none []driver.Candidate) { return none }

// same runs what entries were measured with.
var same = runs{code: "k1"}

func entry(t *testing.T, device string, ms float64) Entry {
	t.Helper()
	p, err := problem.Parse(text + `n"named"`)
	if err != nil {
		t.Fatal(err)
	}
	return Entry{
		Key: Key{Device: device, Problem: Text(p)}, Kernels: "k1", Algorithm: "igemm", Tile: "tx=4", MS: ms,
		Default: "direct", DefaultMS: 2 * ms, Tried: 3, Check: "exact, bounded", Date: "2026-01-02",
	}
}

func TestRoundTrip(t *testing.T) {
	c := cache.At(t.TempDir())
	db := Load(c)
	a, b := entry(t, "a", 1), entry(t, "b", 2)
	for _, e := range []Entry{a, b, a} {
		if err := db.Put(e); err != nil {
			t.Fatal(err)
		}
	}
	for _, db := range []*DB{db, Load(c)} {
		if got := db.Entries(); !reflect.DeepEqual(got, []Entry{a, b}) {
			t.Errorf("kept %+v", got)
		}
		if got, ok := db.Lookup(same, a.Key); !ok || got != a || got.Options() != (driver.PlanOptions{Algorithm: "igemm", Tile: "tx=4"}) {
			t.Errorf("found %+v, %v", got, ok)
		}
		for _, k := range []Key{{"c", a.Problem}, {"a", "mb1ic4ih8oc7kh3ph1"}} {
			if got, ok := db.Lookup(same, k); ok {
				t.Errorf("%v found %+v", k, got)
			}
		}
	}
	// Two processes that were started before either kept something keep both.
	one, two := Load(c), Load(c)
	x, y := entry(t, "x", 1), entry(t, "y", 1)
	if err := errors.Join(one.Put(x), two.Put(y)); err != nil {
		t.Fatal(err)
	}
	if n := len(Load(c).Entries()); n != 4 {
		t.Errorf("%d entries of two processes", n)
	}
	if why := a.Why(); why != "tuned: 1 ms on 2026-01-02, 2 ms by direct" {
		t.Error(why)
	}
}

// Damage anywhere is an empty database, which works.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	if err := Load(cache.At(dir)).Put(entry(t, "a", 1)); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	whole, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(whole); i += 7 {
		for _, damaged := range [][]byte{whole[:i], append(bytes.Clone(whole[:i]), append([]byte{whole[i] ^ 1}, whole[i+1:]...)...)} {
			if err := os.WriteFile(files[0], damaged, 0o644); err != nil {
				t.Fatal(err)
			}
			if got := Load(cache.At(dir)).Entries(); len(got) != 0 {
				t.Fatalf("damage at %d is read as %+v", i, got)
			}
		}
	}
	db := Load(cache.At(dir))
	if err := db.Put(entry(t, "b", 1)); err != nil || len(Load(cache.At(dir)).Entries()) != 1 {
		t.Errorf("after damage nothing is kept: %v", err)
	}
}

func TestMerge(t *testing.T) {
	db, other := Load(nil), Load(cache.At(t.TempDir()))
	for _, e := range []Entry{entry(t, "same", 2), entry(t, "mine faster", 1), entry(t, "mine slower", 3)} {
		if err := other.Put(e); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range []Entry{entry(t, "same", 2), entry(t, "mine faster", 0.5), entry(t, "mine slower", 4)} {
		if err := db.Put(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := other.Put(entry(t, "new", 9)); err != nil {
		t.Fatal(err)
	}
	var file strings.Builder
	if err := other.Export(&file); err != nil {
		t.Fatal(err)
	}
	taken, total, err := db.Merge(strings.NewReader(file.String() + "\n"))
	if err != nil || taken != 2 || total != 4 {
		t.Errorf("%d of %d taken, %v", taken, total, err)
	}
	for device, ms := range map[string]float64{"same": 2, "mine faster": 0.5, "mine slower": 3, "new": 9} {
		if got, _ := db.Lookup(same, entry(t, device, 1).Key); got.MS != ms {
			t.Errorf("%s has %v ms, not %v", device, got.MS, ms)
		}
	}
	// Of other code the younger counts, whatever its time.
	for date, want := range map[string]float64{"2026-01-01": 0.5, "2026-01-03": 0.5, "2026-02-01": 7} {
		db := Load(nil)
		old, e := entry(t, "mine", 0.5), entry(t, "mine", 7)
		e.Date = date
		if date != "2026-01-03" {
			e.Kernels = "k2"
		}
		var file strings.Builder
		if err := errors.Join(db.Put(old), write(&file, []Entry{e})); err != nil {
			t.Fatal(err)
		}
		if _, _, err := db.Merge(strings.NewReader(file.String())); err != nil || db.Entries()[0].MS != want {
			t.Errorf("of %s and %s stays %+v, %v", old.Date, date, db.Entries(), err)
		}
	}
	line := strings.SplitAfter(file.String(), "\n")[0]
	for _, bad := range []string{"x", "{}", strings.Replace(line, `"ms":1`, `"ms":0`, 1), strings.Replace(line, `"ms":1`, `"ms":-1`, 1),
		strings.Replace(line, "mb1ic4", "mb1ic0", 1), strings.Replace(line, `"igemm"`, `""`, 1), strings.Replace(line, `"tile"`, `"tyle"`, 1),
		strings.Replace(line, `"exact, bounded"`, `""`, 1), strings.Replace(line, "kh3", `kh3n\"name\"`, 1)} {
		if bad == line {
			t.Fatalf("nothing was replaced in %s", line)
		}
		before := len(db.Entries())
		if _, _, err := db.Merge(strings.NewReader(strings.Replace(line, "mine faster", "never seen", 1) + bad)); !errors.Is(err, ErrFile) ||
			!strings.Contains(err.Error(), "line 2") || len(db.Entries()) != before {
			t.Errorf("%s is taken: %v, %d entries", bad, err, len(db.Entries()))
		}
	}
	if err := db.Put(Entry{}); !errors.Is(err, ErrFile) {
		t.Errorf("an empty entry: %v", err)
	}
}

// What is built in is sound, and the user's own choice counts more.
func TestBuiltIn(t *testing.T) {
	names, err := filepath.Glob("known/*.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		set, err := read(f)
		f.Close()
		if err != nil || len(set) == 0 {
			t.Errorf("%s: %d entries, %v", name, len(set), err)
		}
		for k := range set {
			if e, ok := BuiltIn().Lookup(runs{code: set[k].Kernels}, k); !ok || e.Key != k {
				t.Errorf("%s: %v is not looked up", name, k)
			}
		}
	}
	built, own := entry(t, "a", 1), entry(t, "a", 5)
	db := Load(nil)
	db.known = map[Key]Entry{built.Key: built}
	if got, ok := db.Lookup(same, built.Key); !ok || got.MS != 1 || len(db.Entries()) != 0 {
		t.Errorf("built in: %+v, %v", got, ok)
	}
	if got, ok := db.Lookup(runs{code: "k2"}, built.Key); ok {
		t.Errorf("of other kernels: %+v", got)
	}
	if _, ok := db.Own(same, built.Key); ok {
		t.Error("what is built in is taken for the user's")
	}
	if err := db.Put(own); err != nil {
		t.Fatal(err)
	}
	if got, _ := db.Lookup(same, built.Key); got.MS != 5 {
		t.Errorf("the user's choice does not count: %+v", got)
	}
	// A choice whose kernels changed gives way, and counts again where they are those it was measured with.
	own.Kernels = "k2"
	if err := db.Put(own); err != nil {
		t.Fatal(err)
	}
	if got, _ := db.Lookup(same, built.Key); got.MS != 1 {
		t.Errorf("of changed kernels: %+v", got)
	}
	if got, _ := db.Lookup(runs{code: "k2"}, built.Key); got.MS != 5 {
		t.Errorf("of the same kernels: %+v", got)
	}
	var none *DB
	if _, ok := none.Lookup(same, built.Key); ok || none.Entries() != nil {
		t.Error("nil is not empty")
	}
}

func TestDeviceKey(t *testing.T) {
	gpu := driver.Info{Name: "g", API: "Vulkan 1.3", ID: "id", Type: driver.Discrete, ComputeUnits: 8}
	if k := DeviceKey(gpu); k != "Vulkan id" {
		t.Error(k)
	}
	gpu.Type = driver.CPU
	if k := DeviceKey(gpu); k != "Vulkan id g ×8" {
		t.Error(k)
	}
}

func TestUser(t *testing.T) {
	t.Setenv("GONVOLVE_CACHE", t.TempDir())
	if err := User().Put(entry(t, "a", 1)); err != nil {
		t.Fatal(err)
	}
	if first, again := User(), User(); first != again || len(again.Entries()) != 1 {
		t.Error("the user's database is not one")
	}
	t.Setenv("GONVOLVE_CACHE", "off")
	before := len(User().Entries())
	if err := User().Put(entry(t, "off", 1)); err != nil || len(User().Entries()) != before+1 {
		t.Errorf("without a cache: %v", err)
	}
}
