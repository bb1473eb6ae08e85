package problem

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// The words before a descriptor:
//
//	conv deconv pool unpool deform im2col col2im   the operation; conv if there is none
//	max avg_np avg_p avg_ip lp lp3                 after pool: its kind, for lp with the exponent
//	FWD BWD_D BWD_W BWD_B                          the direction
//	f32 f16 s8 u8 s32, u8-s8-s32                   types of all tensors, or of src, wei and dst
//	bias                                           a bias is added
//	post=relu+clip(0,6)+add                        post-ops, in order
//	then=max(kh2sh2)                               a pooling in the same pass
//	nhwc nchw src=nhwc dst=nhwc                    memory order of both or one of source and destination
//	pad=reflect                                    padding mode
//	adaptive, div=5, indices=plane                 of pooling
//	dg=2, mask                                     of deformable convolution

// descriptorStart tells where the words end.
var descriptorStart = regexp.MustCompile(`^_*(?:(?:mb|ic|oc|[iokspdr][dhw]|g)-?[0-9]|n)`)

// prefix reads operation and words, and returns the fused pooling's text and the descriptor.
func (p *Problem) prefix(text string) (then, desc string, err error) {
	for first := true; !isDescriptor(text); first = false {
		word, rest, found := strings.Cut(text, ":")
		if !found {
			if text == "" {
				return "", "", fmt.Errorf("%w: no descriptor, such as ic3ih9oc4kh3", ErrInvalid)
			}
			return "", text, nil // scan says what is wrong with it
		}
		if op, opErr := Lookup[Op](word); first && opErr == nil {
			p.Op = op
			if op == Pool {
				word, rest, _ = strings.Cut(rest, ":")
				if p.Kind, p.P, err = ParseKind(word); err != nil {
					return "", "", fmt.Errorf("%w (kinds after pool:)", err)
				}
			}
			if op == Deform {
				p.OffsetGroups = 1
			}
		} else if value, ok := strings.CutPrefix(word, "then="); ok {
			then = value
		} else if err := p.word(word); err != nil {
			if first && !strings.Contains(word, "=") {
				return "", "", fmt.Errorf("%w (operations and words before the colon)", opErr)
			}
			return "", "", err
		}
		text = rest
	}
	return then, text, nil
}

func isDescriptor(text string) bool {
	return descriptorStart.MatchString(text) && !strings.HasPrefix(text, "nhwc") && !strings.HasPrefix(text, "nchw")
}

// ParseKind reads a pooling kind, for Lp with its exponent: max, avg_np, lp3. Plain lp has exponent 2.
func ParseKind(word string) (kind PoolKind, exponent int, err error) {
	if digits, ok := strings.CutPrefix(word, Lp.String()); ok {
		if digits == "" {
			return Lp, 2, nil
		}
		n, err := strconv.Atoi(digits)
		if err != nil {
			return 0, 0, fmt.Errorf("%w: %.40q is no Lp pooling; lp2 is one", ErrInvalid, word)
		}
		if n < 1 || n > MaxExponent {
			return 0, 0, fmt.Errorf("%w: exponent %d of Lp pooling; 1 to %d is possible", ErrInvalid, n, MaxExponent)
		}
		return Lp, n, nil
	}
	kind, err = Lookup[PoolKind](word)
	return kind, 0, err
}

// word reads one word other than operation, kind and then=.
func (p *Problem) word(word string) (err error) {
	number := func(v string) (int, error) {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 || n > MaxSize {
			return 0, fmt.Errorf("%w: %s wants a whole number", ErrInvalid, word)
		}
		return n, nil
	}
	key, value, _ := strings.Cut(word, "=")
	switch key {
	case "bias":
		p.Bias = true
	case "mask":
		p.Mask = true
	case "adaptive":
		p.Adaptive = true
	case "nchw", "nhwc":
		p.SrcLayout, err = Lookup[Layout](key)
		p.DstLayout = p.SrcLayout
	case "src":
		p.SrcLayout, err = Lookup[Layout](value)
	case "dst":
		p.DstLayout, err = Lookup[Layout](value)
	case "pad":
		p.PadMode, err = Lookup[PadMode](value)
	case "indices":
		p.Indices, err = Lookup[IndexOrder](value)
	case "div":
		p.Divisor, err = number(value)
	case "dg":
		p.OffsetGroups, err = number(value)
	case "post":
		var ops []PostOp
		ops, err = ParsePost(value)
		clear(p.Post[:])
		copy(p.Post[:], ops)
	default:
		if d, dirErr := Lookup[Dir](word); dirErr == nil {
			p.Dir = d
			return nil
		}
		p.Type, err = ParseTypes(word)
		if err != nil {
			return fmt.Errorf("%w: unknown word %.40q before the descriptor", ErrInvalid, word)
		}
	}
	return err
}

// ParseTypes reads one type for all tensors, or three for src, wei and dst: "f16", "u8-s8-s32".
func ParseTypes(text string) (Types, error) {
	parts := strings.Split(text, "-")
	if len(parts) == 1 {
		parts = []string{text, text, text}
	}
	if len(parts) != 3 {
		return Types{}, fmt.Errorf("%w: types %q; write one or src-wei-dst, such as u8-s8-s32", ErrInvalid, text)
	}
	var t [3]DataType
	for i, s := range parts {
		var err error
		if t[i], err = Lookup[DataType](s); err != nil {
			return Types{}, err
		}
	}
	return Types{t[0], t[1], t[2]}, nil
}

// ParsePost reads post-ops, such as relu+clip(0,6)+add. The empty text is none.
func ParsePost(text string) ([]PostOp, error) {
	if text == "" {
		return nil, nil
	}
	var ops []PostOp
	for part := range strings.SplitSeq(text, "+") {
		name, args, scalars := strings.Cut(part, "(")
		k, err := Lookup[PostKind](name)
		if err != nil {
			return nil, fmt.Errorf("post-op: %w", err)
		}
		o := PostOp{Kind: k}
		var values []string
		if scalars {
			inner, closed := strings.CutSuffix(args, ")")
			if !closed {
				return nil, fmt.Errorf("%w: post-op %q lacks its closing parenthesis", ErrInvalid, part)
			}
			values = strings.Split(inner, ",")
		}
		if len(values) != k.scalars() || k == NoPost {
			return nil, fmt.Errorf("%w: post-op %q; write relu, leaky(0.1), clip(0,6) and the like", ErrInvalid, part)
		}
		for i, v := range values {
			f, err := strconv.ParseFloat(v, 32)
			if err != nil {
				return nil, fmt.Errorf("%w: post-op %q: %q is no number", ErrInvalid, part, v)
			}
			*[]*float32{&o.Alpha, &o.Beta}[i] = float32(f)
		}
		if ops = append(ops, o); len(ops) > MaxPost {
			return nil, fmt.Errorf("%w: more than %d post-ops", ErrInvalid, MaxPost)
		}
	}
	return ops, nil
}

// parseThen reads a fused pooling, such as max(kh3sh2ph1): the keys of a descriptor but for the source's sizes.
func (p *Problem) parseThen(text string) error {
	kind, rest, ok := strings.Cut(text, "(")
	inner, closed := strings.CutSuffix(rest, ")")
	if !ok || !closed {
		return fmt.Errorf("%w: then=%s; write then=max(kh2sh2)", ErrInvalid, text)
	}
	k, err := Lookup[PoolKind](kind)
	if err != nil {
		return fmt.Errorf("then=: %w", err)
	}
	r, name, err := scan(inner)
	if err != nil {
		return err
	}
	if name != "" {
		return fmt.Errorf("%w: then=%s has a name", ErrInvalid, text)
	}
	f := Fusion{Kind: k, Axes: [3]Axis{identity, identity, identity}}
	last := 3 // the dimension before that was given; one that is not is like it
	for i := 3 - p.Rank; i < 3; i++ {
		axis := string("dhw"[i])
		if r["k"+axis] == 0 && last < 3 {
			for _, key := range []string{"o", "k", "s", "p", "d", "r"} {
				if v, ok := r[key+string("dhw"[last])]; ok && (key != "o" || p.Axes[i].Out == p.Axes[last].Out) {
					r[key+axis] = v
				}
			}
		}
		r["i"+axis] = p.Axes[i].Out
		if err := r.axis(Pool, axis, &f.Axes[i]); err != nil {
			return fmt.Errorf("then=: %w", err)
		}
		last = i
	}
	p.Then = f
	return nil
}

// words are what the canonical text has between the operation and the descriptor.
func (p *Problem) words() []string {
	var w []string
	add := func(set bool, format string, args ...any) {
		if set {
			w = append(w, fmt.Sprintf(format, args...))
		}
	}
	add(p.Op == Pool && p.Kind != Lp, "%s", p.Kind)
	add(p.Op == Pool && p.Kind == Lp, "lp%d", p.P)
	add(p.Dir != Forward, "%s", p.Dir)
	add(p.Type != Types{}, "%s", p.Type)
	add(p.SrcLayout == NHWC && p.DstLayout == NHWC, "nhwc")
	add(p.SrcLayout == NHWC && p.DstLayout != NHWC, "src=nhwc")
	add(p.SrcLayout != NHWC && p.DstLayout == NHWC, "dst=nhwc")
	add(p.PadMode != Zeros, "pad=%s", p.PadMode)
	add(p.Bias, "bias")
	add(len(p.Posts()) > 0, "post=%s", PostText(p.Posts()))
	if p.Fused() {
		var b strings.Builder
		put := func(key string, v int) { b.WriteString(key); b.WriteString(strconv.Itoa(v)) }
		writeAxes(put, Pool, false, false, p.Then.Axes[3-p.Rank:])
		add(true, "then=%s(%s)", p.Then.Kind, &b)
	}
	add(p.Adaptive, "adaptive")
	add(p.Divisor != 0, "div=%d", p.Divisor)
	add(p.Indices != NoIndices, "indices=%s", p.Indices)
	add(p.OffsetGroups > 1, "dg=%d", p.OffsetGroups)
	add(p.Mask, "mask")
	return w
}

// PostText is what ParsePost reads.
func PostText(ops []PostOp) string {
	var parts []string
	for _, o := range ops {
		parts = append(parts, o.String())
	}
	return strings.Join(parts, "+")
}
