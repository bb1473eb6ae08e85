package onnx

import (
	"github.com/gonvolve/gonvolve/engine/problem"
)

// fuse finds the Relu nodes that run as a post-op of the convolution before them, which is where nobody else reads what
// that makes. It returns them by the convolution.
func (g *Graph) fuse() map[*Node]*Node {
	readers := map[string]int{}
	for _, n := range g.Nodes {
		for _, name := range n.Inputs {
			readers[name]++
		}
	}
	for _, name := range g.Outputs {
		readers[name]++
	}
	makers := map[string]*Node{}
	fused := map[*Node]*Node{}
	for _, n := range g.Nodes {
		if n.Op == "Relu" && n.Standard() && len(n.Inputs) == 1 && len(n.Outputs) == 1 {
			if c := makers[n.Inputs[0]]; c != nil && readers[n.Inputs[0]] == 1 {
				fused[c] = n
			}
		}
		switch n.Op {
		case "Conv", "ConvTranspose", "DeformConv":
			if n.Standard() && len(n.Outputs) == 1 {
				makers[n.Outputs[0]] = n
			}
		}
	}
	return fused
}

// plan translates a node, with what is fused into it, whose outputs it then has.
func (e *evaluation) plan(n *Node, in []*value) (problem.Problem, []string, error) {
	operands := make([]Operand, len(in))
	for i, v := range in {
		operands[i] = v.operand()
	}
	p, err := e.model.Problem(n, operands...)
	if relu := e.fused[n]; err == nil && relu != nil {
		p.Post[0].Kind = problem.ReLU
		return p, relu.Outputs, p.Validate()
	}
	return p, n.Outputs, err
}
