package problem

import (
	"fmt"
	"strconv"
	"strings"
)

// The text form is the grammar of oneDNN's benchdnn, so that its public problem lists run unchanged, with extensions:
//
//   - before the descriptor and divided by colons: the operation (conv:, deconv:, pool:max:, pool:lp3: …) and, in any
//     order, the words that prefix.go lists (BWD_D, f16, bias, post=relu+add, nhwc …);
//   - negative paddings (ph-1), and rd, rh, rw for a right padding that the output size does not imply.

// keys of a descriptor. The spatial ones end in their axis.
var keys = []string{"mb", "ic", "oc", "id", "ih", "iw", "od", "oh", "ow", "kd", "kh", "kw", "sd", "sh", "sw",
	"pd", "ph", "pw", "dd", "dh", "dw", "rd", "rh", "rw", "g"}

// raw is a descriptor as written: what was not given is absent.
type raw map[string]int

// Parse reads one problem, such as mb1ic64ih56oc64oh56kh3ph1n"res2a" or pool:max:mb1ic64ih112oh56kh3sh2ph1. The result
// is validated.
func Parse(text string) (Problem, error) {
	p, err := parse(text)
	if err != nil {
		return Problem{}, fmt.Errorf("problem %.200q: %w", text, err)
	}
	return p, nil
}

func parse(text string) (Problem, error) {
	p := Problem{Groups: 1}
	then, desc, err := p.prefix(text)
	if err != nil {
		return p, err
	}
	r, name, err := scan(desc)
	if err != nil {
		return p, err
	}
	p.Name = name
	if err := r.fill(&p); err != nil {
		return p, err
	}
	if then != "" {
		if err := p.parseThen(then); err != nil {
			return p, err
		}
	}
	return p, p.Validate()
}

// scan splits a descriptor into its keys and its name.
func scan(s string) (raw, string, error) {
	r := raw{}
	for s != "" {
		if s[0] == '_' {
			s = s[1:]
			continue
		}
		key := ""
		for _, k := range keys {
			if strings.HasPrefix(s, k) {
				key = k
				break
			}
		}
		if key == "" {
			if s[0] == 'n' {
				return r, strings.Trim(s[1:], `"`), nil
			}
			return nil, "", fmt.Errorf("%w: unknown key at %.20q; keys are %s and n for the name", ErrInvalid, s, strings.Join(keys, " "))
		}
		s = s[len(key):]
		end := 0
		if (key[0] == 'p' || key[0] == 'r') && strings.HasPrefix(s, "-") {
			end = 1
		}
		for end < len(s) && s[end] >= '0' && s[end] <= '9' {
			end++
		}
		v, err := strconv.Atoi(s[:end])
		if err != nil {
			return nil, "", fmt.Errorf("%w: %s wants a whole number after it, not %.20q", ErrInvalid, key, s)
		}
		if v > MaxSize || v < -MaxSize {
			return nil, "", fmt.Errorf("%w: %s%d; numbers up to %d are possible", ErrInvalid, key, v, MaxSize)
		}
		r[key], s = v, s[end:]
	}
	return r, "", nil
}

// fill applies the grammar's defaults, derivations and promotion.
func (r raw) fill(p *Problem) error {
	get := func(key string, def int) int {
		if v, ok := r[key]; ok {
			return v
		}
		return def
	}
	if !p.Weighted() {
		for _, k := range []string{"g", "oc"} {
			if _, ok := r[k]; ok {
				return fmt.Errorf("%w: %s has no %s", ErrInvalid, p.Op, k)
			}
		}
	}
	p.N, p.Groups, p.IC = get("mb", 2), get("g", 1), get("ic", 0)
	p.OC = get("oc", 0)
	if !p.Weighted() {
		p.OC = p.IC
	}
	var given [3]bool
	for i := range p.Axes {
		p.Axes[i] = identity
		axis := string("dhw"[i])
		// As in benchdnn, a value that is the default anyway (ph0, sh1) does not make an axis, nor does a dilation.
		given[i] = get("s"+axis, 1) != 1
		for _, k := range []string{"i", "o", "k", "p", "r"} {
			given[i] = given[i] || r[k+axis] != 0
		}
		if !given[i] {
			continue
		}
		if p.Adaptive {
			p.Axes[i] = adaptiveAxis(r["i"+axis], r["o"+axis])
			continue
		}
		if err := r.axis(p.Op, axis, &p.Axes[i]); err != nil {
			return err
		}
	}
	switch {
	case given[0] && given[1] != given[2]:
		return fmt.Errorf("%w: with a depth, give both height and width or neither", ErrInvalid)
	case given[0]:
		p.Rank = 3
		if !given[1] {
			p.Axes[1], p.Axes[2] = p.Axes[0], p.Axes[0]
		}
	case given[1]:
		p.Rank = 2
		if !given[2] {
			p.Axes[2] = p.Axes[1]
		}
	case given[2]:
		p.Rank = 1
	default:
		return fmt.Errorf("%w: no spatial sizes; at least ih and kh (or iw and kw) are needed", ErrInvalid)
	}
	return nil
}

// axis derives what the text leaves out of one spatial dimension.
func (r raw) axis(op Op, axis string, a *Axis) error {
	get := func(key string, def int) (int, bool) {
		v, ok := r[key+axis]
		if !ok {
			v = def
		}
		return v, ok
	}
	a.In, _ = get("i", 0)
	a.Kernel, _ = get("k", 0)
	a.Stride, _ = get("s", 1)
	dilation, _ := get("d", 0) // 0-based in the grammar
	a.Dilation = dilation + 1
	if a.In < 1 || a.Kernel < 1 {
		return fmt.Errorf("%w: i%s and k%s are required and at least 1", ErrInvalid, axis, axis)
	}
	if a.Stride < 1 {
		return fmt.Errorf("%w: s%s must be at least 1", ErrInvalid, axis)
	}
	var hasOut, hasPad, hasRight bool
	if op == Unpool { // its sizes follow a transposed convolution's, but any output may be asked for
		op = Deconv
	}
	a.Out, hasOut = get("o", 0)
	hasOut = hasOut && a.Out != 0
	a.PadL, hasPad = get("p", 0)
	if !hasOut {
		a.PadR = a.PadL
		if op == Deconv {
			a.Out = a.outDeconv()
		} else {
			a.Out = a.OutFloor()
		}
	}
	if hasOut && !hasPad { // both sides together, halved toward zero
		a.PadL = 0
		a.PadL = a.impliedPadR(op) / 2
	}
	a.PadR = a.impliedPadR(op)
	if v, ok := get("r", 0); ok {
		a.PadR, hasRight = v, true
	}
	if hasRight && !hasOut {
		if op == Deconv {
			a.Out = a.outDeconv()
		} else {
			a.Out = a.OutFloor()
		}
	}
	return nil
}

// String is the problem in its canonical text form: Parse(p.String()) is p.
func (p *Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Op.String())
	b.WriteByte(':')
	for _, w := range p.words() {
		b.WriteString(w)
		b.WriteByte(':')
	}
	put := func(key string, v int) { b.WriteString(key); b.WriteString(strconv.Itoa(v)) }
	if p.Groups != 1 {
		put("g", p.Groups)
	}
	put("mb", p.N)
	put("ic", p.IC)
	if p.Weighted() {
		put("oc", p.OC)
	}
	writeAxes(put, p.Op, p.Adaptive, true, p.Spatial())
	if p.Name != "" {
		b.WriteString(`n"` + p.Name + `"`)
	}
	return b.String()
}

// writeAxes writes the keys of spatial dimensions, with or without the sizes that a fused pooling takes over.
func writeAxes(put func(string, int), op Op, adaptive, sizes bool, axes []Axis) {
	letters := "dhw"[3-len(axes):]
	if len(axes) > 1 && allEqual(axes) {
		axes = axes[:1]
	}
	if op == Unpool {
		op = Deconv
	}
	for i, a := range axes {
		l := string(letters[i])
		if sizes {
			put("i"+l, a.In)
		}
		put("o"+l, a.Out)
		if adaptive {
			continue
		}
		put("k"+l, a.Kernel)
		if a.Stride != 1 {
			put("s"+l, a.Stride)
		}
		if a.PadL != 0 || a.impliedPadR(op) != 0 {
			put("p"+l, a.PadL)
		}
		if a.Dilation != 1 {
			put("d"+l, a.Dilation-1)
		}
		if a.PadR != a.impliedPadR(op) {
			put("r"+l, a.PadR)
		}
	}
}

func allEqual(axes []Axis) bool {
	for _, a := range axes {
		if a != axes[0] {
			return false
		}
	}
	return true
}
