package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gonvolve/gonvolve/cpu"
	"github.com/gonvolve/gonvolve/engine"
	"github.com/gonvolve/gonvolve/engine/driver"
	"github.com/gonvolve/gonvolve/engine/problem"
)

// fake is a driver whose devices compute like the cpu's, but refuse what they are told to.
type fake struct {
	infos  []driver.Info
	err    error // of Devices
	refuse error // of Plan, nil to run
}

func (f *fake) Devices() ([]driver.Info, error) { return f.infos, f.err }

func (f *fake) Open(ctx context.Context, i int, o driver.Options) (driver.Device, error) {
	if i >= len(f.infos) {
		return nil, fmt.Errorf("%w: device %d", driver.ErrNoDevices, i)
	}
	d, err := cpu.Driver{}.Open(ctx, 0, o)
	return &fakeDevice{d, f}, err
}

type fakeDevice struct {
	driver.Device
	f *fake
}

func (d *fakeDevice) Plan(ctx context.Context, p problem.Problem, o driver.PlanOptions) (driver.Plan, error) {
	if d.f.refuse != nil {
		return nil, d.f.refuse
	}
	return d.Device.Plan(ctx, p, o)
}

func devices(typed ...string) []driver.Info {
	var infos []driver.Info
	for _, s := range typed {
		typ, name, _ := strings.Cut(s, " ")
		infos = append(infos, driver.Info{Name: name, Type: driver.Type(typ)})
	}
	return infos
}

func TestRegister(t *testing.T) {
	engine.WithDrivers(t, nil)
	for _, name := range []string{"zeta", "opencl", "alpha", "cpu", "vulkan"} {
		engine.Register(name, &fake{})
	}
	if got := engine.Drivers(); !slices.Equal(got, []string{"cpu", "vulkan", "opencl", "alpha", "zeta"}) {
		t.Errorf("drivers are listed as %v", got)
	}
	for _, name := range []string{"cpu", "", "auto", "all", "a:b", "a,b", "a*", "a b", "a+b"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q was registered", name)
				}
			}()
			engine.Register(name, &fake{})
		}()
	}
}

func TestResolve(t *testing.T) {
	none := fmt.Errorf("%w: libvulkan.so.1 is not installed", driver.ErrNoDevices)
	full := map[string]driver.Driver{
		"cpu":    cpu.Driver{},
		"vulkan": &fake{infos: devices("cpu llvmpipe (LLVM 15)", "integrated Intel(R) UHD/630", "discrete NVIDIA H100")},
		"opencl": &fake{infos: devices("cpu pthread-CPU", "discrete NVIDIA H100")},
		"other":  &fake{infos: devices("virtual x")},
	}
	soft := map[string]driver.Driver{"cpu": cpu.Driver{}, "vulkan": &fake{infos: devices("cpu llvmpipe")}, "opencl": &fake{err: none}}
	empty := map[string]driver.Driver{"vulkan": &fake{err: none}, "opencl": &fake{}}
	for _, c := range []struct {
		name    string
		drivers map[string]driver.Driver
		specs   string
		want    string // space separated, or what the error says
		fails   bool
	}{
		{"one", full, "vulkan:1", "vulkan:1", false},
		{"cpu", full, "cpu", "cpu", false},
		{"cpu by number", full, "cpu:0", "cpu", false},
		{"driver", full, "vulkan", "vulkan:0 vulkan:1 vulkan:2", false},
		{"list without duplicates", full, "opencl:1, vulkan:1,opencl", "opencl:1 vulkan:1 opencl:0", false},
		{"all", full, "all", "cpu vulkan:0 vulkan:1 vulkan:2 opencl:0 opencl:1 other:0", false},
		{"glob", full, "vulkan:*h100*", "vulkan:2", false},
		{"glob of drivers", full, "*:*NVIDIA*", "vulkan:2 opencl:1", false},
		{"slash in a name", full, "vulkan:*uhd*", "vulkan:1", false},
		{"auto", full, "auto", "auto", false},
		{"a list", full, "cpu+opencl:1", "cpu+opencl:1", false},
		{"a list by patterns, without duplicates", full, "vulkan:*h100* + cpu+cpu,cpu", "vulkan:2+cpu cpu", false},
		{"a list of one", full, "cpu+cpu", "cpu", false},
		{"auto in a list", full, "auto+cpu", "auto is all devices already", true},
		{"a list with what there is not", full, "cpu+metal", "no driver", true},
		{"a list that ends early", full, "cpu+", "no driver", true},
		{"all leaves out drivers without devices", soft, "all", "cpu vulkan:0", false},
		{"unknown driver", full, "metal:0", `no driver "metal" is built in; there are cpu, vulkan, opencl, other`, true},
		{"empty", full, "", `no driver ""`, true},
		{"number too large", full, "vulkan:3", "vulkan has 3, numbered from 0", true},
		{"negative number", full, "vulkan:-1", "vulkan has 3", true},
		{"number without a driver", full, "*:0", "numbered from 0", true},
		{"no such name", full, "vulkan:*amd*", "matches no device", true},
		{"bad pattern", full, "vulkan:[", "bad pattern", true},
		{"one of a list", full, "cpu,metal", "no driver", true},
		{"driver without devices", soft, "opencl:0", "libvulkan.so.1 is not installed", true},
		{"nothing at all", empty, "auto", "libvulkan.so.1 is not installed", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			engine.WithDrivers(t, c.drivers)
			got, err := engine.Resolve(c.specs)
			if c.fails {
				if !errors.Is(err, engine.ErrUnknownDevice) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("%q: %v, not %q", c.specs, err, c.want)
				}
			} else if err != nil || strings.Join(got, " ") != c.want {
				t.Errorf("%q: %v, %v, not %s", c.specs, got, err, c.want)
			}
		})
	}
}

// What knows no problem is the first real GPU's, or else the cpu's.
func TestAutoHome(t *testing.T) {
	for _, c := range []struct {
		drivers map[string]driver.Driver
		want    string
	}{
		{map[string]driver.Driver{"cpu": cpu.Driver{}, "vulkan": &fake{infos: devices("cpu a", "integrated b", "discrete c")},
			"opencl": &fake{infos: devices("discrete c")}}, "vulkan:2"},
		{map[string]driver.Driver{"cpu": cpu.Driver{}, "opencl": &fake{infos: devices("cpu a", "integrated b")}}, "opencl:1"},
		{map[string]driver.Driver{"cpu": cpu.Driver{}, "vulkan": &fake{infos: devices("cpu llvmpipe")}}, "cpu"},
		{map[string]driver.Driver{"vulkan": &fake{infos: devices("cpu llvmpipe", "cpu lavapipe")}}, "vulkan:0"},
	} {
		engine.WithDrivers(t, c.drivers)
		d, err := engine.Open(t.Context(), "auto")
		if err != nil {
			t.Fatal(err)
		}
		if d.Spec() != c.want || d.Name() != "auto" || d.Divides() {
			t.Errorf("%s, %s, not %s", d.Spec(), d.Name(), c.want)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestDevices(t *testing.T) {
	none := fmt.Errorf("%w: no loader", driver.ErrNoDevices)
	engine.WithDrivers(t, map[string]driver.Driver{
		"cpu": cpu.Driver{}, "vulkan": &fake{err: none}, "opencl": &fake{infos: devices("cpu a", "cpu b")}, "empty": &fake{}})
	var got []string
	for _, l := range engine.Devices() {
		got = append(got, l.Spec)
		if missing := l.Spec == "vulkan" || l.Spec == "empty"; missing != errors.Is(l.Err, engine.ErrNoDevices) {
			t.Errorf("%s: %v", l.Spec, l.Err)
		}
	}
	if want := []string{"cpu", "vulkan", "opencl:0", "opencl:1", "empty"}; !slices.Equal(got, want) {
		t.Errorf("listed %v, not %v", got, want)
	}
	if _, err := engine.Open(t.Context(), "vulkan"); !errors.Is(err, engine.ErrNoDevices) || !errors.Is(err, engine.ErrUnknownDevice) {
		t.Errorf("open without devices: %v", err)
	}
}
