package onnx

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// maxFile is protobuf's own limit on a message.
const maxFile = 1<<31 - 1

// Model is what this package needs of a model file.
type Model struct {
	Opset int64 // version of the standard operators
	Graph Graph
}

// Graph is the computation. Its nodes stand in an order in which they can run.
type Graph struct {
	Name         string
	Nodes        []*Node
	Inputs       []string // in files of old versions the initializers too
	Outputs      []string
	Initializers []*Tensor
}

// Node is one operation.
type Node struct {
	Name       string
	Op         string
	Domain     string   // "" for the standard operators
	Inputs     []string // "" where an optional one is left out
	Outputs    []string
	Attributes map[string]Attribute
}

// Standard says whether the operator is one of ONNX's own.
func (n *Node) Standard() bool { return n.Domain == "" || n.Domain == "ai.onnx" }

// AttributeType says which value an attribute has, by its ONNX number.
type AttributeType int32

// The attribute types whose values are read.
const (
	AttributeFloat  AttributeType = 1
	AttributeInt    AttributeType = 2
	AttributeString AttributeType = 3
	AttributeTensor AttributeType = 4
	AttributeInts   AttributeType = 7
)

// Attribute is a named constant of a node.
type Attribute struct {
	Type AttributeType
	F    float32
	I    int64
	S    string
	T    *Tensor
	Ints []int64
}

// Load reads a model file.
func Load(path string) (*Model, error) {
	b, err := readFile(path)
	if err != nil {
		return nil, err
	}
	m, err := ParseModel(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// readFile reads a regular file of at most protobuf's size.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w: not a regular file", path, ErrFormat)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s: %w: %d bytes; protobuf files have at most %d", path, ErrFormat, info.Size(), maxFile)
	}
	b := make([]byte, info.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if bytes.HasPrefix(b, []byte("version https://git-lfs")) {
		return nil, fmt.Errorf("%s: %w: a Git LFS pointer; fetch the file itself with `git lfs pull`", path, ErrFormat)
	}
	return b, nil
}

// ParseModel reads a serialized ModelProto. The model may go on using b.
func ParseModel(b []byte) (*Model, error) {
	model := &Model{Opset: 1}
	hasGraph := false
	m := newMessage("model", b)
	for m.next() {
		switch m.num {
		case 7:
			hasGraph = true
			m.done(model.Graph.parse(m.child("graph")))
		case 8:
			domain, version, err := parseOpset(m.child("opset import"))
			m.done(err)
			if domain == "" || domain == "ai.onnx" {
				model.Opset = version
			}
		}
	}
	if m.err != nil {
		return nil, m.err
	}
	if !hasGraph {
		return nil, fmt.Errorf("%w: model: it has no graph; is this an ONNX model?", ErrFormat)
	}
	if model.Opset < 1 {
		return nil, fmt.Errorf("%w: model: opset %d; versions begin at 1", ErrFormat, model.Opset)
	}
	return model, nil
}

func parseOpset(m *message) (domain string, version int64, err error) {
	for m.next() {
		switch m.num {
		case 1:
			domain = m.text()
		case 2:
			version = m.int()
		}
	}
	return domain, version, m.err
}

func (g *Graph) parse(m *message) error {
	for m.next() {
		switch m.num {
		case 1:
			n, err := parseNode(m.child("node"))
			m.done(err)
			g.Nodes = append(g.Nodes, n)
		case 2:
			g.Name = m.text()
		case 5:
			t, err := parseTensor(m.child("initializer"))
			m.done(err)
			g.Initializers = append(g.Initializers, t)
		case 11:
			g.Inputs = append(g.Inputs, parseValueName(m))
		case 12:
			g.Outputs = append(g.Outputs, parseValueName(m))
		}
	}
	return m.err
}

// parseValueName reads the name of the ValueInfoProto in the current field.
func parseValueName(m *message) (name string) {
	c := m.child("value")
	for c.next() {
		if c.num == 1 {
			name = c.text()
		}
	}
	m.done(c.err)
	return name
}

func parseNode(m *message) (*Node, error) {
	n := &Node{}
	for m.next() {
		switch m.num {
		case 1:
			n.Inputs = append(n.Inputs, m.text())
		case 2:
			n.Outputs = append(n.Outputs, m.text())
		case 3:
			n.Name = m.text()
		case 4:
			n.Op = m.text()
		case 5:
			name, a, err := parseAttribute(m.child("attribute"))
			m.done(err)
			if _, twice := n.Attributes[name]; twice {
				m.fail("attribute %.100q is there twice; export the model again", name)
			}
			if n.Attributes == nil {
				n.Attributes = map[string]Attribute{}
			}
			n.Attributes[name] = a
		case 7:
			n.Domain = m.text()
		}
	}
	return n, m.err
}

func parseAttribute(m *message) (name string, a Attribute, err error) {
	var found AttributeType // for files from before attributes had a type
	for m.next() {
		switch m.num {
		case 1:
			name = m.text()
		case 2:
			a.F, found = first(m.floats(nil)), AttributeFloat
		case 3:
			a.I, found = m.int(), AttributeInt
		case 4:
			a.S, found = m.text(), AttributeString
		case 5:
			t, err := parseTensor(m.child("attribute"))
			m.done(err)
			a.T, found = t, AttributeTensor
		case 8:
			a.Ints, found = m.ints(a.Ints), AttributeInts
		case 20:
			a.Type = AttributeType(m.int())
		}
	}
	if a.Type == 0 {
		a.Type = found
	}
	return name, a, m.err
}

func first(v []float32) float32 {
	if len(v) == 0 {
		return 0
	}
	return v[0]
}
