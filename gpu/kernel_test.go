package gpu

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem/problemtest"
)

// A change of one kernel changes the version of the plans that run it, of no others; what was measured of the old one does
// not count any more.
func TestVersions(t *testing.T) {
	source, err := os.ReadFile(filepath.Join("..", "shaders", "src", "pool.k"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pool.k"), append(source, "// changed\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	f := newFake()
	was := f.open(t)
	opened, err := NewDriver(f).Open(t.Context(), 0, driver.Options{NoCache: true, Kernels: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := opened.Close(); err != nil {
			t.Error(err)
		}
	})
	now := opened.(*Device)
	kernels := func(d *Device, text, alg string) string {
		pl, err := d.Plan(t.Context(), problemtest.Parse(t, text), driver.PlanOptions{Algorithm: alg})
		if err != nil {
			t.Fatal(err)
		}
		defer pl.Close()
		return pl.Info().Kernels
	}
	for _, c := range []struct {
		text, alg string
		same      bool
	}{
		{behind, "igemm", true},
		{behind, "direct", true},
		{"pool:max:mb1ic4ih8oh4kh2sh2", "direct", false},
		{"conv:then=max(kh2sh2):mb1ic8ih8oc8oh8kh1", "conv+pool", false},
	} {
		old, changed := kernels(was, c.text, c.alg), kernels(now, c.text, c.alg)
		if !was.Runs(old) || !now.Runs(changed) || now.Runs(old) != c.same || (old == changed) != c.same {
			t.Errorf("%s by %s: %q, then %q", c.text, c.alg, old, changed)
		}
	}
	for _, foreign := range []string{"", "pool", "pool@", "none@123456789abc", "0123456789abcdef"} {
		if was.Runs(foreign) {
			t.Errorf("%q is taken for this code", foreign)
		}
	}
	if _, err := NewDriver(f).Open(t.Context(), 0, driver.Options{NoCache: true, Kernels: filepath.Join(dir, "none")}); !errors.Is(err, driver.ErrInvalid) {
		t.Errorf("a folder that is not there: %v", err)
	}
}
