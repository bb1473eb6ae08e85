package onnx

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrFormat is what errors about the content of a file wrap: it is not what its name says, or it contradicts itself.
var ErrFormat = errors.New("bad ONNX file")

// maxEntries bounds how many nodes, attributes, tensors and names a file may have. An empty one takes two bytes in the
// file and a hundred times that in memory, so the file's size alone is no bound.
const maxEntries = 1 << 20

// message walks the fields of one protobuf message. An error ends the walk and stays in err, so that callers look at it
// once, at the end.
type message struct {
	what    string // for errors
	rest    []byte
	entries *int // left of maxEntries, shared by a file's messages

	num   protowire.Number
	typ   protowire.Type
	bits  uint64 // of a varint, fixed32 or fixed64 field
	bytes []byte // of a length-delimited field; points into the file
	err   error
}

func newMessage(what string, b []byte) *message {
	left := maxEntries
	return &message{what: what, rest: b, entries: &left}
}

// next steps to the next field.
func (m *message) next() bool {
	if m.err != nil || len(m.rest) == 0 {
		return false
	}
	var n int
	if m.num, m.typ, n = protowire.ConsumeTag(m.rest); n < 0 {
		return m.malformed(n)
	}
	m.rest = m.rest[n:]
	m.bits, m.bytes = 0, nil
	switch m.typ {
	case protowire.VarintType:
		m.bits, n = protowire.ConsumeVarint(m.rest)
	case protowire.Fixed32Type:
		var v uint32
		v, n = protowire.ConsumeFixed32(m.rest)
		m.bits = uint64(v)
	case protowire.Fixed64Type:
		m.bits, n = protowire.ConsumeFixed64(m.rest)
	case protowire.BytesType:
		m.bytes, n = protowire.ConsumeBytes(m.rest)
	default:
		n = protowire.ConsumeFieldValue(m.num, m.typ, m.rest)
	}
	if n < 0 {
		return m.malformed(n)
	}
	m.rest = m.rest[n:]
	return true
}

func (m *message) malformed(n int) bool {
	m.fail("truncated or no protobuf (%v); fetch the file again", protowire.ParseError(n))
	return false
}

// fail ends the walk.
func (m *message) fail(format string, args ...any) {
	if m.err == nil {
		m.err = fmt.Errorf("%w: %s: %s", ErrFormat, m.what, fmt.Sprintf(format, args...))
	}
}

// want checks the wire type of the current field.
func (m *message) want(t protowire.Type) bool {
	if m.typ != t {
		m.fail("field %d has wire type %d instead of %d; export the model again", m.num, m.typ, t)
	}
	return m.err == nil
}

// count takes one of the entries that a file may have.
func (m *message) count() bool {
	if *m.entries--; *m.entries < 0 {
		m.fail("more than %d nodes, attributes, tensors and names; split the model", maxEntries)
	}
	return m.err == nil
}

// child is the message in the current field. Its walker's err must be handed to done.
func (m *message) child(what string) *message {
	c := &message{what: what, entries: m.entries}
	if m.want(protowire.BytesType) && m.count() {
		c.rest = m.bytes
	}
	return c
}

// done takes over the error of a child.
func (m *message) done(err error) {
	if m.err == nil {
		m.err = err
	}
}

func (m *message) text() string {
	if !m.want(protowire.BytesType) || !m.count() {
		return ""
	}
	return string(m.bytes)
}

func (m *message) int() int64 {
	if !m.want(protowire.VarintType) {
		return 0
	}
	return int64(m.bits)
}

func (m *message) data() []byte {
	if !m.want(protowire.BytesType) {
		return nil
	}
	return m.bytes
}

// ints appends the current field of a repeated integer, packed or not.
func (m *message) ints(to []int64) []int64 {
	if m.typ == protowire.VarintType {
		return append(to, int64(m.bits))
	}
	if !m.want(protowire.BytesType) {
		return to
	}
	n := 0
	for _, b := range m.bytes { // the last byte of each number has its top bit clear
		if b < 0x80 {
			n++
		}
	}
	if free := cap(to) - len(to); free < n {
		to = append(make([]int64, 0, len(to)+n), to...)
	}
	for b := m.bytes; len(b) > 0; {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			m.malformed(n)
			return to
		}
		to = append(to, int64(v))
		b = b[n:]
	}
	return to
}

// floats appends the current field of a repeated float, packed or not.
func (m *message) floats(to []float32) []float32 {
	if m.typ == protowire.Fixed32Type {
		return append(to, math.Float32frombits(uint32(m.bits)))
	}
	if !m.want(protowire.BytesType) {
		return to
	}
	if len(m.bytes)%4 != 0 {
		m.fail("%d bytes of floats are no multiple of 4; fetch the file again", len(m.bytes))
		return to
	}
	if to == nil {
		to = make([]float32, 0, len(m.bytes)/4)
	}
	return appendFloats(to, m.bytes)
}
