package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/gonvolve/gonvolve/engine/driver"
)

var registry struct {
	sync.RWMutex
	drivers map[string]driver.Driver
	without map[string]error // drivers that are left out, and why
}

// order is how drivers are listed; others follow by name.
var order = []string{"cpu", "vulkan", "opencl"}

// Register makes a driver available under a name. Drivers call it from init; it opens nothing. It panics if the name
// is taken or not a plain word.
func Register(name string, d driver.Driver) {
	registry.Lock()
	defer registry.Unlock()
	if name == "" || strings.ContainsAny(name, ":,*?+ ") || name == autoSpec || name == "all" {
		panic("engine: bad driver name " + strconv.Quote(name))
	}
	if _, taken := registry.drivers[name]; taken {
		panic("engine: driver " + name + " registered twice")
	}
	if registry.drivers == nil {
		registry.drivers = map[string]driver.Driver{}
	}
	registry.drivers[name] = d
}

// Drivers returns the names of the registered drivers: cpu, vulkan, opencl, then others.
func Drivers() []string {
	registry.RLock()
	defer registry.RUnlock()
	names := make([]string, 0, len(registry.drivers))
	for n := range registry.drivers {
		names = append(names, n)
	}
	rank := func(n string) int {
		if i := slices.Index(order, n); i >= 0 {
			return i
		}
		return len(order)
	}
	slices.SortFunc(names, func(a, b string) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return names
}

func lookup(name string) (driver.Driver, bool) {
	registry.RLock()
	defer registry.RUnlock()
	d, ok := registry.drivers[name]
	return d, ok
}

// LeaveOut makes a driver one without devices, for the reason given, so that nothing is asked of it; nil takes it in again.
// GONVOLVE_WITHOUT=opencl,vulkan in the environment does the same.
func LeaveOut(name string, why error) {
	registry.Lock()
	defer registry.Unlock()
	if registry.without == nil {
		registry.without = map[string]error{}
	}
	registry.without[name] = why
}

// leftOut is nil, or why a driver is left out.
func leftOut(name string) error {
	registry.RLock()
	defer registry.RUnlock()
	if why := registry.without[name]; why != nil {
		return fmt.Errorf("%w: %w", ErrNoDevices, why)
	}
	for out := range strings.SplitSeq(os.Getenv("GONVOLVE_WITHOUT"), ",") {
		if strings.TrimSpace(out) == name {
			return fmt.Errorf("%w: GONVOLVE_WITHOUT leaves it out", ErrNoDevices)
		}
	}
	return nil
}

// Listing is a device that could be opened, or a driver that has none and why.
type Listing struct {
	Spec string // what Open takes; the driver's name alone if it has no devices
	Info driver.Info
	Err  error // wraps ErrNoDevices when the driver has none
}

// Devices lists the devices of all drivers. It opens none of them.
func Devices() []Listing {
	var all []Listing
	for _, name := range Drivers() {
		all = append(all, devicesOf(name)...)
	}
	return all
}

func devicesOf(name string) []Listing {
	if err := leftOut(name); err != nil {
		return []Listing{{Spec: name, Err: err}}
	}
	d, _ := lookup(name)
	infos, err := d.Devices()
	if err == nil && len(infos) == 0 {
		err = ErrNoDevices
	}
	if err != nil {
		return []Listing{{Spec: name, Err: err}}
	}
	all := make([]Listing, len(infos))
	for i, info := range infos {
		spec := name
		if name != "cpu" {
			spec += ":" + strconv.Itoa(i)
		}
		all[i] = Listing{Spec: spec, Info: info}
	}
	return all
}

// Resolve turns a comma-separated list of device specs into the specs of single devices, without duplicates: "cpu",
// "vulkan:0", "opencl:1", a driver alone ("vulkan": all of its devices), a glob over device names ("vulkan:*H100*",
// "*:*nvidia*", case ignored), and "all". Two stand for several devices together: "auto", which runs each problem on the
// device that is fastest at it (see Device.For), and lists such as "cpu+opencl:0", among which package tiling divides a
// problem. Open opens those as one.
func Resolve(specs string) ([]string, error) {
	var out []string
	for spec := range strings.SplitSeq(specs, ",") {
		found, err := resolve(strings.TrimSpace(spec))
		if err != nil {
			return nil, err
		}
		for _, s := range found {
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out, nil
}

func resolve(spec string) ([]string, error) {
	if strings.Contains(spec, "+") {
		return resolveList(spec)
	}
	switch spec {
	case autoSpec:
		if len(home()) == 0 {
			_, err := match(spec, Devices(), func(Listing) bool { return true })
			return nil, err
		}
		return []string{autoSpec}, nil
	case "all":
		return match(spec, Devices(), func(Listing) bool { return true })
	}
	name, which, _ := strings.Cut(spec, ":")
	var list []Listing
	if name == "*" {
		list = Devices()
	} else if _, ok := lookup(name); ok {
		list = devicesOf(name)
	} else {
		return nil, fmt.Errorf("%w: device %q: no driver %q is built in; there are %s, auto and all",
			ErrUnknownDevice, spec, name, strings.Join(Drivers(), ", "))
	}
	if i, err := strconv.Atoi(which); err == nil {
		if len(list) == 1 && list[0].Err != nil {
			return nil, fmt.Errorf("%w: device %q: %w", ErrUnknownDevice, spec, list[0].Err)
		}
		if i < 0 || i >= len(list) || name == "*" {
			return nil, fmt.Errorf("%w: device %q: %s has %d, numbered from 0; `gonvolve devices` lists them", ErrUnknownDevice, spec, name, len(list))
		}
		return []string{list[i].Spec}, nil
	}
	if which == "" {
		which = "*"
	}
	if _, err := path.Match(which, ""); err != nil {
		return nil, fmt.Errorf("%w: device %q: bad pattern %q", ErrUnknownDevice, spec, which)
	}
	return match(spec, list, func(l Listing) bool {
		// A device name is no path: slashes must not stop the asterisk.
		plain := strings.NewReplacer("/", " ")
		ok, _ := path.Match(strings.ToLower(plain.Replace(which)), strings.ToLower(plain.Replace(l.Info.Name)))
		return ok
	})
}

func match(spec string, list []Listing, want func(Listing) bool) ([]string, error) {
	var out []string
	var why []error
	for _, l := range list {
		if l.Err != nil {
			why = append(why, l.Err)
		} else if want(l) {
			out = append(out, l.Spec)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: %q matches no device; `gonvolve devices` lists them%w", ErrUnknownDevice, spec, joined(why))
	}
	return out, nil
}

// joined is errors in one line.
type joined []error

func (j joined) Error() string {
	var b strings.Builder
	for _, e := range j {
		b.WriteString("; ")
		b.WriteString(e.Error())
	}
	return b.String()
}

func (j joined) Unwrap() []error { return j }

// autoSpec stands for all devices.
const autoSpec = "auto"

// home lists all devices, the one first that is most likely the best: the first discrete, else integrated GPU, Vulkan before
// OpenCL, else the cpu. GPU drivers that run on the processor itself (llvmpipe, PoCL) are never first, if there is a cpu.
func home() (list []Listing) {
	for _, l := range Devices() {
		if l.Err == nil {
			list = append(list, l)
		}
	}
	rank := func(l Listing) int {
		if i := slices.Index([]driver.Type{driver.Discrete, driver.Integrated}, l.Info.Type); i >= 0 {
			return i
		}
		return 2
	}
	slices.SortStableFunc(list, func(a, b Listing) int { return rank(a) - rank(b) })
	return list
}

// resolveList is resolve for devices together: "cpu+opencl:0".
func resolveList(spec string) ([]string, error) {
	var members []string
	for part := range strings.SplitSeq(spec, "+") {
		found, err := resolve(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		for _, s := range found {
			if s == autoSpec {
				return nil, fmt.Errorf("%w: device %q: auto is all devices already; name those that are to share the work", ErrUnknownDevice, spec)
			}
			if !slices.Contains(members, s) {
				members = append(members, s)
			}
		}
	}
	return []string{strings.Join(members, "+")}, nil
}

// together lists the devices of a resolved spec that stands for several; nil for one that does not.
func together(spec string) (list []Listing) {
	if spec == autoSpec {
		return home()
	}
	if !strings.Contains(spec, "+") {
		return nil
	}
	all := Devices()
	for part := range strings.SplitSeq(spec, "+") {
		if i := slices.IndexFunc(all, func(l Listing) bool { return l.Spec == part }); i >= 0 {
			list = append(list, all[i])
		}
	}
	return list
}

// open opens the driver's device behind a resolved spec.
func open(ctx context.Context, spec string, o *options) (*session, error) {
	name, index, _ := strings.Cut(spec, ":")
	d, ok := lookup(name)
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrUnknownDevice, spec)
	}
	if err := leftOut(name); err != nil {
		return nil, fmt.Errorf("open %s: %w", spec, err)
	}
	i := 0
	if index != "" {
		var err error
		if i, err = strconv.Atoi(index); err != nil {
			return nil, fmt.Errorf("%w: %q", ErrUnknownDevice, spec)
		}
	}
	if o.through != nil {
		d = o.through(d)
	}
	s := &session{spec: spec, limit: o.deadline}
	dev, err := call(s, "open", func() (driver.Device, error) { return d.Open(ctx, i, o.Options) }, func(late driver.Device) { _ = late.Close() })
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", spec, err)
	}
	s.d = dev
	return s, nil
}

// ErrUnknownDevice is what Resolve and Open return for a spec that names no device.
var ErrUnknownDevice = errors.New("unknown device")

// The sentinels of the driver contract, for users of this package.
var (
	ErrUnsupported = driver.ErrUnsupported
	ErrOutOfMemory = driver.ErrOutOfMemory
	ErrDeviceLost  = driver.ErrDeviceLost
	ErrNoDevices   = driver.ErrNoDevices
	ErrClosed      = driver.ErrClosed
	ErrInvalid     = driver.ErrInvalid
)
