// Package cpu is the driver that every machine has, in Go: the float64 reference that other results are judged by (the
// oracle), and the fast path, im2col and gonum's matrix product. Import it for its side effect: it registers "cpu".
package cpu

import "github.com/gonvolve/gonvolve/engine"

func init() { engine.Register("cpu", Driver{}) }
