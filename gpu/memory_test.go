package gpu

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/gonvolve/gonvolve/engine/driver"
)

// overlap finds two regions that share memory, and checks each against its block.
func overlap(t *testing.T, regions []region, align int64) {
	t.Helper()
	for i, a := range regions {
		if a.off%align != 0 || a.off < 0 || a.off+a.size > a.block.size {
			t.Fatalf("region %+v of a block of %d, aligned to %d", a.span, a.block.size, align)
		}
		for _, b := range regions[:i] {
			if a.block == b.block && a.off < b.off+b.size && b.off < a.off+a.size {
				t.Fatalf("%+v and %+v overlap", a.span, b.span)
			}
		}
	}
}

// Whatever the order of allocations: live regions are disjoint, unused spans are in order and joined, nothing is lost.
func TestPoolRandom(t *testing.T) {
	for seed := range uint64(8) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		f := newFake()
		f.info.ViewAlignment = []int64{4, 64, 256, 1024}[seed%4]
		f.info.MaxBufferBytes = []int64{1 << 20, 64 << 20}[seed/4]
		p := newPool(f)
		var live []region
		for range 1500 {
			if len(live) > 0 && rnd.IntN(5) < 2 {
				i := rnd.IntN(len(live))
				p.release(live[i])
				live[i] = live[len(live)-1]
				live = live[:len(live)-1]
			} else if r, err := p.alloc(rnd.Int64N(1 << (1 + rnd.IntN(20)))); err == nil {
				live = append(live, r)
			} else if !errors.Is(err, driver.ErrOutOfMemory) {
				t.Fatal(err)
			}
			sum, free := int64(0), int64(0)
			for _, r := range live {
				sum += r.size
			}
			for _, b := range p.blocks {
				end := int64(-1)
				for _, s := range b.free {
					if s.size <= 0 || s.off <= end || s.off+s.size > b.size {
						t.Fatalf("unused spans %v of a block of %d", b.free, b.size)
					}
					end = s.off + s.size
					free += s.size
				}
			}
			if used, held := p.usage(); used != sum || held != sum+free || held > f.info.MemoryBytes {
				t.Fatalf("used %d, held %d; %d are live, %d unused", used, held, sum, free)
			}
		}
		overlap(t, live, p.align)
		for _, r := range live {
			p.release(r)
		}
		if used, held := p.usage(); used != 0 || held > idleBytes {
			t.Errorf("after all: %d used, %d held", used, held)
		}
		if p.trim(0); p.held != 0 || len(p.blocks) != 0 {
			t.Errorf("after trim: %d held in %d blocks", p.held, len(p.blocks))
		}
		f.finished(t)
	}
}

// While somebody saves memory, nothing is held that is not used, and no more is taken at a time than was asked for.
func TestPoolSavesMemory(t *testing.T) {
	f := newFake()
	p := newPool(f)
	take := func(bytes int64) region {
		r, err := p.alloc(bytes)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	p.release(take(1 << 20))
	if _, held := p.usage(); held != min(blockBytes, f.info.MaxBufferBytes) {
		t.Fatalf("%d bytes are held before", held)
	}
	first, second := p.save(), p.save()
	r := take(1 << 20)
	if used, held := p.usage(); used != 1<<20 || held != used {
		t.Errorf("%d bytes are used, %d held", used, held)
	}
	first()
	first() // counts once
	p.release(r)
	if used, held := p.usage(); used != 0 || held != 0 {
		t.Errorf("%d bytes are used, %d held in the end", used, held)
	}
	second()
	p.release(take(1 << 20))
	if _, held := p.usage(); held == 0 {
		t.Error("nothing is held for reuse after all")
	}
	p.trim(0)
	f.finished(t)
}

func TestPoolReusesAndJoins(t *testing.T) {
	f := newFake()
	p := newPool(f)
	take := func(n int64) region {
		t.Helper()
		r, err := p.alloc(n)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	a, b, c := take(1), take(257), take(0)
	if a.size != 256 || b.size != 512 || c.size != 256 || b.off != 256 || c.off != 768 {
		t.Fatalf("regions %v %v %v", a.span, b.span, c.span)
	}
	p.release(b)
	if again := take(300); again.span != b.span {
		t.Errorf("the hole %v is not reused but %v", b.span, again.span)
	} else {
		p.release(again)
	}
	p.release(a)
	p.release(c)
	if free := a.block.free; len(p.blocks) != 1 || len(free) != 1 || free[0] != (span{0, blockBytes}) {
		t.Errorf("unused spans are not joined: %v", free)
	}
	large := take(blockBytes + 1)
	if len(p.blocks) != 2 && large.block.size != large.size {
		t.Errorf("a large region has a block of %d", large.block.size)
	}
	p.release(large)
	p.close()
	f.finished(t)
}

func TestPoolLimit(t *testing.T) {
	f := newFake()
	f.info.MemoryBytes = 40 << 20
	p := newPool(f)
	small, err := p.alloc(4)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.alloc(39 << 20); !errors.Is(err, driver.ErrOutOfMemory) {
		t.Errorf("beyond the limit: %v", err)
	}
	// The idle block makes room for a large one.
	p.release(small)
	large, err := p.alloc(39 << 20)
	if err != nil {
		t.Fatal(err)
	}
	// What is left is too little for a whole block, not for a region.
	last, err := p.alloc(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.alloc(1); !errors.Is(err, driver.ErrOutOfMemory) {
		t.Errorf("full: %v", err)
	}
	p.release(last)
	p.release(large)
	p.close()
	f.finished(t)
}

// An API that has no room for a whole block may have it for a region.
func TestPoolSmallerBlock(t *testing.T) {
	f := newFake()
	f.info.MaxBufferBytes = blockBytes
	calls := 0
	f.fail = func(call string) error {
		if calls++; call == "Alloc" && calls == 1 {
			return driver.ErrOutOfMemory
		}
		return nil
	}
	p := newPool(f)
	r, err := p.alloc(1000)
	if err != nil || r.block.size != 1024 {
		t.Fatalf("%+v, %v", r, err)
	}
	p.close()
	f.finished(t)
}

func TestBufferArguments(t *testing.T) {
	d := newFake().open(t)
	for _, c := range []struct {
		bytes int64
		want  error
	}{{-4, driver.ErrInvalid}, {6, driver.ErrInvalid}, {d.info.MaxTensorBytes + 4, driver.ErrUnsupported}} {
		if _, err := d.Alloc(c.bytes); !errors.Is(err, c.want) {
			t.Errorf("%d bytes: %v, not %v", c.bytes, err, c.want)
		}
	}
	empty, err := d.Alloc(0)
	if err != nil || empty.Bytes() != 0 {
		t.Fatal(empty, err)
	}
	empty.Free()
	empty.Free() // twice is once
	if used, _ := d.MemoryInUse(); used != 0 {
		t.Errorf("%d bytes in use", used)
	}
	if _, err := d.own("src", empty, 0); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("freed buffer: %v", err)
	}
	if _, err := d.own("src", nil, 0); !errors.Is(err, driver.ErrInvalid) {
		t.Errorf("no buffer: %v", err)
	}
}
